"""The question about running trainings when napari is closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QApplication, QMainWindow, QMessageBox, QWidget

from ...errors import CeadError
from ...runs.run_files import OUTPUT_FILE
from ...runs.run_info import RunInfo
from ...training.manager import RunManager

Answer = Literal["leave", "pause", "stay"]
"""Trainings continue, pause with a checkpoint, or napari stays open."""


class CloseGuard(QObject):
    """Asks before the last window of napari closes while trainings run that were started from a window.

    It belongs to the window, not to the dock: closing the dock does not drop the question.

    Attributes:
        ask: Asks about the running trainings and returns the answer.

    Args:
        window: napari's main window.
        manager: Knows the trainings.
    """

    def __init__(self, window: QMainWindow, manager: RunManager) -> None:
        super().__init__(window)
        self.manager = manager
        self.ask: Callable[[Sequence[RunInfo]], Answer] = self._ask
        window.installEventFilter(self)

    @classmethod
    def of(cls, widget: QWidget, manager: RunManager) -> CloseGuard | None:
        """Return the guard of a widget's main window, created if necessary; None without a window."""
        window = _main_window(widget)
        if window is None:
            return None
        found = window.findChild(cls, options=Qt.FindChildOption.FindDirectChildrenOnly)
        return cls(window, manager) if found is None else found

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Catch the window being closed."""
        if event.type() != QEvent.Type.Close or not self._last() or self._by_program():
            return False
        runs = [run for run in self.manager.list() if run.active and (run.path / OUTPUT_FILE).exists()]
        answer = self.ask(runs) if runs else "leave"
        if answer == "stay":
            event.ignore()
            return True
        if answer == "pause":
            for run in runs:
                try:
                    self.manager.pause(run.path)
                except CeadError:  # it has just ended
                    continue
        return False

    def _last(self) -> bool:
        return not any(
            isinstance(window, type(self.parent())) and window is not self.parent() and window.isVisible()
            for window in QApplication.topLevelWidgets()
        )

    def _by_program(self) -> bool:
        """Whether a script closes the window (``viewer.close()``): the viewer in it has gone, and nobody is there."""
        middle = self.parent().centralWidget()
        inside = middle.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)
        return bool(inside) and all(widget.isHidden() for widget in inside)

    def _ask(self, runs: Sequence[RunInfo]) -> Answer:
        box = QMessageBox(self.parent())
        box.setWindowTitle("napari-cead")
        box.setText("\n".join(_sentence(run) for run in runs))
        box.setInformativeText("A training can go on without napari: the Train dock finds it again.")
        leave = box.addButton("Leave running", QMessageBox.ButtonRole.AcceptRole)
        pause = box.addButton("Pause", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton(QMessageBox.StandardButton.Cancel)
        pause.setToolTip("Write a checkpoint and end the process; Resume goes on from there")
        box.setDefaultButton(leave)
        box.setEscapeButton(stay)
        box.exec()
        return {leave: "leave", pause: "pause"}.get(box.clickedButton(), "stay")  # type: ignore[return-value]


def _sentence(run: RunInfo) -> str:
    place = f" (epoch {run.epoch} of {run.epochs})" if run.epochs else ""
    return f"{run.name} is being trained{place}."


def _main_window(widget: QWidget) -> QMainWindow | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return parent
