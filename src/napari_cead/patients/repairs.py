"""What nibabel, pydicom and Pillow repair in a header: caught as notes, where it would be printed to the terminal."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_here = threading.local()  # files are read in several threads at once


class _Keep(logging.Filter):
    """Keeps the records of a thread that asked for them from everybody else."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _kept(record.getMessage())


class _Warnings:
    """Stands for the module ``warnings`` in a library. Python's own way to silence it holds for all threads at once."""

    def warn(
        self,
        message: Warning | str,
        category: type[Warning] | None = None,
        stacklevel: int = 1,
        source: Any = None,
    ) -> None:
        kind = type(message) if isinstance(message, Warning) else category or UserWarning
        # That a function of a library will go away is no remark on a header.
        if issubclass(kind, DeprecationWarning | FutureWarning) or not _kept(str(message)):
            warnings.warn(message, category, stacklevel=stacklevel + 1, source=source)

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


_STAND_IN = _Warnings()


def _kept(message: str) -> bool:
    """Add a remark to the notes of this thread; false if it asked for none."""
    notes: list[str] | None = getattr(_here, "notes", None)
    if notes is None:
        return False
    note = " ".join(message.split())
    if note not in notes:
        notes.append(note)
    return True


def listen_to(imported: str) -> ModuleType:
    """Import a module and return it; what its library warns of is kept inside `repairs` from then on."""
    found = import_module(imported)
    library = imported.partition(".")[0]
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{library}.") and getattr(module, "warnings", None) is warnings:
            module.warnings = _STAND_IN  # type: ignore[attr-defined]
    return found


listen_to("nibabel")
listen_to("PIL.PngImagePlugin")
for _name in ("nibabel.global", "pydicom"):
    logging.getLogger(_name).addFilter(_Keep())


@contextmanager
def repairs() -> Iterator[list[str]]:
    """Give the list to which the remarks on headers read in this thread are added, instead of a log or a warning."""
    notes: list[str] = []
    before = getattr(_here, "notes", None)
    _here.notes = notes
    try:
        yield notes
    finally:
        _here.notes = before
