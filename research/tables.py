"""Numbers and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many decimals; a dash where there is none."""
    return MISSING if value is None or value != value else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def between(interval: Sequence[float] | None, digits: int = 3) -> str:
    """Return an interval in brackets, led by a space; nothing where there is none."""
    return "" if interval is None else f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    cells = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def listing(words: Sequence[str]) -> str:
    """Return words as they stand in a sentence: ``a, b and c``."""
    return ", ".join(words[:-1]) + (" and " if words[:-1] else "") + "".join(words[-1:])


def between_markers(text: str, name: str, lines: Sequence[str]) -> str:
    """Replace what stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``, each on a line of its own.

    Args:
        text: The document.
        name: Name of the markers.
        lines: What to put there.

    Raises:
        ValueError: If the document does not have each of them once, in this order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(f"{begin}\n")
    inside, ended, after = rest.partition(f"{end}\n")
    if not found or not ended or begin in inside + after or end in before + after:
        raise ValueError(f"the document needs one line {begin} and, after it, one line {end}")
    return "\n".join((before + begin, "", *lines, "", end + "\n")) + after
