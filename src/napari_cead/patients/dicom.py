"""DICOM folders: their series, and what each shows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ..errors import PatientError, PatientNotFoundError, UnreadableError
from .aliases import sequence_of_description
from .dicom_groups import Group, groups_of, parallel
from .dicom_headers import Frame, class_name, header_of
from .formats import FORMATS
from .places import ZIP, Place, place_of, within

SUFFIXES = (".dcm", ".ima", ".dicom")
"""Endings of DICOM files alone; many have another or none, and are recognised by their mark."""

ENDINGS = (*SUFFIXES, ".mr")
"""These, and one that other files may have too: the mark decides."""

_BARE = (*ENDINGS, "")  # endings of files that may lack the mark
_SCAN = ("MR", "OT", "")  # OT and none: written by programs that do not state the modality
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PROJECTIONS = {"mip", "mnip", "minip", "projection"}
_SCOUTS = {"localizer", "localiser", "scout", "survey", "loc", "topogram"}

_STRANGE = 3  # files read per ending
MEND = "export the series from the scanner or the archive again"
"""The fix for unreadable files."""


class SeriesError(PatientError):
    """The choice of a series is ambiguous.

    Args:
        reason: What is wrong.
        choices: The series that can be meant: paths to open, and what each is.
        file: The folder.
        hint: What to do.
    """

    def __init__(
        self,
        reason: str,
        choices: Sequence[tuple[Path, str]] = (),
        *,
        file: str | Path | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason, file=file, hint=hint)
        self.choices = tuple(choices)

    def __reduce__(self) -> tuple[object, ...]:
        return (_again, (self.reason, self.choices, self.file, self.hint))


def _again(
    reason: str, choices: Sequence[tuple[Path, str]], file: str | None, hint: str | None
) -> SeriesError:
    return SeriesError(reason, choices, file=file, hint=hint)


@dataclass(frozen=True)
class Series:
    """One series of a DICOM folder.

    Attributes:
        key: What names it behind ``#``: its number, unless several have it.
        description: What the scanner calls it.
        frames: Its slices, in no order.
        sequence: The sequence that the description tells, or None.
        unusable: Why it is no scan of a brain: another modality, a localiser, a projection, in colour, of one slice.
            Empty if it is one.
        traits: In what it differs from others of the same number, for a reader; empty if there are none.
        notes: What was assumed or left out.
        study: The study that it belongs to.
    """

    key: str
    description: str
    frames: tuple[Frame, ...]
    sequence: str | None
    unusable: str = ""
    traits: str = ""
    notes: tuple[str, ...] = ()
    study: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """Its files, each once, sorted."""
        return tuple(sorted({frame.file for frame in self.frames}))

    def __str__(self) -> str:
        slices = "1 slice" if len(self.frames) == 1 else f"{len(self.frames)} slices"
        said = [self.description or "no description", *([self.traits] if self.traits else []), slices]
        return f"{self.key} ({', '.join(said)})"


def is_dicom(file: Path) -> bool:
    """Whether a file is DICOM: it has the mark after the preamble, or the name says so.

    Old files have no preamble and no mark; they begin with a tag of the first group.
    """
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        with file.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    bare = file.suffix.lower() in _BARE or file.suffix[1:].isdecimal()
    return start[128:] == b"DICM" or (
        bare and len(start) == 132 and start[:2] in (b"\x08\0", b"\x02\0") and start[3] == 0
    )


def holds_dicom(folder: Path) -> bool:
    """Whether a folder is that of one DICOM patient. Reads few files.

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
        raise UnreadableError("no DICOM file in this folder can be read", file=folder, hint=MEND)
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
            hint="give another folder",
        )
    return usable


def choice_of(folder: Path, series: Sequence[Series], what: str) -> SeriesError:
    """Return the error that names several series and asks for one."""
    named = ", ".join(map(str, series[:12])) + (", …" if len(series) > 12 else "")
    return SeriesError(
        f"{len(series)} series {what}: {named}",
        [(within(folder, one.key), str(one)) for one in series],
        file=folder,
        hint=f"name one, for instance {within(folder, series[0].key)}",
    )


