"""What the progress bar of a run says."""

import re

import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QProgressBar

from napari_cead.widgets.common import run_progress
from napari_cead.widgets.common.run_progress import RunProgress, StepBar


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(run_progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def progress(qtbot, clock):
    bar = QProgressBar()
    qtbot.addWidget(bar)
    return RunProgress(bar)


def test_a_stage_is_said_at_once_and_for_how_long_it_has_lasted(progress, clock, qtbot):
    progress.begin("Loading the model")
    assert progress.bar.text() == "Loading the model…"
    clock[0] += 3
    qtbot.waitUntil(lambda: progress.bar.text() == "Loading the model… 3 s")


def test_slices_are_counted_and_the_time_left_is_said(progress, clock):
    progress.begin("Preparing the slices", "Slice")
    clock[0] += 0.5
    progress.count(8, 121)
    assert progress.bar.text() == "Slice 8 of 121", "too early to tell"
    clock[0] += 3.5
    progress.count(12, 121)
    assert progress.bar.text() == "Slice 12 of 121 · 36 s left"
    assert (progress.bar.value(), progress.bar.maximum()) == (12, 121)
    clock[0] += 100
    progress.count(24, 121)
    assert re.fullmatch(r"Slice 24 of 121 · 7 min left", progress.bar.text())
    progress.count(121, 121)
    assert progress.bar.text() == "Slice 121 of 121"
    progress.rest(done=True)
    assert progress.bar.text() == ""
    assert progress.bar.value() == progress.bar.maximum()


def test_a_bar_of_steps_says_the_time_left_in_the_same_room(qtbot, clock):
    bar = StepBar("Progress of the evaluation")
    qtbot.addWidget(bar)
    size = bar.sizeHint(), bar.minimumSizeHint()
    bar.begin()
    assert (bar.minimum(), bar.maximum()) == (0, 0)
    bar.count(3, 8)
    assert bar.text() == "3 of 8"
    clock[0] += 4
    bar.count(4, 8)
    assert bar.text() == "4 of 8 · 16 s left"
    assert (bar.sizeHint(), bar.minimumSizeHint()) == size
    bar.count(8, 8)
    assert bar.text() == "8 of 8"
    bar.begin()
    clock[0] += 60
    bar.count(1, 8)
    assert bar.text() == "1 of 8", "what was before does not count"


def test_another_stage_has_its_own_words_and_pace(qtbot, clock):
    bar = StepBar("Progress of the training")
    qtbot.addWidget(bar)
    bar.count(1, 4, "preparing %p%")
    clock[0] += 10
    bar.count(2, 4, "preparing %p%")
    assert bar.text() == "preparing 50% · 20 s left"
    bar.count(2, 4, "calibrating %p%")
    assert bar.text() == "calibrating 50%"
    clock[0] += 2
    bar.count(3, 4, "calibrating %p%")
    assert bar.text() == "calibrating 75% · 2 s left"


def test_a_step_that_comes_too_soon_to_be_drawn_is_drawn_a_moment_later(progress, qtbot):
    progress.begin("Preparing the slices", "Slice")
    progress.count(8, 121)
    assert progress.bar.text() == "Preparing the slices…"
    qtbot.waitUntil(lambda: progress.bar.text() == "Slice 8 of 121")


def test_steps_in_quick_succession_are_drawn_together(clock, qtbot, monkeypatch):
    monkeypatch.setattr(run_progress, "TICK_MS", 60_000)
    bar = QProgressBar()
    qtbot.addWidget(bar)
    progress, drawn = RunProgress(bar), Drawings(bar)
    bar.show()
    qtbot.waitExposed(bar)
    progress.begin("Preparing the slices", "Slice")
    QApplication.processEvents()
    drawn.count = 0
    for done in range(8, 121, 8):
        clock[0] += 0.01
        progress.count(done, 121)
        QApplication.processEvents()
    assert drawn.count == 0
    progress.count(121, 121)
    assert bar.text() == "Slice 121 of 121", "the last one does not wait"
    QApplication.processEvents()
    assert drawn.count == 1


class Drawings(QObject):
    """Counts how often a widget is drawn."""

    def __init__(self, widget):
        super().__init__(widget)
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched, event):
        self.count += event.type() == QEvent.Type.Paint
        return False
