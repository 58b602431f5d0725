"""Drops onto napari's window go to the open dock: napari would ask for a reader, for every folder again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QDragLeaveEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QLineEdit, QWidget

from ...contributions.reader import get_reader
from ..common.dock_lifetime import when_gone
from ..common.docks import bare


class Drops(QObject):
    """Takes drops onto a viewer or its dock that can be opened; leaves everything else to napari.

    Drops with Shift or Alt, which have a meaning in napari, are left to it.

    Args:
        viewer: The napari viewer.
        owner: The dock's widget. When its dock is closed, drops go to napari again.
        take: Called with the dropped paths.
    """

    def __init__(self, viewer: Any, owner: QWidget, take: Callable[[Sequence[Path]], object]) -> None:
        super().__init__(owner)
        self._take = take
        owner.setAcceptDrops(True)
        canvas = bare(viewer).window._qt_viewer
        # The welcome screen lies on the canvas and takes drops of its own; the boxes of the sliders take text.
        parts = [
            part
            for part in canvas.findChildren(QWidget)
            if part.acceptDrops() and not isinstance(part, QLineEdit)
        ]
        self._targets = [owner, canvas, *parts]
        for target in self._targets:
            target.installEventFilter(self)
        when_gone(owner, self.stop)

    def stop(self) -> None:
        """Stop taking drops."""
        # Not of the owner: it learns of its end through its own filters.
        for target in self._targets[1:]:
            if isalive(target):
                target.removeEventFilter(self)
        self._targets = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take a drop."""
        kind = event.type()
        if not self._targets or kind not in (QEvent.Type.DragEnter, QEvent.Type.DragMove, QEvent.Type.Drop):
            return False
        paths = _paths(event)
        if kind == QEvent.Type.Drop:
            if not _for_us(paths):
                return False
            event.acceptProposedAction()
            # napari ends the highlight of its welcome screen at a drop, which it does not see, or when the drag leaves.
            QApplication.sendEvent(watched, QDragLeaveEvent())
            self._take(paths)
            return True
        if watched is not self.parent() or not paths:
            return False  # napari accepts the drag itself and highlights its welcome screen
        event.acceptProposedAction()
        return True


def _for_us(paths: Sequence[Path]) -> bool:
    held = QApplication.keyboardModifiers()
    if held & (Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.AltModifier):
        return False
    return bool(paths) and get_reader([str(path) for path in paths]) is not None


def _paths(event: QDropEvent) -> list[Path]:
    urls = event.mimeData().urls()
    return [Path(url.toLocalFile()) for url in urls] if all(url.isLocalFile() for url in urls) else []
