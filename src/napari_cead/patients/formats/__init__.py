"""The formats of scans on disk: one file each, and those of other packages.

A format knows the names of its files, which files belong together, and how to read them. File dialogs, the reader, the
search for patients and masks, and error messages ask here. ``docs/how-to/adding.md`` shows how to add one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ...plugins import Registry, lacks
from ..places import ZIP, Place
from ..volume import Volume
from ._format import PNG_SPACING, Format, Side

__all__ = [
    "FORMATS",
    "PNG_SPACING",
    "Format",
    "Side",
    "Volume",
    "accepted",
    "dialog_filter",
    "format_at",
    "format_of",
    "is_image",
    "is_picture",
    "is_scan_file",
    "stem",
]

_NEEDED = ("name", "title", "endings", "behind", "whole", "bare", "matches", "load", "files", "shape")


class _Formats(Registry[Format]):
    """The formats, with all their endings."""

    @cached_property
    def by_ending(self) -> Mapping[str, Format]:
        """The format of each ending; the longest endings come first."""
        pairs = [(ending, each) for each in reversed(tuple(self)) for ending in each.endings]
        return dict(sorted(pairs, key=lambda pair: -len(pair[0])))

    @cached_property
    def of_images(self) -> tuple[str, ...]:
        """The endings of files that hold one volume."""
        return tuple(ending for ending, each in self.by_ending.items() if each.whole)

    @cached_property
    def of_scans(self) -> tuple[str, ...]:
        """The same without those of files that belong to another one."""
        return tuple(ending for ending in self.of_images if ending not in self.by_ending[ending].behind)

    def refresh(self) -> None:
        super().refresh()
        for name in ("by_ending", "of_images", "of_scans"):
            self.__dict__.pop(name, None)


def _lacking(thing: Any) -> str | None:
    if (missing := lacks(thing, *_NEEDED)) is not None:
        return missing
    taken = [ending for each in FORMATS.own.values() for ending in (*each.endings, ZIP)]
    for ending in thing.endings:
        if ending != ending.lower() or not ending.startswith("."):
            return f"its ending {ending!r} does not begin with a dot, or is not in lower case"
        if ending in taken:
            return f"its ending {ending} is that of another format"
    return None if thing.endings else "it has no endings"


FORMATS = _Formats("formats", "file format", __package__, _lacking, order=lambda each: each.rank)
"""All formats by name."""


def is_image(path: str | Path) -> bool:
    """Whether the file name is that of one volume. Hidden files are ignored."""
    return str(path).lower().endswith(FORMATS.of_images) and not Path(path).name.startswith(".")


def is_scan_file(path: str | Path) -> bool:
    """Whether the file name is that of one volume; of a pair, only the header counts."""
    return str(path).lower().endswith(FORMATS.of_scans) and not Path(path).name.startswith(".")


def is_picture(path: str | Path) -> bool:
    """Whether the file name is that of one slice, whose side and voxel size are assumed."""
    known = format_of(Path(path).name)
    return known is not None and known.bare and known.names(path)


def stem(path: str | Path) -> str:
    """Return the file name without the endings of its format, case kept."""
    name = Path(path).name
    for ending in FORMATS.of_images:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return Path(name).stem


def format_of(name: str) -> Format | None:
    """Return the format of a file by its name; None if the name does not tell."""
    lower = name.lower()
    return next((each for ending, each in FORMATS.by_ending.items() if lower.endswith(ending)), None)


def format_at(place: Place) -> Format | None:
    """Return the format of a place on disk; None if it has none."""
    named = format_of(place.file.name)
    if named is not None and named.matches(place):
        return named
    return next((each for each in FORMATS if each.matches(place)), None)


def accepted() -> str:
    """Return all formats for a sentence, ``NIfTI, MGH, … or PNG file``, and any broken packages."""
    *others, last = (each.title for each in FORMATS)
    broken = [each for each in FORMATS.origins if each.reason is not None]
    told = (f"; the format {each.name!r} of {each.package} cannot be used: {each.reason}" for each in broken)
    return f"{', '.join(others)} or {last} file, or a zip of a patient{''.join(told)}"


def dialog_filter() -> str:
    """Return the filter for scans of file dialogs, in Qt's notation."""
    endings = (*(ending for each in FORMATS for ending in each.endings), ZIP)
    return f"Brain MRI ({' '.join(f'*{ending}' for ending in endings)});;All files (*)"
