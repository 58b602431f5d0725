"""Places of scans that are more, or less, than one file: a series of a DICOM folder, a file inside a zip."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .aliases import is_image, is_zip

SEPARATOR = "#"
"""Between what lies on disk and what is meant of it: ``DICOM#5``, ``anna.zip#flair.nii.gz``."""


@dataclass(frozen=True)
class Place:
    """What a path means.

    Attributes:
        file: File or folder on disk.
        inside: What of it: a series of a DICOM folder, or a path inside a zip; empty for all of it.
    """

    file: Path
    inside: str = ""

    @property
    def zipped(self) -> bool:
        """Whether it lies in a zip, or is one."""
        return is_zip(self.file) and self.file.is_file()

    @property
    def series(self) -> str:
        """The series of a DICOM folder that is meant, empty if none is."""
        return "" if self.zipped else self.inside


def place_of(path: str | Path) -> Place:
    """Split a path into what lies on disk and what is meant of it. A path that exists is never split."""
    whole = Path(path).expanduser()

    def exists(text: str) -> bool:
        file = Path(text)
        return file.is_dir() or (is_zip(file) and file.is_file())

    # A path that is too long for the system, or holds a zero, is none.
    with suppress(OSError, ValueError):
        if not whole.exists() and (parts := split(str(whole), exists)):
            return Place(Path(parts[0]), parts[1])
    return Place(whole)


def split(text: str, exists: Callable[[str], bool]) -> tuple[str, str] | None:
    """Split a path at the last separator before which there is something: names of folders may hold one too.

    Args:
        text: The path, ``FOLDER#5`` for instance.
        exists: Whether a path is there.

    Returns:
        What is there, and what is meant of it; None if there is nothing.
    """
    end = text.rfind(SEPARATOR)
    while end > 0:
        before = text[:end].rstrip("/\\") or text[:end]
        if exists(before):
            return before, text[end + 1 :]
        end = text.rfind(SEPARATOR, 0, end)
    return None


def within(file: str | Path, inside: str) -> Path:
    """Return the path that means something inside a file or folder; the file itself if ``inside`` is empty."""
    if not inside:
        return Path(file)
    plain = Path(f"{file}{SEPARATOR}{inside}")
    # A folder may be called so: then a slash tells that it is not meant.
    return Path(file, f"{SEPARATOR}{inside}") if plain.exists() else plain


def is_pictures(path: str | Path) -> bool:
    """Whether a place holds PNG slices, or is one: their side and voxel size are assumed."""
    place = place_of(path)
    if place.zipped:
        from .archives import names_of

        slices = (name for name in names_of(place.file) if name.lower().endswith(".png"))
        return any(name == place.inside or name.startswith(f"{place.inside}/") for name in slices)
    if place.file.is_dir():
        return not place.inside and bool(pngs_in(place.file))
    return place.file.suffix.lower() == ".png"


def disk_files(path: str | Path) -> list[Path]:
    """Return the files on disk that are read for a place, in a fixed order.

    A header with its image, all slices of a folder or of a series; of what lies in a zip, the zip.
    """
    place = place_of(path)
    if place.zipped:
        return [place.file]
    if place.file.is_dir() and not place.series:
        return pngs_in(place.file)
    if not is_image(place.file):
        from .dicom import is_dicom, series_of

        if place.series or is_dicom(place.file):
            return list(series_of(path).files)
    return [place.file, *_companions(place.file)]


def pngs_in(folder: Path) -> list[Path]:
    """Return the PNG files of a folder, sorted by name, without hidden ones."""
    return sorted(
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.suffix.lower() == ".png" and not path.name.startswith(".")
    )


def _companions(file: Path) -> list[Path]:
    lower = file.name.lower()
    for header, image in ((".hdr", ".img"), (".hdr.gz", ".img.gz")):
        for one, other in ((header, image), (image, header)):
            if lower.endswith(one):
                wanted = lower[: -len(one)] + other
                return [entry for entry in sorted(file.parent.iterdir()) if entry.name.lower() == wanted]
    if lower.endswith(".nhdr"):
        from .nrrd import data_file

        return [data_file(file)]
    return []
