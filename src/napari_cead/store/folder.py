"""The folder of a slice store during writing: its owner, one writer at a time, no leftovers."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..atomic import write_text
from ..errors import StoreError
from ..runs.folder_lock import alone_in
from ..runs.run_files import LOCK_FILE
from .index import INDEX_FILE, TEMPORARY, read_index

OWNER_FILE = f"{LOCK_FILE}.txt"
"""The process that writes the store."""


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
            "the folder is neither empty nor a slice store", file=folder, hint="choose another --out"
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
    note = folder / OWNER_FILE

    def busy() -> StoreError:
        owner = "another process"
        with suppress(OSError, UnicodeDecodeError):
            owner = note.read_text(encoding="utf-8").strip() or owner
        return StoreError(
            f"another prepare is writing this store ({owner})",
            file=folder,
            hint="wait for it, or choose another --out",
        )

    with alone_in(folder, busy):
        try:
            write_text(note, f"process {os.getpid()} on {socket.gethostname()}")
            yield
        finally:
            with suppress(OSError):
                note.unlink()
