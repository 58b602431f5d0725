"""Running strippers: a scan as a file for programs, and long calls that can be abandoned."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ...errors import Cancelled
from ...patients.saving import write_volume
from ...progress import Stop
from .extractor import HeadScan

T = TypeVar("T")

_LOOK = 0.1  # seconds between two calls of should_stop


@contextmanager
def scan_file(scan: HeadScan) -> Iterator[Path]:
    """Yield a scan as a NIfTI file for another program, in a temporary folder of its own."""
    with tempfile.TemporaryDirectory(prefix="napari-cead-") as place:
        yield write_volume(scan.volume, scan.grid, Path(place) / "head.nii.gz")


def interruptible(work: Callable[[], T], should_stop: Stop | None) -> T:
    """Return the result of a function, or abandon it when ``should_stop`` returns true.

    A pass through a network cannot be ended from outside. An abandoned call ends by itself, and its result is dropped.

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
