"""Numbers and tables as Markdown, and long tables of a page as CSV files beside it.

    python research/tables.py PAGE.md [PAGE.md ...]

moves every table of more than ``LONGEST`` rows into ``tables/`` beside the page and leaves a link.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from napari_cead.atomic import write_text

MISSING = "–"

LONGEST = 8
"""A page shows no table with more rows."""

FOLDER = "tables"
"""Folder of the CSV files of the pages of a folder."""

ASIDE = re.compile(rf"^(?:- (.+): )?\[.+\]\(({FOLDER}/[\w.-]+\.csv)\)$")


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


def aside(lines: Iterable[str], page: Path) -> list[str]:
    """Write the long tables among the lines of a page as CSV files beside it, and return the lines with links.

    Args:
        lines: Lines of Markdown, tables and headings among them. A table is named after its heading.
        page: The page that the lines are for.
    """
    shown: list[str] = []
    rows: list[str] = []
    heading, names = "", set[str]()
    for line in [*"\n".join(lines).split("\n"), ""]:
        if line.startswith("|"):
            rows.append(line)
            continue
        if len(rows) - 2 > LONGEST:
            name = stem = f"{page.stem}-{_slug(heading or _plain(rows[0])[0])}"
            number = 2
            while name in names:
                name, number = f"{stem}-{number}", number + 1
            names.add(name)
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(_plain(row) for row in (rows[0], *rows[2:]))
            (page.parent / FOLDER).mkdir(exist_ok=True)
            write_text(page.parent / FOLDER / f"{name}.csv", text.getvalue())
            link = f"[{len(rows) - 2} rows as CSV]({FOLDER}/{name}.csv)"
            if shown[-2:] == [f"### {heading}", ""]:  # nothing but a table: a line of a list
                del shown[-2:]
                link = f"- {heading}: {link}"
                if shown[-2:-1] and shown[-2].startswith("- ") and ASIDE.match(shown[-2]):
                    del shown[-1:]
            shown.append(link)
        else:
            shown += rows
        rows = []
        heading = line.lstrip("# ") if line.startswith("#") else heading
        shown.append(line)
    return shown[:-1]


def whole(page: Path) -> str:
    """Return the text of a page with the tables that were put aside in their places, without emphasis."""
    lines: list[str] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if found := ASIDE.match(line):
            lines += [f"### {found[1]}", ""] if found[1] else []
            with (page.parent / found[2]).open(encoding="utf-8", newline="") as stream:
                head, *rows = csv.reader(stream)
            lines += table(head, rows)
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _plain(row: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", row.strip()[1:-1])
    return [re.sub(r"\*\*|`", "", cell).replace("\\|", "|").replace("−", "-").strip() for cell in cells]


def _slug(heading: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
    return words if len(words) <= 40 else words[:41].rpartition("-")[0]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        place = Path(name)
        write_text(place, "\n".join(aside(place.read_text(encoding="utf-8").splitlines(), place)) + "\n")
