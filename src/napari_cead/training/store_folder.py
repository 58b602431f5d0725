"""The folder of a slice store during writing: its owner, one writer at a time, no leftovers."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..atomic import make_folder
from ..errors import OutputError, StoreError
from .store_index import INDEX_FILE, TEMPORARY, read_index

LOCK_FILE = ".lock"


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but a slice store; a missing folder is fine.

    Raises:
        StoreError: If it does, or the store in it is damaged or of another version.
    """
    if not folder.is_dir():
        return
    if (folder / INDEX_FILE).exists():
        read_index(folder)
    elif any(not entry.name.startswith((LOCK_FILE, TEMPORARY)) for entry in folder.iterdir()):
        raise StoreError(
            "the folder is neither empty nor a slice store", file=folder, mend="choose another --out"
        )


def clear(folder: Path, keep: set[str]) -> None:
    """Remove groups that the index does not name, and leftovers of a killed run."""
    for entry in folder.iterdir():
        if entry.name.startswith(TEMPORARY) or (entry.name not in keep and (entry / INDEX_FILE).is_file()):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with suppress(OSError):
                    entry.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the folder and keep every other preparation out of it; the lock ends if this process dies.

    A folder in which nothing was written is removed in the end.

    Raises:
        StoreError: If another preparation is writing to it.
        OutputError: If it cannot be written.
    """
    make_folder(folder)
    file = folder / LOCK_FILE
    try:
        stream = file.open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"the folder cannot be written ({error.strerror})", file=folder, mend="choose another --out"
        ) from error
    with stream:
        if not _lock(stream.fileno()):
            stream.seek(0)
            raise StoreError(
                f"another prepare is writing this store ({stream.read(200).strip()})",
                file=folder,
                mend="wait for it, or choose another --out",
            )
        with suppress(OSError):  # a full disk shows later, where it matters
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}")
            stream.flush()
        try:
            yield
        finally:
            if os.name != "nt":
                _remove_empty(folder)  # with the lock still held
    if os.name == "nt":  # Windows cannot remove an open file
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            folder.rmdir()


def _lock(descriptor: int) -> bool:
    """Take the lock of an open file, or return False if another process has it. File systems without locks pass."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # beyond the text, which others may read
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
