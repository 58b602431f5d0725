"""One training: its progress, curves, messages and actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtGui import QResizeEvent, QTextCursor
from qtpy.QtWidgets import (
    QGridLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QWidget,
)

from ...contributions.failures import show_failure
from ...errors import CeadError
from ...options_file import CONFIG_FILE
from ...runs.events import EventTail
from ...runs.run_info import RunInfo
from ...training.launching import command_line
from ...training.manager import RunManager
from ...training.training_warnings import advice
from ...wording import duration
from ..common.command_box import copy_text
from ..common.controls import folded, scrolled, stacked
from ..common.run_progress import StepBar
from .preview_strip import PreviewStrip
from .training_plots import TrainingPlots, number

LOOK_EVERY_MS = 400
"""Interval between updates of the displayed run."""

NOTE_LINES = 7
"""Lines that show without scrolling of what is said about a training."""

STATES = {
    "starting": "Starting…",
    "running": "Running",
    "paused": "Paused: a checkpoint is kept, Resume goes on",
    "finished": "Finished",
    "crashed": "Crashed",
    "damaged": "Damaged",
}


class LastWords(QPlainTextEdit):
    """What a crashed process said last; its end is in sight at any size."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Go to the end again: a new width breaks the lines anew."""
        super().resizeEvent(event)
        self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())


