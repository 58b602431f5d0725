"""Drawing a window at a steady pace while something in it moves.

Every small change to a window with an OpenGL canvas composes the whole window again: a slider's handle costs half as
much as the canvas. Each of the many events of a drag would trigger that, and the canvas would fall behind.
"""

from __future__ import annotations

import gc
import time
from typing import Any

from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QWidget

FRAME_MS = 40
"""Shortest time between the starts of two frames."""

REST = 0.25
"""Share of a frame's own time reserved for events before the next one, on displays slower than ``FRAME_MS``."""

LONGEST_REST_MS = 100
"""Longest pause after a frame, however long it took."""

LINGER_MS = 300
"""Time for which the pace is kept after the last request."""

NEVER = 2**31 - 1
"""As a threshold of the garbage collector: no full collection."""


_ENDS = (QEvent.Type.Close, QEvent.Type.Hide, QEvent.Type.DeferredDelete)
"""Events after which a window must not be drawn any more."""


class Frames(QObject):
    """Draws a window in frames: changes between two frames wait for the next and are drawn together.

    Nothing stays undrawn: a waiting change starts a timer that draws it. The object belongs to its window, so that this
    holds even if the requester of the pace is gone. A window that is hidden, closed or destroyed is left alone at once:
    it may lack what it would be drawn with.

    Signals:
        due: Emitted right before a frame is drawn: changes made now are on it.

    Args:
        window: A top-level widget.
    """

    due = Signal()

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._drawing = self._pacing = False
        self._next = 0.0
        self._gc_before = before = list[tuple[int, int, int]]()
        # A floating dock may be destroyed in the middle of a movement: without this nothing would be collected again.
        self.destroyed.connect(lambda: _restore(before))
        self._late = QTimer(self, singleShot=True, timerType=Qt.TimerType.PreciseTimer)
        self._late.timeout.connect(self.draw)
        self._linger = QTimer(self, singleShot=True, interval=LINGER_MS)
        self._linger.timeout.connect(self._end)

    @classmethod
    def of(cls, window: QWidget) -> Frames:
        """Return the frames of a window, created if necessary."""
        found = window.findChild(cls, options=Qt.FindChildOption.FindDirectChildrenOnly)
        return cls(window) if found is None else found

    @property
    def waiting(self) -> bool:
        """Whether a change waits for the next frame."""
        return self._late.isActive()

    def ask(self) -> bool:
        """Ask for a frame as soon as the pace allows; until then ``waiting``, and ``due`` is emitted first.

        Returns:
            Whether it is due now: then nothing waits, and changes are drawn as usual.
        """
        rest = self._rest_ms()
        if rest and not self.waiting:
            self._late.start(rest)
        return not rest

    def _rest_ms(self) -> int:
        return max(0, round(1000 * (self._next - time.monotonic())))

    def pace(self) -> None:
        """Keep the pace for a while, because something moves."""
        self._linger.start()
        if self._pacing:
            return
        self._pacing = True
        self.parent().installEventFilter(self)
        # A full collection halts everything for a third of a second with half a million objects, as napari and
        # PyTorch have: not while a slider moves. Young objects are still collected.
        threshold = gc.get_threshold()
        if threshold[2] != NEVER:
            self._gc_before.append(threshold)
            gc.set_threshold(threshold[0], threshold[1], NEVER)

    def draw(self) -> None:
        """Draw all changes now, if the window is on screen."""
        self._late.stop()
        if not self.parent().isVisible():
            return
        start = time.monotonic()
        self._drawing = True
        try:
            self.due.emit()
            QCoreApplication.removePostedEvents(self.parent(), QEvent.Type.UpdateRequest.value)
            QCoreApplication.sendEvent(self.parent(), QEvent(QEvent.Type.UpdateRequest))
        finally:
            self._drawing = False
        now = time.monotonic()
        rest = max(REST * (now - start), FRAME_MS / 1000 - (now - start))
        self._next = now + min(rest, LONGEST_REST_MS / 1000)

    def eventFilter(self, watched: QObject, event: QEvent) -> Any:
        """Intercept the window's own requests to be drawn; end with the window."""
        if event.type() in _ENDS:
            self._end()
        if event.type() != QEvent.Type.UpdateRequest or self._drawing:
            return False
        if self.ask():
            self.draw()
        return True

    def _end(self) -> None:
        self._pacing = False
        self._linger.stop()
        self.parent().removeEventFilter(self)
        if self._late.isActive():
            self.draw()
        _restore(self._gc_before)


def _restore(before: list[tuple[int, int, int]]) -> None:
    """Give the garbage collector its threshold back, if it was taken."""
    if before:
        gc.set_threshold(*before.pop())
