"""What a user asks of a training that runs in another process: a small file in the run's folder.

No signals: these differ between systems, and a training may run on another machine that shares the disk.
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
end; whoever asked removes the run."""

INTERVAL = 0.3
"""Seconds between two looks for a request."""


class Paused(Cancelled):
    """A training was asked to pause: a checkpoint is written, it can go on."""


class Discarded(Cancelled):
    """A training was asked to end and be forgotten."""


def ask(run: Path, what: Asked) -> None:
    """Ask a training for something; a later request replaces an earlier one.

    Raises:
        OutputError: If the folder cannot be written.
    """
    write_text(run / REQUEST_FILE, to_json({"request": what, "time": time.time()}))


def asked(run: Path) -> tuple[Asked, float] | None:
    """Return what is asked of a training and when (seconds since 1970); None: nothing."""
    try:
        values = read_json(run / REQUEST_FILE)
        what, when = values["request"], float(values.get("time", 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (what, when) if what in get_args(Asked) else None


def clear(run: Path) -> None:
    """Forget what was asked."""
    with suppress(OSError):
        (run / REQUEST_FILE).unlink()


class Requests:
    """Looks now and then for a request; cheap enough to be asked before every update.

    Args:
        run: The run's folder.
        since: Requests older than this (seconds since 1970) were meant for an earlier process, and are removed.
    """

    def __init__(self, run: Path, since: float) -> None:
        self.run, self.since = run, since
        self._next = 0.0
        self._found: Asked | None = None

    def pending(self) -> Asked | None:
        """Return what is asked, at most :data:`INTERVAL` seconds late; None: nothing."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL
            found = asked(self.run)
            if found is not None and found[1] < self.since:
                clear(self.run)
                found = None
            self._found = None if found is None else found[0]
        return self._found
