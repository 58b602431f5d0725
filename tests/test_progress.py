"""How long counted work still takes."""

import pytest

from napari_cead.progress import Pace


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_the_rest_takes_as_long_for_each_step_as_those_before(clock):
    pace = Pace(clock)
    pace.begin()
    assert pace.left is None
    clock.now += 10
    pace.count(4, 20)
    assert pace.left == pytest.approx(40)
    clock.now += 5  # the fifth is slow
    assert pace.left == pytest.approx(60)
    pace.count(20, 20)
    assert pace.left is None


def test_steps_that_were_there_at_first_are_no_measure(clock):
    pace = Pace(clock)
    pace.count(90, 100)
    clock.now += 30
    assert pace.left is None
    pace.count(93, 100)
    assert pace.left == pytest.approx(70)


def test_nothing_is_said_in_the_first_second(clock):
    pace = Pace(clock)
    pace.begin()
    clock.now += 0.9
    pace.count(5, 10)
    assert pace.left is None
    clock.now += 0.1
    assert pace.left == pytest.approx(1)


@pytest.mark.parametrize("later", [(1, 10), (6, 12)], ids=["fewer steps", "another total"])
def test_other_work_has_a_pace_of_its_own(clock, later):
    pace = Pace(clock)
    pace.count(0, 10)
    clock.now += 100
    pace.count(5, 10)
    pace.count(*later)
    assert pace.left is None
    clock.now += 2
    pace.count(later[0] + 1, later[1])
    assert pace.left == pytest.approx(2 * (later[1] - later[0] - 1))
