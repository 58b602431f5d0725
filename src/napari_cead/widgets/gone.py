"""Noticing that a dock has gone. napari does not destroy a dock's widget when the dock is closed: it lets go of it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


def when_gone(owner: QWidget, callback: Callable[[], object]) -> None:
    """Call ``callback`` once, when a dock's widget is taken out of its dock or destroyed.

    Hiding, floating and moving the dock do not count.

    Args:
        owner: The widget that napari puts into the dock, not a part of it.
        callback: Must not need the widget: it may be destroyed already.
    """
    _Watch(owner, callback)


class _Watch(QObject):
    def __init__(self, owner: QWidget, callback: Callable[[], object]) -> None:
        super().__init__(owner)
        self._waiting = waiting = [callback]

        def gone() -> None:
            # Its own list, not the watch: that may be destroyed as well.
            while waiting:
                waiting.pop()()

        self._gone = gone
        owner.installEventFilter(self)
        owner.destroyed.connect(lambda: gone())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """See the owner being taken out of its dock."""
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None:
            self._gone()
        return False