class RunView(QWidget):
    """Follows a training in another process and steers it.

    Signals:
        changed: The run has begun, finished an epoch, ended or received a request.
        gone: The run was removed, here or by somebody else.
        use_requested: Name of a finished model to select in the Explore dock.
        looked: The state of the run (a ``RunInfo``, or None), whenever it has changed.

    Attributes:
        pause: Ends the process after a checkpoint; ``resume`` starts a new one.
        keep: Ends the training and keeps the best epoch as a model; ``discard`` removes everything.
        plots: Losses and more.
        strip: Validation slices, reconstructed.
        advice: Apparent problems.
        words: The last lines of a crashed process.

    Args:
        manager: Knows all runs.
        confirm: Asks a question and returns whether the answer is yes.
    """

    changed = Signal()
    gone = Signal()
    use_requested = Signal(str)
    looked = Signal(object)

    def __init__(self, manager: RunManager, confirm: Callable[[str], bool]) -> None:
        super().__init__()
        self.manager, self._confirm = manager, confirm
        self.run: Path | None = None
        self.info: RunInfo | None = None
        self._tail: EventTail | None = None
        self._epochs: dict[int, Mapping[str, Any]] = {}
        self._made_model = self._removing = False
        self._timer = QTimer(self, interval=LOOK_EVERY_MS)
        self._timer.timeout.connect(self.look)
        self._build()
        self.show_run(None)

    # -- building ------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.title, self.state, self.details, self.advice = QLabel(), QLabel(), QLabel(), QLabel()
        notes = QWidget()
        notes_column = stacked(notes)
        notes_column.setSpacing(2)
        for label in (self.title, self.state, self.details, self.advice):
            label.setWordWrap(True)
            label.setMinimumWidth(1)
            notes_column.addWidget(label)
        notes_column.addStretch(1)
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        shown = scrolled(notes)  # what it says takes as much room as it likes, and moves nothing
        shown.setFixedHeight(NOTE_LINES * self.fontMetrics().lineSpacing())
        shown.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # the arrow keys scroll it
        shown.setAccessibleName("What is said about the training")
        self.bar = StepBar("Progress of the training")
        self.pause = _Button("Pause", "Write a checkpoint and end the process; GPU memory is free then")
        self.resume = _Button("Resume", "Go on from the last checkpoint, in a new process")
        self.keep = _Button("Stop and keep", "End now and make a model of the best epoch so far")
        self.discard = _Button("Stop and discard", "End now and remove the run with everything it has made")
        self.use = _Button("Use in Explore", "Choose the finished model in the Explore dock")
        self.copy = _Button("Copy command", "The command that this training is, for a terminal")
        buttons = QGridLayout()
        places = (((self.pause, self.resume), (self.keep, self.use)), ((self.discard,), (self.copy,)))
        for line, columns in enumerate(places):
            for place, either in enumerate(columns):
                for button in either:
                    buttons.addWidget(button, line, place)
        self.plots, self.strip = TrainingPlots(), PreviewStrip()
        self.words = LastWords()
        self.words.setReadOnly(True)
        self.words.setMaximumHeight(140)
        self.words.setAccessibleName("Last words of the process")
        self.command = QLabel()
        self.command.setWordWrap(True)
        self.command.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column = stacked(self)
        column.addLayout(buttons)
        command = folded("The command", self.command)
        # What a crashed process said last comes last: it moves nothing.
        for widget in (self.bar, shown, self.plots, self.strip, command, self.words):
            column.addWidget(widget)
        self.pause.clicked.connect(lambda: self._act(self.manager.pause))
        self.resume.clicked.connect(lambda: self._act(self.manager.resume))
        self.keep.clicked.connect(lambda: self._act(self.manager.finish))
        self.discard.clicked.connect(self._discard_clicked)
        self.use.clicked.connect(self._use_clicked)
        self.copy.clicked.connect(lambda: copy_text(self.command.text()))

    # -- following -----------------------------------------------------------------------------------------

    def show_run(self, run: Path | None) -> None:
        """Follow a run from its beginning; None: no run."""
        self.run, self.info = run, None
        self._tail, self._epochs = None, {}
        self._made_model = self._removing = False
        self.bar.begin()
        self.plots.show_step(None)
        self.plots.show_epochs(())
        self.strip.show_folder(None)
        if run is not None:
            self._tail = self.manager.follow(run)
            self._timer.start()
        else:
            self._timer.stop()
        self.look()

    def stop(self) -> None:
        """Stop following; the training continues."""
        self._timer.stop()

    def look(self) -> None:
        """Read the events since the last update."""
        info = None
        if self.run is not None:
            try:
                info = self.manager.status(self.run)
            except CeadError:
                self._is_gone()
                return
        before, self.info = self.info, info
        events = [] if self._tail is None else self._tail.poll()
        self._take(events)
        if info != before or events or before is None:
            self._show(info)
        if before is not None and info is not None and _summary(info) != _summary(before):
            self.changed.emit()
        if info != before or before is None:
            self.looked.emit(info)

    def _is_gone(self) -> None:
        before = self.info
        asked = self._removing or (before is not None and before.asked == "discard")
        self.show_run(None)
        if before is not None and not asked:
            show_warning(f"Training {before.name} is gone: its folder was removed or moved ({before.path}).")
        self.gone.emit()

    def _take(self, events: list[dict[str, Any]]) -> None:
        step, fresh = None, False
        for event in events:
            kind = event["event"]
            if kind == "start":  # what a crashed process said after its last checkpoint is said again
                done = int(event.get("epoch") or 0)
                self._epochs = {epoch: said for epoch, said in self._epochs.items() if epoch <= done}
                self._made_model = False
                fresh = True
            elif kind == "installed":
                self._made_model = True
            elif kind == "epoch":
                self._epochs[int(event["epoch"])] = event
                fresh = True
            elif kind == "step":
                step = event
        if fresh:
            self.plots.show_epochs([self._epochs[epoch] for epoch in sorted(self._epochs)])
        if step is not None:
            self.plots.show_step(step)

    def _show(self, info: RunInfo | None) -> None:
        there = info is not None
        for widget in (self.bar, self.plots, *self._buttons):
            widget.setVisible(there)
        if info is None:
            self.title.setText("No training is chosen.")
            for label in (self.state, self.details, self.advice, self.command):
                label.setText("")
            self.words.setVisible(False)
            return
        self.title.setText(f"<b>{info.name}</b> · {info.model} {info.size}")
        self.title.setToolTip(str(info.path))
        self.state.setText(_state(info))
        deleted = info.state == "finished" and info.installed is None and self._made_model
        self.details.setText(_details(info, deleted=deleted))
        self._show_progress(info)
        sentences = advice([self._epochs[epoch] for epoch in sorted(self._epochs)])
        self.advice.setText("\n".join(f"⚠ {sentence}" for sentence in sentences))
        words = "\n".join(info.last_words) if info.state == "crashed" else ""
        self.words.setVisible(bool(words))
        if words != self.words.toPlainText():
            self.words.setPlainText(words)
            self.words.moveCursor(QTextCursor.MoveOperation.End)
        self.strip.show_folder(info.path / "previews", info.epoch)
        if not info.active:
            self.plots.show_step(None)
        self._show_buttons(info)
        file = info.path / CONFIG_FILE
        self.command.setText(command_line(["train", "--config", str(file)]) if file.is_file() else "")

    def _show_progress(self, info: RunInfo) -> None:
        if info.progress is not None and info.phase in ("preparing", "calibrating"):
            self.bar.count(*info.progress, f"{info.phase} %p%")
        elif info.active and not info.epochs:
            self.bar.setRange(0, 0)
        else:
            self.bar.setRange(0, max(info.epochs, 1))
            self.bar.setValue(info.epochs if info.state == "finished" else info.epoch)
            self.bar.setFormat(f"{info.epoch} of {info.epochs} epochs done")

    @property
    def _buttons(self) -> tuple[QPushButton, ...]:
        return (self.pause, self.resume, self.keep, self.use, self.discard, self.copy)

    def _show_buttons(self, info: RunInfo) -> None:
        """Offer what can be done with a run. Each button has its place; one that can do nothing is disabled."""
        resumed, training = info.state in ("paused", "crashed"), info.active and info.asked is None
        enabled = {
            self.pause: training and info.phase != "calibrating",
            self.resume: resumed,
            self.keep: training and info.phase == "training",
            self.use: info.installed is not None,
            self.discard: info.asked != "discard",
            self.copy: True,
        }
        for button, wanted in enabled.items():
            button.setEnabled(wanted)
        self.pause.setVisible(not resumed)
        self.resume.setVisible(resumed)
        self.keep.setVisible(info.active)
        self.use.setVisible(not info.active)
        self.discard.setText("Stop and discard" if info.active else "Remove training…")

    # -- acting --------------------------------------------------------------------------------------------

    def _act(self, action: Callable[[Path], object]) -> None:
        if self.run is None:
            return
        try:
            action(self.run)
        except Exception as error:
            self._removing = False
            show_failure(error)
        self.look()
        self.changed.emit()

    def _discard_clicked(self) -> None:
        info = self.info
        if info is None:
            return
        first = (
            f"Stop the training {info.name} and remove it"
            if info.active
            else f"Remove the training {info.name}"
        )
        stays = "" if info.installed is None else f" The model {info.installed} stays."
        if not self._confirm(f"{first} with everything it has made?{stays}"):
            return
        self._removing = True
        self._act(self.manager.discard if info.active else self.manager.remove)

    def _use_clicked(self) -> None:
        if self.info is not None and self.info.installed is not None:
            self.use_requested.emit(self.info.installed)


