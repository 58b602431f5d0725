"""The active process of a run's folder: a lock that ends with its process in any case, and a note that names it.

The lock is decisive. A process number alone is not: numbers are reused, and notes outlive a power cut.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from ..atomic import make_folder, to_json, write_text
from ..errors import CeadError, OutputError, RunBusyError
from ..json_files import read_json
from .run_files import LOCK_FILE, OWNER_FILE

PATIENCE = 1.0
"""Seconds to wait for the lock: another process may just be checking whether it is held."""

CLOCK = 3.0
"""Tolerance for a process's start time, in seconds: the clock may be set while it runs."""


@dataclass(frozen=True)
class Owner:
    """A recorded process.

    Attributes:
        pid: Its number.
        host: The machine.
        started: When it began to work here, in UTC.
        process_started: When the process itself began, seconds since 1970; None if unknown.
        noted: When this was recorded, seconds since 1970.
    """

    pid: int
    host: str
    started: str = ""
    process_started: float | None = None
    noted: float = 0.0

    @classmethod
    def this(cls) -> Owner:
        """Describe this process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int, noted: float | None = None) -> Owner:
        """Describe a process of this machine, recorded now or at a given time."""
        began: float | None = None
        with suppress(psutil.Error):
            began = psutil.Process(pid).create_time()
        noted = time.time() if noted is None else noted
        started = datetime.fromtimestamp(noted, UTC).isoformat(timespec="seconds")
        return cls(pid, socket.gethostname(), started, began, noted)

    @classmethod
    def read(cls, file: Path) -> Owner | None:
        """Read a note; None if it is missing or damaged."""
        try:
            values = read_json(file)
            began = values.get("process_started")
            return cls(
                int(values["pid"]),
                str(values["host"]),
                str(values.get("started", "")),
                None if began is None else float(began),
                float(values.get("noted", 0)),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, file: Path) -> None:
        """Write the note.

        Raises:
            OutputError: If it cannot be written.
        """
        write_text(file, to_json(asdict(self)))

    @property
    def here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == socket.gethostname()

    def alive(self) -> bool:
        """Whether this very process still runs on this machine; another one with its number does not count."""
        return self.process() is not None

    def process(self) -> psutil.Process | None:
        """Return the process if it still runs on this machine."""
        if not self.here:
            return None
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            same = self.process_started is None or abs(process.create_time() - self.process_started) <= CLOCK
        except psutil.Error:
            return None
        return process if same else None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.started})"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Prevent other processes from training in a folder, see :func:`alone_in`.

    Raises:
        RunError: If another process holds the lock; the message names it.
        OutputError: If the folder cannot be written.
    """

    def busy(owner: str) -> RunBusyError:
        mend = "wait for it, stop it, or choose another --out"
        return RunBusyError(f"{owner} is training here", file=folder, mend=mend)

    with alone_in(folder, OWNER_FILE, busy, PATIENCE):
        yield


@contextmanager
def alone_in(
    folder: Path, note_name: str, busy: Callable[[str], CeadError], patience: float = 0
) -> Iterator[None]:
    """Create a folder and keep other processes out of it; the lock ends with the process in any case.

    A folder that is otherwise empty in the end is removed. A disk without locks keeps nobody out.

    Args:
        folder: The folder.
        note_name: Name of the file in it that names the process.
        busy: Makes the error if another process, described by a few words, holds the lock.
        patience: Seconds to wait for the lock.

    Raises:
        CeadError: That of ``busy``.
        OutputError: If the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    make_folder(folder)
    note = folder / note_name
    lock = FileLock(folder / LOCK_FILE)
    try:
        with suppress(NotImplementedError):  # a disk without locks
            lock.acquire(timeout=patience)
    except Timeout:
        raise busy(str(Owner.read(note) or "another process")) from None
    except OSError as error:
        raise OutputError(
            f"the folder cannot be written ({error.strerror or error})",
            file=folder,
            mend="choose another --out",
        ) from error
    try:
        Owner.this().write(note)
        yield
    finally:
        with suppress(OSError):
            note.unlink()
        if os.name != "nt":
            _remove_empty(folder)  # with the lock still held
        lock.release()
        if os.name == "nt":  # Windows cannot remove an open file
            _remove_empty(folder)


def is_held(folder: Path) -> bool | None:
    """Whether a process holds the lock of a folder; None if that cannot be determined.

    A free lock is taken for a moment.
    """
    file = folder / LOCK_FILE
    if not file.exists():
        return False
    try:
        from filelock import FileLock, Timeout
    except ImportError:
        return None
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # read-only, or a disk without locks
        return None
    lock.release()
    return False


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            folder.rmdir()
