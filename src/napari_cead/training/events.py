"""What a training says while it runs: dictionaries, for a progress bar, a file, or a window in another process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..atomic import strict
from ..errors import OutputError

Event = dict[str, Any]
"""``event`` is one of ``start``, ``step`` (about one a second), ``epoch``, ``checkpoint``, ``note``, ``finish``."""

Listener = Callable[[Event], None]


class EventFile:
    """Appends events to a file, one line of JSON each, for other processes to follow.

    Args:
        path: The file; created if needed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, event: Event) -> None:
        """Write an event with the time (seconds since 1970).

        Raises:
            OutputError: If the file cannot be written.
        """
        line = json.dumps(strict({"time": round(time.time(), 3), **event}), allow_nan=False)
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise OutputError(
                f"the events cannot be written ({error.strerror or error})",
                file=self.path,
                mend="choose another --events",
            ) from error
