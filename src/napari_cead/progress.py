"""What long functions report to, and ask whether to go on; and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeAlias, TypeVar

from .errors import Cancelled

T = TypeVar("T")
R = TypeVar("R")

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (steps done, total steps)."""

Stop: TypeAlias = Callable[[], bool]
"""Called several times a second; true ends the work with `Cancelled`."""


def check_stop(should_stop: Stop | None) -> None:
    """Raise `Cancelled` if the work is to stop."""
    if should_stop is not None and should_stop():
        raise Cancelled


def tell(on_progress: Progress | None, done: int, total: int) -> None:
    """Tell the progress to whoever listens."""
    if on_progress is not None:
        on_progress(done, total)


def in_threads(
    work: Callable[[T], R], items: Iterable[T], workers: int, should_stop: Stop | None = None
) -> Iterator[R]:
    """Yield the result of each item, in their order; several are worked on at a time.

    Args:
        work: Called in a thread, with one item.
        items: The items.
        workers: Number of threads.
        should_stop: Called ten times a second.

    Raises:
        Cancelled: If ``should_stop`` returned true.
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        tasks = [pool.submit(work, item) for item in items]
        try:
            for task in tasks:
                check_stop(should_stop)
                while wait([task], timeout=0.1).not_done:
                    check_stop(should_stop)
                yield task.result()
        finally:
            for task in tasks:
                task.cancel()


SURE_AFTER_S = 1.0
"""Shortest time from which the time left is estimated."""


class Pace:
    """How fast counted work goes. Steps that were done before the first count are no measure of it.

    Args:
        clock: Seconds, never going back; None: the system's.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.monotonic
        self._first: tuple[int, float] | None = None
        self._done = self._total = 0

    def begin(self) -> None:
        """Say that the work begins now, with its first step."""
        self._first, self._done, self._total = (0, self._clock()), 0, 0

    def count(self, done: int, total: int) -> None:
        """Record the progress. Another total, or fewer steps than before, is other work."""
        if self._first is None or done < self._done or (self._total and total != self._total):
            self._first = done, self._clock()
        self._done, self._total = done, total

    @property
    def left(self) -> float | None:
        """Seconds left at the pace so far; None while there is none, and at the end."""
        before, since = self._first or (0, 0.0)
        passed = self._clock() - since
        if self._first is None or not before < self._done < self._total or passed < SURE_AFTER_S:
            return None
        return passed / (self._done - before) * (self._total - self._done)
