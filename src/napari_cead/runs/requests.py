"""The user's request to a training in another process: a small file in the run's folder.

No signals: they differ between systems, and a training may run on another machine that shares the disk.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from ..atomic import to_json, write_text
from ..errors import Cancelled
from ..json_files import read_json
from .run_files import REQUEST_FILE

Asked = Literal["pause", "finish", "discard"]
"""``pause``: write a checkpoint and end. ``finish``: the same, then make a model of the best epoch so far. ``discard``:
end; the requester removes the run."""

INTERVAL = 0.3
"""Seconds between two checks for a request."""


class Paused(Cancelled):
    """A training paused on request: a checkpoint is written, and it can be resumed."""


class Discarded(Cancelled):
    """A training ended on a request to discard it."""


def ask(run: Path, what: Asked) -> None:
    """Send a request to a training; a later request replaces an earlier one.

    Raises:
        OutputError: If the folder cannot be written.
    """
    write_text(run / REQUEST_FILE, to_json({"request": what, "time": time.time()}))


def asked(run: Path) -> tuple[Asked, float] | None:
    """Return the request to a training and its time (seconds since 1970); None without one."""
    try:
        values = read_json(run / REQUEST_FILE)
        what, when = values["request"], float(values.get("time", 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (what, when) if what in get_args(Asked) else None


def clear(run: Path) -> None:
    """Remove the request."""
    with suppress(OSError):
        (run / REQUEST_FILE).unlink()


class Requests:
    """Checks now and then for a request; cheap enough for a call before every update.

    Args:
        run: The run's folder.
        since: Requests older than this (seconds since 1970) were meant for an earlier process, and are removed.
    """

    def __init__(self, run: Path, since: float) -> None:
        self.run, self.since = run, since
        self._next = 0.0
        self._found: Asked | None = None

    def pending(self) -> Asked | None:
        """Return the request, at most :data:`INTERVAL` seconds late; None without one."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL
            found = asked(self.run)
            if found is not None and found[1] < self.since:
                clear(self.run)
                found = None
            self._found = None if found is None else found[0]
        return self._found
