"""Work in a thread where only the newest request counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from ...progress import Stop
from .jobs import Job


class Latest(QObject):
    """Runs the newest request in a thread, after a pause in which a newer one may replace it.

    A request stops an older one that still runs, whose result is dropped. Failures become notifications.

    Signals:
        rested: Emitted when no request is waiting or running.

    Args:
        parent: Owner.
        pause_ms: How long a request waits for a newer one.
    """

    rested = Signal()

    def __init__(self, parent: QObject, pause_ms: int) -> None:
        super().__init__(parent)
        self._job = Job(self)
        self._job.ended.connect(self._ended)
        self._timer = QTimer(self, singleShot=True, interval=pause_ms)
        self._timer.timeout.connect(self._start)
        self._stopped = threading.Event()
        self._wanted: tuple[Callable[[Stop], Any], Callable[[Any], None]] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is waiting or running."""
        return self._wanted is not None or self._job.running

    def ask(self, work: Callable[[Stop], Any], on_done: Callable[[Any], None]) -> None:
        """Request work.

        Args:
            work: Called in a thread with a function that returns whether to stop.
            on_done: Called on the main thread with its result, unless a newer request has come.
        """
        self._wanted = (work, on_done)
        self._stopped.set()
        self._timer.start()

    def stop(self) -> None:
        """Cancel all requests."""
        self._wanted = None
        self._timer.stop()
        self._stopped.set()

    def _start(self) -> None:
        if self._wanted is None or self._job.running:
            return
        (work, on_done), self._wanted = self._wanted, None
        stopped = self._stopped = threading.Event()

        def done(result: Any) -> None:
            if not stopped.is_set():
                on_done(result)

        self._job.start(lambda: work(stopped.is_set), done)

    def _ended(self) -> None:
        if self._wanted is not None:
            if not self._timer.isActive():
                self._start()
        else:
            self.rested.emit()
