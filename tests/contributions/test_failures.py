"""An error in the window: a sentence in sight, the rest folded away."""

import gc
import weakref

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication, QWidget

from napari_cead.contributions.failures import DETAILS, DetailsDialog, show_failure
from napari_cead.errors import Cancelled, ModelDamagedError


@pytest.fixture
def notes(monkeypatch):
    seen = []
    monkeypatch.setattr(notification_manager, "dispatch", seen.append)
    return seen


def caught(make):
    try:
        make()
    except Exception as error:
        return error


def damaged():
    try:
        int("x1")
    except ValueError as error:
        raise ModelDamagedError(
            "the card is damaged", file="m/model.json", hint="install it again"
        ) from error


def test_what_a_user_can_mend_is_a_sentence_without_a_traceback(notes, qtbot):
    show_failure(caught(damaged))
    [note] = notes
    assert str(note.severity) == "error"
    assert note.message == "m/model.json: the card is damaged; install it again"
    assert note.details.splitlines() == [
        "Error: ModelDamagedError",
        "Code: model-damaged",
        "File: m/model.json",
        "Reason: the card is damaged",
        "Hint: install it again",
        "Caused by: ValueError: invalid literal for int() with base 10: 'x1'",
    ]
    assert [label for label, _ in note.actions] == [DETAILS]


def test_a_bug_asks_to_be_reported_and_folds_its_traceback(notes, qtbot):
    show_failure(caught(lambda: {}["spacing"]))
    [note] = notes
    assert "KeyError: 'spacing'" in note.message and "please report" in note.message
    assert "Traceback" not in note.message
    assert "Traceback" in note.details and "napari-cead" in note.details and "Python 3" in note.details


def test_cancelled_work_is_silent(notes):
    show_failure(Cancelled())
    assert notes == []


def test_the_button_unfolds_what_can_be_copied(notes, qtbot):
    show_failure(caught(damaged))
    [(_, unfold)] = notes[0].actions
    window = QWidget()
    qtbot.addWidget(window)
    unfold(QWidget(QWidget(window)))  # napari gives its notification, which lies on the canvas
    [dialog] = window.findChildren(DetailsDialog)
    assert dialog.text.toPlainText() == notes[0].details
    assert not dialog.isModal()
    dialog.copy.click()
    assert QApplication.clipboard().text() == notes[0].details


def test_a_notification_keeps_nothing_that_the_error_came_from(notes):
    class Dock:
        def fail(self):
            raise RuntimeError("no")

    dock = Dock()
    gone = weakref.ref(dock)
    show_failure(caught(dock.fail))
    del dock
    gc.collect()
    assert gone() is None and len(notes) == 1
