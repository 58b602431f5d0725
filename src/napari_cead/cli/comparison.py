"""A comparison of a model before and after fine-tuning, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluation.before_after import BeforeAfter


def described(found: BeforeAfter) -> Iterator[str]:
    """Yield the lines of a comparison."""
    from ..evaluation.before_after_tables import tables

    for table in tables(found):
        yield table.title
        yield from _aligned((table.headers, *table.rows))
        yield ""
    yield found.verdict
    for note in found.notes:
        yield f"note: {note}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
