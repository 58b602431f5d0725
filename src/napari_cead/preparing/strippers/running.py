"""Running strippers: a scan as a file for programs, and long calls that can be abandoned."""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from ...errors import Cancelled, PatientError, disk_errors
from ...patients.saving import write_volume
from ...progress import Stop, check_stop
from .extractor import HeadScan

T = TypeVar("T")

_LOOK = 0.1  # seconds between two calls of should_stop
_PATIENCE = 10.0  # seconds that a command asked to end has


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


def run_tool(
    command: list[str],
    what: str,
    source: str | Path,
    *,
    should_stop: Stop | None = None,
    hint: str = "give a brain mask file",
    how_to_install: str = "",
) -> None:
    """Run a program until it ends, or somebody asks to stop.

    Args:
        command: The program and its arguments; no shell is involved.
        what: What the program is called in an error.
        source: The scan it works on, for the message of an error.
        should_stop: Called ten times a second; the program ends within seconds.
        hint: What to do if it fails.
        how_to_install: What to do if it cannot be started.

    Raises:
        PatientError: If it cannot be started, or fails; the sentence ends with its last line.
        Cancelled: If ``should_stop`` returned true.
    """
    with disk_errors(PatientError, f"{what} cannot be started", source, how_to_install or hint):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    last = ""
    try:
        while True:
            check_stop(should_stop)
            try:
                line = lines.get(timeout=_LOOK)
            except queue.Empty:
                if process.poll() is None:
                    continue
                line = None if not reader.is_alive() and lines.empty() else ""
            if line is None:
                break
            if line.strip():
                last = line.strip()
        status = process.wait()
    finally:
        _end(process)
        reader.join(timeout=_PATIENCE)
    if status != 0:
        raise PatientError(
            f"{what} failed with status {status} ({last[-200:] or 'it said nothing'})",
            file=source,
            hint=hint,
        )


def _read(stream: IO[str] | None, lines: queue.Queue[str | None]) -> None:
    if stream is not None:
        with stream:
            for line in stream:
                lines.put(line.rstrip("\n"))
    lines.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
