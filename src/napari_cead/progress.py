"""What long functions report to, and ask whether to go on; and times in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (steps done, total steps)."""

Stop: TypeAlias = Callable[[], bool]
"""Called several times a second; true ends the work with `Cancelled`."""


def duration(seconds: float) -> str:
    """Return a time in words: 45 s, 12 min, 3 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
