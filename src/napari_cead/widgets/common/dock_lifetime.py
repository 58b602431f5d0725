"""Noticing that a dock is gone. napari does not destroy a dock's widget when the dock is closed; it releases it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


def when_gone(owner: QWidget, callback: Callable[[], object], *, with_window: bool = False) -> None:
    """Call ``callback`` once, when a dock's widget is taken out of its dock.

    Hiding, floating and moving the dock do not count.

    Args:
        owner: The widget that napari puts into the dock, not a part of it.
        callback: The function to call.
        with_window: Also call it when the widget is destroyed together with napari's window. Then it must need
            neither the widget nor the viewer, whose canvas is destroyed by then.
    """
    _Watch(owner, callback, with_window)


def let_go(owner: QWidget) -> None:
    """Call the callbacks of a widget now."""
    for watch in owner.findChildren(_Watch):
        watch.gone()


class _Watch(QObject):
    def __init__(self, owner: QWidget, callback: Callable[[], object], with_window: bool) -> None:
        super().__init__(owner)
        self._waiting = waiting = [callback]

        def gone() -> None:
            # A list of its own, not the watch, which may be destroyed too.
            while waiting:
                waiting.pop()()

        self.gone = gone
        owner.installEventFilter(self)
        if with_window:
            owner.destroyed.connect(lambda: gone())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notice that the owner leaves its dock."""
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None:
            self.gone()
        return False
