import pytest

from napari_cead.exploring.history import LONGEST, History


def test_there_and_back():
    history = History("a")
    assert (history.now, history.can_undo, history.can_redo) == ("a", False, False)
    assert history.undo() == history.redo() == "a"
    history.record("b")
    history.record("c")
    assert [history.undo(), history.undo(), history.undo()] == ["b", "a", "a"]
    assert (history.can_undo, history.can_redo) == (False, True)
    assert [history.redo(), history.redo(), history.redo()] == ["b", "c", "c"]
    assert not history.can_redo


def test_what_was_undone_is_forgotten_by_something_new():
    history = History(0)
    for state in (1, 2, 3):
        history.record(state)
    history.undo()
    history.undo()
    history.record(9)
    assert not history.can_redo
    assert [history.now, history.undo(), history.undo()] == [9, 1, 0]


def test_the_same_state_is_no_step_and_forgets_nothing():
    history = History(0)
    history.record(1)
    history.undo()
    history.record(0)
    assert not history.can_undo
    assert history.redo() == 1


def test_a_gesture_is_one_step_and_two_gestures_are_two():
    history = History(0)
    first, second = object(), object()
    for state in (1, 2, 3):
        history.record(state, first)
    for state in (4, 5):
        history.record(state, second)
    history.record(6)
    assert [history.undo(), history.undo(), history.undo()] == [5, 3, 0]


def test_a_gesture_that_ends_where_it_began_is_no_step():
    history, gesture = History(0), object()
    for state in (1, 2, 0):
        history.record(state, gesture)
    assert not history.can_undo
    history.record(7, gesture)  # the hand moves on
    assert (history.now, history.undo()) == (7, 0)


def test_a_gesture_that_goes_on_after_an_undo_is_a_step_of_its_own():
    history, gesture = History(0), object()
    history.record(1, gesture)
    history.undo()
    history.record(2, gesture)
    assert (history.now, history.undo()) == (2, 0)


@pytest.mark.parametrize("steps", [LONGEST - 1, LONGEST, LONGEST + 50])
def test_the_oldest_steps_go(steps):
    history = History(0)
    for state in range(1, steps + 1):
        history.record(state)
    back = 0
    while history.can_undo:
        history.undo()
        back += 1
    assert back == min(steps, LONGEST - 1)
    assert history.now == steps - back
