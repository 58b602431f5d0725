"""Noticing models that are installed while the window is open, by a training for instance."""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer, Signal

from ..zoo import models_folder

EVERY = 2000
"""Milliseconds between two looks. A look is one question to the file system; it also works on network folders."""


class ModelWatch(QObject):
    """Tells when the folder of the installed models changes.

    Args:
        parent: Its owner, which it does not outlive.
    """

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._seen = _stamp()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.look)
        self._timer.start(EVERY)

    def look(self) -> None:
        """Emit ``changed`` if a model came or went since the last look."""
        stamp = _stamp()
        if stamp != self._seen:
            self._seen = stamp
            self.changed.emit()


def _stamp() -> int:
    try:
        return models_folder().stat().st_mtime_ns
    except OSError:  # none installed yet
        return 0
