"""Noticing models that are installed while the window is open, for instance by a training."""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer, Signal

from ...zoo import models_folder

EVERY = 2000
"""Milliseconds between two checks. A check is one call to the file system; it also works on network folders."""


class ModelWatch(QObject):
    """Signals changes of the folder of installed models.

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
        """Emit ``changed`` if models were added or removed since the last check."""
        stamp = _stamp()
        if stamp != self._seen:
            self._seen = stamp
            self.changed.emit()


def _stamp() -> int:
    try:
        return models_folder().stat().st_mtime_ns
    except OSError:  # none installed yet
        return 0
