"""Places of scans that are more, or less, than one file: a series of a DICOM folder, a file inside a zip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .aliases import is_zip

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
    if whole.exists():
        return Place(whole)
    text = str(whole)
    start = text.find(SEPARATOR)
    while start >= 0:
        file = Path(text[:start])
        if text[:start] and (file.is_dir() or (is_zip(file) and file.is_file())):
            return Place(file, text[start + 1 :])
        start = text.find(SEPARATOR, start + 1)
    return Place(whole)


def within(file: str | Path, inside: str) -> Path:
    """Return the path that means something inside a file or folder; the file itself if ``inside`` is empty."""
    return Path(f"{file}{SEPARATOR}{inside}") if inside else Path(file)


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
    if place.series or (place.file.suffix.lower() in (".dcm", ".ima") and place.file.is_file()):
        from .dicom import series_of

        return list(series_of(path).files)
    if place.file.is_dir():
        return pngs_in(place.file)
    return [place.file, *_companions(place.file)]


def pngs_in(folder: Path) -> list[Path]:
    """Return the PNG files of a folder, sorted by name, without hidden ones."""
    return sorted(path for path in folder.glob("*.png") if not path.name.startswith("."))


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
