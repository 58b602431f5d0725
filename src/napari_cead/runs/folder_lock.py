"""One process at a time in a folder: a lock that ends with its process in any case."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..atomic import make_folder
from ..errors import CeadError, OutputError
from .run_files import LOCK_FILE, remove_empty


@contextmanager
def alone_in(folder: Path, busy: Callable[[], CeadError], patience: float = 0) -> Iterator[None]:
    """Create a folder and keep other processes out of it.

    A folder that is otherwise empty in the end is removed. A disk without locks keeps nobody out.

    Args:
        folder: The folder.
        busy: Makes the error if another process holds the lock.
        patience: Seconds to wait for the lock.

    Raises:
        CeadError: That of ``busy``.
        OutputError: If the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    make_folder(folder)
    lock = FileLock(folder / LOCK_FILE)
    try:
        with suppress(NotImplementedError):  # a disk without locks
            lock.acquire(timeout=patience)
    except Timeout:
        raise busy() from None
    except OSError as error:
        raise OutputError(
            f"the folder cannot be written ({error.strerror or error})",
            file=folder,
            hint="choose another --out",
        ) from error
    try:
        yield
    finally:
        if os.name != "nt":
            remove_empty(folder)  # with the lock still held
        lock.release()
        if os.name == "nt":  # Windows cannot remove an open file
            remove_empty(folder)
