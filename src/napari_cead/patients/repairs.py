"""What nibabel and pydicom repair in a header: caught as notes, where it would be printed to the terminal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_here = threading.local()  # files are read in several threads at once


class _Keep(logging.Filter):
    """Keeps the records of a thread that asked for them from everybody else."""

    def filter(self, record: logging.LogRecord) -> bool:
        notes: list[str] | None = getattr(_here, "notes", None)
        if notes is None:
            return True
        note = " ".join(record.getMessage().split())
        if note not in notes:
            notes.append(note)
        return False


for _name in ("nibabel.global", "pydicom"):
    logging.getLogger(_name).addFilter(_Keep())


def repairing() -> bool:
    """Whether remarks on headers that are read in this thread are kept."""
    return getattr(_here, "notes", None) is not None


@contextmanager
def repairs() -> Iterator[list[str]]:
    """Give the list to which the remarks on headers read in this thread are added, instead of a log."""
    notes: list[str] = []
    before = getattr(_here, "notes", None)
    _here.notes = notes
    try:
        yield notes
    finally:
        _here.notes = before
