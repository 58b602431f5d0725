"""DICOM folders: which series there are, and what each shows."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PatientError, PatientNotFoundError, UnreadableError
from .aliases import sequence_of_description
from .itk import simpleitk
from .places import place_of, within

SUFFIXES = (".dcm", ".ima")
"""Endings of DICOM files; many have none."""

_NAMES = {
    "study": "0020|000d",
    "series": "0020|000e",
    "number": "0020|0011",
    "description": "0008|103e",
    "protocol": "0018|1030",
    "modality": "0008|0060",
    "kind": "0008|0008",
    "contrast": "0018|0010",
    "position": "0020|0032",
    "directions": "0020|0037",
    "colour": "0028|0004",
}
_NO_SCAN = {"SR", "PR", "KO", "SEG", "REG", "RTSTRUCT", "RTPLAN", "RTDOSE", "DOC"}
_PROJECTIONS = {"mip", "mnip", "minip", "projection"}
_SCOUTS = {"localizer", "localiser", "scout", "survey", "loc", "topogram"}
SAME_DIRECTION = 1e-3
"""How far directions of parallel slices may differ."""

_STRANGE = 3  # files of unknown names that are looked into
MEND = "export the series from the scanner or the archive again"
"""What to do about files that cannot be read."""


class SeriesError(PatientError):
    """It has to be said which series is meant.

    Args:
        reason: What is wrong.
        choices: The series that can be meant: paths to open, and what each is.
        file: The folder.
        mend: What to do.
    """

    def __init__(
        self,
        reason: str,
        choices: Sequence[tuple[Path, str]] = (),
        *,
        file: str | Path | None = None,
        mend: str | None = None,
    ) -> None:
        super().__init__(reason, file=file, mend=mend)
        self.choices = tuple(choices)

    def __reduce__(self) -> tuple[object, ...]:
        return (_again, (self.reason, self.choices, self.file, self.mend))


def _again(
    reason: str, choices: Sequence[tuple[Path, str]], file: str | None, mend: str | None
) -> SeriesError:
    return SeriesError(reason, choices, file=file, mend=mend)


@dataclass(frozen=True)
class Series:
    """One series of a DICOM folder.

    Attributes:
        key: What names it behind ``#``: its number, unless several have it.
        description: What the scanner calls it.
        files: Its files, in the order of the slices where that is known.
        sequence: The sequence that the description tells, or None.
        unusable: Why it is no scan of a brain: a localiser, a projection, in colour, of one slice. Empty if it is one.
    """

    key: str
    description: str
    files: tuple[Path, ...]
    sequence: str | None
    unusable: str = ""

    def __str__(self) -> str:
        slices = "1 file" if len(self.files) == 1 else f"{len(self.files)} slices"
        return f"{self.key} ({self.description or 'no description'}, {slices})"


def is_dicom(file: Path) -> bool:
    """Whether a file is DICOM: it has the mark that follows the preamble, or the name says so."""
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def holds_dicom(folder: Path) -> bool:
    """Whether a folder is that of one DICOM patient. Looks at few files.

    The files lie in it, or in folders inside it, one a series; these have to be of one study, so that a folder with
    a folder for each patient is none.
    """
    if _first(folder) is not None:
        return True
    below = _series_folders(folder)
    return len(below) > 1 and len({_study(file) for file in below.values()}) == 1


def find_series(folder: Path) -> tuple[Series, ...]:
    """Return all series of a DICOM folder, by number. Reads the header of every file.

    Raises:
        PatientError: If the folder cannot be read, or holds no DICOM file that can be.
    """
    files = [file for file in sorted(folder.iterdir()) if _may_be(file) and is_dicom(file)]
    if not files:
        files = [
            file
            for below in _series_folders(folder)
            for file in sorted(below.iterdir())
            if _may_be(file) and is_dicom(file)
        ]
    stamps = []
    for file in files:
        state = file.stat()
        stamps.append((file, state.st_size, state.st_mtime_ns))
    found = _sorted_out(tuple(stamps))
    if not found:
        raise UnreadableError("no DICOM file in this folder can be read", file=folder, mend=MEND)
    return found


def usable_series(folder: Path) -> tuple[Series, ...]:
    """Return the series that can be a scan of a brain.

    Raises:
        PatientError: If there is none; the reason says what was found.
    """
    every = find_series(folder)
    usable = tuple(one for one in every if not one.unusable)
    if not usable:
        found = "; ".join(f"{one}: {one.unusable}" for one in every[:5])
        raise PatientNotFoundError(
            f"no series in this folder is a scan of a brain ({found})",
            file=folder,
            mend="give another folder",
        )
    return usable


def choice_of(folder: Path, series: Sequence[Series], what: str) -> SeriesError:
    """Return the error that asks which of several series is meant, and names them."""
    named = ", ".join(map(str, series[:12])) + (", …" if len(series) > 12 else "")
    return SeriesError(
        f"{len(series)} series {what}: {named}",
        [(within(folder, one.key), str(one)) for one in series],
        file=folder,
        mend=f"name one, for instance {within(folder, series[0].key)}",
    )


def series_of(path: str | Path) -> Series:
    """Return the series that ``FOLDER#KEY`` means, or that a file belongs to.

    Raises:
        PatientError: If there is none.
    """
    place = place_of(path)
    if not place.series:
        file = place.file.absolute()
        for one in find_series(file.parent):
            if file in {each.absolute() for each in one.files}:
                return one
        raise UnreadableError("the file cannot be read as DICOM", file=place.file, mend=MEND)
    every = find_series(place.file)
    for one in every:
        if one.key == place.series:
            return one
    raise choice_of(place.file, every, f"and no number {place.series}")


@dataclass(frozen=True, eq=False)
class Header:
    """What the header of one file says.

    Attributes:
        tags: Texts of the tags that are looked at, by names of ours.
        size: Voxels along each axis.
        spacing: Their sizes in mm.
        components: Values per voxel.
    """

    tags: dict[str, str]
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    components: int

    @property
    def position(self) -> NDArray[np.float64]:
        """Middle of the first voxel in mm, LPS+."""
        return np.array(_numbers(self.tags["position"], 3))

    @property
    def axes(self) -> Any:
        """(2, 3): directions along a row and along a column; None if there are none."""
        values = _numbers(self.tags["directions"], 6)
        return (
            None
            if values is None or _numbers(self.tags["position"], 3) is None
            else np.reshape(values, (2, 3))
        )


def header_of(file: Path) -> Header | None:
    """Return what the header of a DICOM file says, None if it cannot be read."""
    sitk = simpleitk()
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    tags = {
        name: _text(reader.GetMetaData(tag)) if reader.HasMetaDataKey(tag) else ""
        for name, tag in _NAMES.items()
    }
    return Header(tags, reader.GetSize(), reader.GetSpacing(), reader.GetNumberOfComponents())


@lru_cache(maxsize=16)
def _sorted_out(stamps: tuple[tuple[Path, int, int], ...]) -> tuple[Series, ...]:
    """Return the series of these files; sizes and times are there to notice that they changed."""
    groups: dict[str, list[tuple[Path, Header]]] = defaultdict(list)
    for file, _, _ in stamps:
        header = header_of(file)
        if header is not None:
            groups[header.tags["series"]].append((file, header))
    found = [_series(groups[uid]) for uid in sorted(groups)]
    counts = Counter(one.key for one in found)
    seen: Counter[str] = Counter()
    named = []
    for one in found:
        seen[one.key] += 1
        several = counts[one.key] > 1
        named.append(replace(one, key=f"{one.key}-{seen[one.key]}") if several else one)
    return tuple(
        sorted(named, key=lambda one: [int(part) for part in one.key.split("-") if part.isdecimal()])
    )


def _series(members: list[tuple[Path, Header]]) -> Series:
    header = members[0][1]
    tags = header.tags
    description = tags["description"] or tags["protocol"]
    number = tags["number"] if tags["number"].isdecimal() else "0"
    return Series(
        number,
        description,
        tuple(file for file, _ in members),
        sequence_of_description(description, contrast=bool(tags["contrast"])),
        _unusable([each for _, each in members], description),
    )


def _unusable(headers: list[Header], description: str) -> str:
    tags = headers[0].tags
    words = set(_words(description)) | set(_words(tags["kind"]))
    depth = headers[0].size[2] if len(headers[0].size) > 2 else 1
    if tags["modality"] in _NO_SCAN:
        return f"it is of the kind {tags['modality']}"
    if words & _SCOUTS:
        return "a localiser"
    if words & _PROJECTIONS:
        return "a projection"
    if headers[0].components > 1 or tags["colour"].startswith(("RGB", "YBR", "PALETTE")):
        return "in colour"
    if len(headers) * depth < 2:
        return "a single slice"
    if len(headers) > 1:
        axes = [header.axes for header in headers]
        if any(each is None for each in axes):
            return "its slices say no place"
        if any(np.abs(each - axes[0]).max() > SAME_DIRECTION for each in axes):
            return "its slices do not lie parallel"
    return ""


def _words(text: str) -> Iterator[str]:
    word = ""
    for letter in text.lower() + " ":
        if letter.isalpha():
            word += letter
        elif word:
            yield word
            word = ""


def _text(value: str) -> str:
    return "".join(
        letter if letter.isprintable() else " " for letter in value.encode("utf-8", "replace").decode("utf-8")
    ).strip()


def _numbers(text: str, count: int) -> list[float] | None:
    try:
        values = [float(part) for part in text.split("\\")]
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _may_be(file: Path) -> bool:
    return not file.name.startswith(".") and file.name.upper() != "DICOMDIR" and file.is_file()


def _first(folder: Path) -> Path | None:
    """Return a DICOM file that lies directly in a folder; of files whose name tells nothing a few are looked at."""
    unknown = 0
    for name in sorted(entry.name for entry in list(folder.iterdir())):
        file = folder / name
        suffix = file.suffix.lower()
        told = suffix in SUFFIXES
        # IM000001, 1.2.840.113619.2.5
        if not (told or not suffix or suffix[1:].isdecimal()) or not _may_be(file):
            continue
        if told or is_dicom(file):
            return file
        unknown += 1
        if unknown > _STRANGE:
            return None
    return None


def _series_folders(folder: Path) -> dict[Path, Path]:
    """Return the folders inside that hold DICOM files, with one file of each; nothing unless the first one does."""
    found: dict[Path, Path] = {}
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    for below in (folder / name for name in names):
        file = _first(below)
        if file is not None:
            found[below] = file
        elif not found:
            break
    return found


def _study(file: Path) -> str:
    header = header_of(file)
    return str(file) if header is None or not header.tags["study"] else header.tags["study"]
