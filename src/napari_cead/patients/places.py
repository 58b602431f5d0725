"""Places of scans that are not one file: a series of a DICOM folder, a file inside a zip."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SEPARATOR = "#"
"""Separator of a path on disk and the part inside it: ``DICOM#5``, ``anna.zip#flair.nii.gz``."""

ZIP = ".zip"
"""Ending of the names of archives."""


def is_zip(path: str | Path) -> bool:
    """Whether the file name is that of a zip archive."""
    return str(path).lower().endswith(ZIP)


@dataclass(frozen=True)
class Place:
    """The meaning of a path.

    Attributes:
        file: File or folder on disk.
        inside: What of it: a series of a DICOM folder, or a path inside a zip; empty for all of it.
    """

    file: Path
    inside: str = ""

    @property
    def path(self) -> Path:
        """The path of it."""
        return within(self.file, self.inside)

    @property
    def zipped(self) -> bool:
        """Whether it lies in a zip, or is one."""
        return is_zip(self.file) and self.file.is_file()

    @property
    def series(self) -> str:
        """The named series of a DICOM folder; empty if none is named."""
        return "" if self.zipped else self.inside


def place_of(path: str | Path | Place) -> Place:
    """Split a path into the part on disk and the part inside it. An existing path is never split."""
    if isinstance(path, Place):
        return path
    whole = Path(path).expanduser()

    def exists(text: str) -> bool:
        file = Path(text)
        return file.is_dir() or (is_zip(file) and file.is_file())

    # A path too long for the system, or with a zero byte, is invalid.
    with suppress(OSError, ValueError):
        if not whole.exists() and (parts := split(str(whole), exists)):
            return Place(Path(parts[0]), parts[1])
    return Place(whole)


def split(text: str, exists: Callable[[str], bool]) -> tuple[str, str] | None:
    """Split a path at the last separator after an existing path: names of folders may contain one too.

    Args:
        text: The path, ``FOLDER#5`` for instance.
        exists: Whether a path is there.

    Returns:
        The existing part and the part inside it; None if nothing exists.
    """
    end = text.rfind(SEPARATOR)
    while end > 0:
        before = text[:end].rstrip("/\\") or text[:end]
        if exists(before):
            return before, text[end + 1 :]
        end = text.rfind(SEPARATOR, 0, end)
    return None


def within(file: str | Path, inside: str) -> Path:
    """Return the path of something inside a file or folder; the file itself if ``inside`` is empty."""
    if not inside:
        return Path(file)
    plain = Path(f"{file}{SEPARATOR}{inside}")
    # A folder may have this name: then a slash tells them apart.
    return Path(file, f"{SEPARATOR}{inside}") if plain.exists() else plain
