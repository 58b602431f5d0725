"""Long calls that cannot be interrupted, and that a user may want to leave all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from ...errors import Cancelled
from .extractor import ShouldStop

T = TypeVar("T")

_LOOK = 0.1  # seconds between two looks at should_stop


def interruptible(work: Callable[[], T], should_stop: ShouldStop | None) -> T:
    """Return what a function returns, or leave it behind when somebody asks to stop.

    A pass through a network cannot be ended from outside. What is left behind ends by itself, and its result is
    thrown away.

    Raises:
        Cancelled: If ``should_stop`` returned true.
    """
    if should_stop is None:
        return work()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        if should_stop():
            raise Cancelled
        thread.join(_LOOK)
    if errors:
        raise errors[0]
    return results[0]
