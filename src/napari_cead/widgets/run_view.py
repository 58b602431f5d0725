"""One training: how far it is, how it goes, what it says, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QApplication,
    QGridLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..errors import CeadError
from ..training.advice import advice
from ..training.events import EventTail
from ..training.launching import command_line, saved_command
from ..training.manager import RunManager
from ..training.run_info import RunInfo
from .controls import folded
from .jobs import show_failure
from .preview_strip import PreviewStrip
from .training_plots import TrainingPlots, duration, number

LOOK_EVERY_MS = 400
"""How often a run on show is looked at."""

STATES = {
    "starting": "Starting…",
    "running": "Running",
    "paused": "Paused: a checkpoint is kept, Resume goes on",
    "finished": "Finished",
    "crashed": "Crashed: Resume goes on from the last checkpoint",
    "damaged": "Damaged",
}


class RunView(QWidget):
    """Follows a training in another process and steers it.

    Signals:
        changed: The run has begun, ended or been asked for something.
        gone: The run was removed.
        use_requested: Name of a finished model that is wanted in the Explore dock.
        looked: What the run does now (a ``RunInfo``, or None), whenever that has changed.

    Attributes:
        pause: Ends the process after a checkpoint; ``resume`` starts a new one.
        keep: Ends the training and keeps the best epoch as a model; ``discard`` removes everything.
        plots: Losses and more.
        strip: Validation slices, reconstructed.
        advice: What looks wrong.
        words: The last lines of a crashed process.

    Args:
        manager: Knows all runs.
        confirm: Asks a question and tells whether the answer is yes.
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
        self._timer = QTimer(self, interval=LOOK_EVERY_MS)
        self._timer.timeout.connect(self.look)
        self._build()
        self.show_run(None)

    # -- building ------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.title, self.state, self.details = QLabel(), QLabel(), QLabel()
        for label in (self.title, self.state, self.details):
            label.setWordWrap(True)
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress of the training")
        self.advice = QLabel()
        self.advice.setWordWrap(True)
        self.pause = _button("Pause", "Write a checkpoint and end the process; GPU memory is free then")
        self.resume = _button("Resume", "Go on from the last checkpoint, in a new process")
        self.keep = _button("Stop and keep", "End now and make a model of the best epoch so far")
        self.discard = _button("Stop and discard", "End now and remove the run with everything it has made")
        self.use = _button("Use in Explore", "Choose the finished model in the Explore dock")
        self.copy = _button("Copy command", "The command that this training is, for a terminal")
        buttons = QGridLayout()
        for index, button in enumerate(
            (self.pause, self.resume, self.keep, self.discard, self.use, self.copy)
        ):
            buttons.addWidget(button, index // 2, index % 2)
        self.plots, self.strip = TrainingPlots(), PreviewStrip()
        self.words = QPlainTextEdit()
        self.words.setReadOnly(True)
        self.words.setMaximumHeight(140)
        self.words.setAccessibleName("Last words of the process")
        self.command = QLabel()
        self.command.setWordWrap(True)
        self.command.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.title, self.state, self.bar, self.details, self.advice):
            column.addWidget(widget)
        column.addLayout(buttons)
        for widget in (self.words, self.plots, self.strip, folded("The command", self.command)):
            column.addWidget(widget)
        self.pause.clicked.connect(lambda: self._act(self.manager.pause))
        self.resume.clicked.connect(lambda: self._act(self.manager.resume))
        self.keep.clicked.connect(lambda: self._act(self.manager.finish))
        self.discard.clicked.connect(self._discard_clicked)
        self.use.clicked.connect(self._use_clicked)
        self.copy.clicked.connect(self._copy_clicked)

    # -- following -----------------------------------------------------------------------------------------

    def show_run(self, run: Path | None) -> None:
        """Follow a run from its beginning; None: no run."""
        self.run, self.info = run, None
        self._tail, self._epochs = None, {}
        self.plots.show_epochs(())
        self.plots.show_step(None)
        self.strip.show_folder(None)
        if run is not None:
            self._tail = self.manager.follow(run)
            self._timer.start()
        else:
            self._timer.stop()
        self.look()

    def stop(self) -> None:
        """Follow nothing any more; the training goes on."""
        self._timer.stop()

    def look(self) -> None:
        """Take in what has happened since the last look."""
        info = None
        if self.run is not None:
            try:
                info = self.manager.status(self.run)
            except CeadError:
                self.show_run(None)
                self.gone.emit()
                return
        before, self.info = self.info, info
        events = [] if self._tail is None else self._tail.poll()
        self._take(events)
        if info != before or events or before is None:
            self._show(info)
        if info != before or before is None:
            self.looked.emit(info)
        if before is not None and info is not None and info.state != before.state:
            self.changed.emit()

    def _take(self, events: list[dict[str, Any]]) -> None:
        step, fresh = None, False
        for event in events:
            kind = event["event"]
            if kind == "start":  # what a crashed process said after its last checkpoint is said again
                done = int(event.get("epoch") or 0)
                self._epochs = {epoch: said for epoch, said in self._epochs.items() if epoch <= done}
                fresh = True
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
        for widget in (self.bar, self.plots, self.copy):
            widget.setVisible(there)
        if info is None:
            self.title.setText("No training is chosen.")
            for label in (self.state, self.details, self.advice, self.command):
                label.setText("")
            self.words.setVisible(False)
            for button in (self.pause, self.resume, self.keep, self.discard, self.use):
                button.setVisible(False)
            return
        self.title.setText(f"<b>{info.name}</b> · {info.model} {info.size}")
        self.title.setToolTip(str(info.path))
        self.state.setText(_state(info))
        self.details.setText(_details(info))
        self._show_progress(info)
        sentences = advice([self._epochs[epoch] for epoch in sorted(self._epochs)])
        self.advice.setText("\n".join(f"⚠ {sentence}" for sentence in sentences))
        self.advice.setVisible(bool(sentences))
        words = "\n".join(info.last_words) if info.state == "crashed" else ""
        if words != self.words.toPlainText():
            self.words.setPlainText(words)
        self.words.setVisible(bool(words))
        self.strip.show_folder(info.path / "previews")
        if not info.active:
            self.plots.show_step(None)
        training = info.active and info.asked is None
        self.pause.setVisible(info.active)
        self.keep.setVisible(info.active)
        self.pause.setEnabled(training and info.phase != "calibrating")
        self.keep.setEnabled(training and info.phase == "training")
        self.discard.setVisible(True)
        self.discard.setText("Stop and discard" if info.active else "Delete")
        self.discard.setEnabled(info.asked != "discard")
        self.resume.setVisible(info.state in ("paused", "crashed"))
        self.use.setVisible(info.installed is not None)
        self.command.setText(command_line(saved_command(info.path) or ()))

    def _show_progress(self, info: RunInfo) -> None:
        if info.progress is not None and info.phase in ("preparing", "calibrating"):
            done, total = info.progress
            self.bar.setRange(0, max(total, 1))
            self.bar.setValue(done)
            self.bar.setFormat(f"{info.phase} %p%")
        elif info.active and not info.epochs:
            self.bar.setRange(0, 0)
        else:
            self.bar.setRange(0, max(info.epochs, 1))
            self.bar.setValue(info.epochs if info.state == "finished" else info.epoch)
            self.bar.setFormat(f"epoch {info.epoch} of {info.epochs}")

    # -- acting --------------------------------------------------------------------------------------------

    def _act(self, action: Callable[[Path], object]) -> None:
        if self.run is None:
            return
        try:
            action(self.run)
        except Exception as error:
            show_failure(error)
        self.look()
        self.changed.emit()

    def _discard_clicked(self) -> None:
        if self.info is None or not self._confirm(
            f"Remove the training {self.info.name} with everything it has made? Its installed model stays."
        ):
            return
        self._act(self.manager.discard if self.info.active else self.manager.remove)

    def _use_clicked(self) -> None:
        if self.info is not None and self.info.installed is not None:
            self.use_requested.emit(self.info.installed)

    def _copy_clicked(self) -> None:
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self.command.text())


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
    return f"{text}: {info.error}" if info.error else text


def _details(info: RunInfo) -> str:
    parts = []
    if info.best_epoch:
        parts.append(f"best epoch {info.best_epoch}, validation loss {number(info.best_loss)}")
    if info.active and info.slices_per_second:
        parts.append(f"{number(info.slices_per_second, 3)} slices/s")
    if info.active and (left := duration(info.seconds_left)):
        parts.append(f"{left} left")
    if info.device:
        parts.append(info.device)
    if info.active and info.pid:
        parts.append(f"process {info.pid}")
    return " · ".join(parts)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button
