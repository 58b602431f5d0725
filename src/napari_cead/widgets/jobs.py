"""Running work beside the event loop and getting the outcome back on the main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QObject, Signal
from superqt.utils import create_worker

from ..errors import Cancelled, CeadError


class Job(QObject):
    """One piece of work at a time in a thread. Made, started and answered on the main thread.

    Signals:
        progressed: (done, total), from ``report``.
        ended: Emitted last, however the job ended.
    """

    progressed = Signal(int, int)
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop = threading.Event()
        self._worker: Any = None

    @property
    def running(self) -> bool:
        """Whether work is under way."""
        return self._worker is not None

    def stopping(self) -> bool:
        """Whether the work under way was asked to stop. Safe in any thread."""
        return self._stop.is_set()

    def report(self, done: int, total: int) -> None:
        """Tell how far the work is. Safe in any thread."""
        with still_there():
            self.progressed.emit(done, total)

    def stop(self) -> None:
        """Ask the work under way to stop."""
        self._stop.set()

    def start(self, work: Callable[[], Any], on_done: Callable[[Any], None] | None = None) -> bool:
        """Run ``work`` in a thread, then ``on_done`` with its result on the main thread.

        Errors become notifications; cancelled work ends silently.

        Returns:
            False, and nothing is started, if work is still under way.
        """
        if self.running:
            return False
        self._stop = threading.Event()

        def finished() -> None:
            self._worker = None
            with still_there():
                self.ended.emit()

        def returned(result: Any) -> None:
            if on_done is not None:
                with still_there():
                    on_done(result)

        connect = {"errored": show_failure, "finished": finished, "returned": returned}
        self._worker = create_worker(work, _start_thread=False, _connect=connect)
        self._worker.start()
        return True


@contextmanager
def still_there() -> Iterator[None]:
    """Let a thread emit a signal of a widget that may have been closed meanwhile: then nobody is told."""
    try:
        yield
    except RuntimeError as error:
        if "deleted" not in str(error):
            raise


class _Threads:
    """PyTorch's number of threads, one less for as long as anything computes behind the window."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = self._before = 0

    def enter(self) -> None:
        import torch

        with self._lock:
            if not self._users:
                self._before = torch.get_num_threads()
                torch.set_num_threads(max(1, self._before - 1))
            self._users += 1

    def leave(self) -> None:
        import torch

        with self._lock:
            self._users -= 1
            if not self._users:
                torch.set_num_threads(self._before)


_threads = _Threads()  # one for the process, as is the number that it changes


@contextmanager
def spared_core() -> Iterator[None]:
    """Leave one core to the window while PyTorch computes: it slows down several-fold when they compete."""
    _threads.enter()
    try:
        yield
    finally:
        _threads.leave()


def show_failure(error: BaseException) -> None:
    """Show an error as a napari notification: one sentence for what users can mend, details for a bug."""
    if isinstance(error, Cancelled):
        return
    if isinstance(error, CeadError):
        show_error(str(error))
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)
