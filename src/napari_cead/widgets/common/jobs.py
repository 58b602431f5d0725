"""Running work in a thread and returning its result to the main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import MethodType
from typing import Any, cast
from weakref import WeakMethod, WeakSet

from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QObject, Signal

from ...contributions.failures import show_failure


class Job(QObject):
    """One piece of work at a time in a thread. Created, started and answered on the main thread.

    Signals:
        progressed: (done, total), from ``report``.
        staged: The stage that begins, from ``say``.
        ended: Emitted last, however the job ended.

    Attributes:
        report: Reports progress, ``report(done, total)``. Safe in any thread.
        say: Reports the stage that begins, ``say(stage)``, likewise.
    """

    progressed = Signal(int, int)
    staged = Signal(str)
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop = threading.Event()
        self._task: _Task | None = None
        self.report, self.say = on_main(self._report), on_main(self._say)

    @property
    def running(self) -> bool:
        """Whether work is running."""
        return self._task is not None

    def stopping(self) -> bool:
        """Whether the current work was asked to stop. Safe in any thread."""
        return self._stop.is_set()

    def _report(self, done: int, total: int) -> None:
        self.progressed.emit(done, total)

    def _say(self, stage: str) -> None:
        self.staged.emit(stage)

    def stop(self) -> None:
        """Ask the current work to stop."""
        self._stop.set()

    def start(self, work: Callable[[], Any], on_done: Callable[[Any], None] | None = None) -> bool:
        """Run ``work`` in a thread, then ``on_done`` with its result on the main thread.

        Errors become notifications; cancelled work ends silently.

        Returns:
            False, and nothing is started, if work is still running.
        """
        if self.running:
            return False
        self._stop = threading.Event()

        def answer(result: Any, error: BaseException | None) -> None:
            try:
                if error is not None:
                    show_failure(error)
                elif on_done is not None and isalive(self):
                    on_done(result)
            finally:
                self._task = None
                if isalive(self):
                    self.ended.emit()

        self._task = _Task(work, answer)
        _main_thread().start(self._task)
        return True


class _Task:
    """Work and the handler of its result; empty once it is handled.

    The thread holds nothing else: with the last reference to a closed dock it would destroy widgets, or keep them.
    superqt's workers sometimes do one or the other, and their threads share the warning filters.
    """

    def __init__(self, work: Callable[[], Any], answer: Callable[[Any, BaseException | None], None]) -> None:
        self._work: Callable[[], Any] | None = work
        self._answer: Callable[[Any, BaseException | None], None] | None = answer
        self._result: Any = None
        self._error: BaseException | None = None

    def do(self) -> None:
        """Do the work, in a thread."""
        assert self._work is not None
        try:
            self._result = self._work()
        except BaseException as error:  # the job has to end, whatever it was
            self._error = error

    def answer(self) -> None:
        """Handle the result, on the main thread."""
        answer, result, error = self._answer, self._result, self._error
        self._work = self._answer = self._result = self._error = None
        if answer is not None:
            answer(result, error)


def on_main(method: Callable[..., None], unless: Callable[[], bool] | None = None) -> Callable[..., None]:
    """Return a function, safe in any thread, that calls a method on the main thread: at once if it runs there.

    The method's object is not held, and nothing happens once it is gone. A thread must not emit a signal of an object
    that may be destroyed meanwhile: Qt reads the object during its destruction.

    Args:
        method: A bound method of a Qt object that was made on the main thread.
        unless: Called on the main thread; if it returns true, the method is not called.
    """
    held, main = WeakMethod(cast("MethodType", method)), _main_thread()

    def deliver(*news: Any) -> None:
        found = held()
        if found is not None and isalive(found.__self__) and not (unless is not None and unless()):
            found(*news)

    return lambda *news: main.call(deliver, news)


def all_of(*steps: Callable[[], object]) -> None:
    """Take all steps, in this order, whether or not one fails: parts of a window must not show different things.

    Raises:
        Exception: The last one that a step raised, with those before as its context.
    """
    with ExitStack() as stack:
        for step in reversed(steps):
            stack.callback(step)


class _MainThread(QObject):
    """Starts the threads of tasks and answers them, and calls, on the thread on which it was made. Never destroyed."""

    _done = Signal(object)
    _called = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._threads: WeakSet[threading.Thread] = WeakSet()
        self._done.connect(self._answer)
        self._called.connect(self._call)
        # Wait for files that are being written: during the shutdown of Python it would be too late.
        QCoreApplication.instance().aboutToQuit.connect(self._wait)

    def start(self, task: _Task) -> None:
        """Do a task in a thread."""
        thread = threading.Thread(target=_do, args=(task, self._done), name="napari-cead")
        self._threads.add(thread)
        thread.start()

    def call(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Call a function on the main thread. Safe in any thread."""
        with _application_there():
            self._called.emit(function, arguments)

    def _answer(self, task: _Task) -> None:
        task.answer()

    def _call(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        function(*arguments)

    def _wait(self) -> None:
        for thread in tuple(self._threads):
            thread.join()


@cache
def _main_thread() -> _MainThread:
    return _MainThread()


def _do(task: _Task, done: Any) -> None:
    task.do()
    with _application_there():
        done.emit(task)


@contextmanager
def _application_there() -> Iterator[None]:
    """Emit a signal of the main thread's object from any thread; do nothing if the application has ended."""
    try:
        yield
    except RuntimeError as error:
        if "deleted" not in str(error):
            raise


class _Threads:
    """PyTorch's number of threads, one fewer while anything computes behind the window."""

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