def series_of(path: str | Path | Place) -> Series:
    """Return the series of ``FOLDER#KEY``, or that of a file.

    Raises:
        PatientError: If there is none.
    """
    place = place_of(path)
    if not place.series:
        file = place.file.absolute()
        found = [one for one in find_series(file.parent) if file in {each.absolute() for each in one.files}]
        if len(found) > 1:
            raise choice_of(place.file.parent, found, f"lie in {file.name}")
        if found:
            return found[0]
        raise UnreadableError("the file cannot be read as DICOM", file=place.file, hint=MEND)
    every = find_series(place.file)
    for one in every:
        if one.key == place.series:
            return one
    raise choice_of(place.file, every, f"and no number {place.series}")


@lru_cache(maxsize=16)
def _sorted_out(stamps: tuple[tuple[Path, int, int], ...]) -> tuple[Series, ...]:
    """Return the series of these files; sizes and times are there to notice that they changed."""
    headers = [header for file, _, _ in stamps if (header := header_of(file)) is not None]
    lost = len(stamps) - len(headers)
    told = (f"{lost} DICOM files of the folder cannot be read and are left out",) if lost else ()
    found = [replace(series, notes=series.notes + told) for series in map(_series, groups_of(headers))]
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


def _series(group: Group) -> Series:
    tags = group.header.tags
    description = tags["description"] or tags["protocol"]
    notes = []
    if group.copies:
        notes.append(f"{group.copies} files hold the same images again and are left out")
    if group.sharing > 1 and tags["series"]:
        notes.append(f"{group.sharing} series have its SeriesInstanceUID, which should be of one")
    if tags["modality"] != "MR":
        notes.append(f"the header does not say that this is MR (but {tags['modality'] or 'nothing'})")
    elif tags["class"].startswith(_CAPTURE):
        notes.append("a secondary capture, which need not hold what the scanner measured")
    return Series(
        tags["number"] if tags["number"].isdecimal() and len(tags["number"]) < 20 else "0",
        description,
        group.frames,
        sequence_of_description(description, contrast=group.header.agent),
        _unusable(group, description),
        ", ".join(f"{name} {value or 'none'}" for name, value in group.traits.items()),
        tuple(notes),
        tags["study"],
    )


def _unusable(group: Group, description: str) -> str:
    header, frames = group.header, group.frames
    tags = header.tags
    words = set(_words(description)) | set(_words(tags["kind"]))
    if frames:
        words |= set(_words(frames[0].traits["image type"]))
    if tags["modality"] not in _SCAN:
        return f"it is of the kind {tags['modality']}, not MR"
    # The kind of object tells too: programs that strip a header often leave no modality, or a wrong one.
    kind = class_name(tags["class"])
    if kind and not {"MR", "Capture"} & set(kind.split()):
        return f"it is of the kind {kind}, not MR"
    if words & _SCOUTS:
        return "a localiser"
    if words & _PROJECTIONS:
        return "a projection"
    if "mosaic" in words:
        return "a mosaic of slices"
    if header.colour:
        return "in colour"
    if header.table or tags["colour"].startswith("MONOCHROME1"):
        return "its values are not intensities"
    if not frames:
        return "its header does not say what slices there are"
    if len(frames) < 2:
        return "a single slice"
    if any(frame.position is None or frame.axes is None for frame in frames):
        return "its slices state no position"
    if any(frame.spacing is None for frame in frames):
        return "its slices state no voxel size"
    if not all(parallel(frame, frames[0]) for frame in frames):
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


def _may_be(file: Path) -> bool:
    name = file.name
    other = name.lower().endswith((ZIP, *FORMATS.by_ending)) and not name.lower().endswith(ENDINGS)
    return not (other or name.startswith(".") or name.upper() == "DICOMDIR") and file.is_file()


def _first(folder: Path) -> Path | None:
    """Return a DICOM file that lies directly in a folder; a few files of each ending are looked at."""
    looked: Counter[str] = Counter()
    for name in sorted(entry.name for entry in list(folder.iterdir())):
        file = folder / name
        if not _may_be(file):
            continue
        suffix = file.suffix.lower()
        suffix = "" if suffix[1:].isdecimal() else suffix  # IM000001, 1.2.840.113619.2.5
        looked[suffix] += 1
        if looked[suffix] <= _STRANGE and is_dicom(file):
            return file
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
