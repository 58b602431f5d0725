"""Numbers and times as text, the same in files, reports, docks and on the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence

UNDEFINED = "–"
"""What stands for a figure that is undefined or unknown."""


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """Return a figure as text, `UNDEFINED` if there is none.

    Args:
        value: The figure; None, NaN and infinity are no figure.
        digits: Digits after the point.
        signed: Whether a positive figure has a sign.

    Example:
        >>> number(0.12345), number(1.5, 1, signed=True), number(None)
        ('0.123', '+1.5', '–')
    """
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{value:{'+' if signed else ''}.{digits}f}"


def span(interval: Sequence[float | None] | None, digits: int = 3, *, signed: bool = False) -> str:
    """Return an interval as text, empty if there is none.

    Example:
        >>> span((0.4, 0.6))
        '[0.400, 0.600]'
    """
    if interval is None or None in interval:
        return ""
    return "[" + ", ".join(number(end, digits, signed=signed) for end in interval) + "]"


def counted(count: int, what: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "patient"), counted(2, "patient")
        ('1 patient', '2 patients')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time in words: 45 s, 12 min, 3 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