def _state(info: RunInfo) -> str:
    if info.asked is not None:
        return {"pause": "Pausing…", "finish": "Stopping, then keeping the best epoch…"}.get(
            info.asked, "Stopping…"
        )
    text = STATES[info.state]
    if info.state == "running" and info.phase is not None:
        text = info.phase.capitalize()
    if info.state == "finished" and info.installed is not None:
        text = f"Finished: installed as {info.installed}"
    if info.error:
        text = f"{text}. {_sentence(info.error)}"
    if info.state == "crashed":
        text += " Resume goes on from the last checkpoint."
    return text


def _sentence(text: str) -> str:
    """Return text as a sentence; a file's name in front stays as it is."""
    word = text.split(maxsplit=1)[0]
    begun = text[:1].upper() + text[1:] if word.isalpha() else text
    return begun if begun.endswith((".", "!", "?")) else f"{begun}."


def _summary(info: RunInfo) -> tuple[object, ...]:
    """Return what the list of trainings says about a run, too."""
    return info.state, info.phase, info.epoch, info.installed


def _details(info: RunInfo, *, deleted: bool) -> str:
    parts = ["its model was deleted"] if deleted else []
    if info.best_epoch:
        parts.append(f"best epoch {info.best_epoch}, validation loss {number(info.best_loss)}")
    if info.active and info.slices_per_second:
        parts.append(f"{number(info.slices_per_second, 3)} slices/s")
    if info.active and info.seconds_left is not None:
        parts.append(f"{duration(info.seconds_left)} left")
    if info.device:
        parts.append(info.device)
    if info.active and info.pid:
        parts.append(f"process {info.pid}")
    return " · ".join(parts)


class _Button(QPushButton):
    """A button as high as the others in its place, whether it has been on show yet or not."""

    def __init__(self, text: str, tip: str) -> None:
        super().__init__(text)
        self.setToolTip(tip)

    def sizeHint(self) -> QSize:
        """Return the size: it follows the font that the window gives."""
        self.ensurePolished()
        return QSize(super().sizeHint().width(), self.fontMetrics().lineSpacing() + 12)

    minimumSizeHint = sizeHint
