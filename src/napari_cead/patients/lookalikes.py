"""Files that look like a lesion mask but are not recognised by their names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import PatientError
from .aliases import (
    LESION,
    MASK,
    MASK_FOLDERS,
    OTHER_MASK,
    PNG_FOLDERS,
    looks_like_mask,
    read_name,
    says_otherwise,
    words_of,
)
from .bids import files_near, parse
from .cases import PatientFiles, scan_files
from .formats import format_of
from .formats.png import pngs_in
from .marks import kind_of
from .places import is_zip, place_of
from .reading import read_place
from .volumes import MAX_MASK_VALUES, Volume

_LIKE = "its name is like that of one"


def overlooked(files: PatientFiles, scan: Volume | None) -> Iterator[tuple[Path, str]]:
    """Yield the files near a patient without a lesion mask that may be one, each with the reason.

    Args:
        files: The patient.
        scan: Its first scan; None if none can be read.
    """
    places = sorted({place_of(place).file for place in files.sequences.values()})
    if any(is_zip(place) for place in places):
        return
    if files.kind == "nifti" and parse(places[0]) is not None:
        for file in files_near(places[0]):
            told = LESION & set(words_of(file)) or any("lesion" in word for word in words_of(file))
            if file not in places and told and kind_of(file) is None:
                yield file, "its name speaks of lesions, but of another space or kind"
    elif files.kind == "nifti":
        yield from _beside(files.name, set(places), scan)
    else:
        for place in _of_other_kinds(files.kind, places[0]):
            if looks_like_mask(place) and kind_of(place) is None:
                yield place, _LIKE


def _of_other_kinds(kind: str, place: Path) -> list[Path]:
    """Return the files, or folders of slices, that may be the mask of a DICOM folder or of PNG slices."""
    if kind == "dicom":
        return scan_files(place if place.is_dir() else place.parent)
    if kind == "png":
        folders = (entry for entry in sorted(place.parent.iterdir()) if entry.is_dir())
        return [folder for folder in folders if folder.name not in PNG_FOLDERS and pngs_in(folder)]
    folders = (place.parent.parent / name for name in MASK_FOLDERS)
    return [folder for folder in folders if (folder / place.name).is_file()]


def _beside(patient: str, taken: set[Path], scan: Volume | None) -> Iterator[tuple[Path, str]]:
    own = {read_name(file).prefix for file in taken}
    named = own | {patient}
    if any(file.parent.name == patient for file in taken):
        own = {""}  # the folder is the patient's, whatever its files are called
    for folder in sorted({file.parent for file in taken}):
        for file in _in_mask_folders(folder, named):
            if file not in taken and kind_of(file) is None and not says_otherwise(file):
                yield file, f"it lies in {file.parent.name}"
        for file in scan_files(folder):
            name = read_name(file)
            theirs = name.role is not None and name.role not in (MASK, OTHER_MASK)
            if file in taken or theirs or not file.name.startswith(tuple(own)) or kind_of(file) is not None:
                continue
            if looks_like_mask(file):
                yield file, _LIKE
            elif name.role is None and scan and not says_otherwise(file) and _holds_labels(file, scan):
                yield file, "it holds a few whole numbers on the grid of the scan"


def _in_mask_folders(folder: Path, own: set[str]) -> Iterator[Path]:
    """Yield the files in folders of masks inside a patient's folder, and the patient's own of those beside it."""
    for place in (folder, folder.parent):
        for entry in _mask_folders(place, place.stat().st_mtime_ns):
            for file in scan_files(entry) if entry != folder else ():
                theirs = place == folder or (own - {""} and file.name.startswith(tuple(own - {""})))
                if theirs and read_name(file).role in (None, MASK):
                    yield file


@lru_cache(maxsize=256)  # the folder beside a patient is that beside ten thousand others
def _mask_folders(place: Path, changed: int) -> tuple[Path, ...]:
    named = (entry for entry in place.iterdir() if entry.name.lower() in MASK_FOLDERS)
    return tuple(sorted(entry for entry in named if entry.is_dir()))


def _holds_labels(file: Path, scan: Volume) -> bool:
    try:
        known = format_of(file.name)
        shape = None if known is None else known.shape(file)
        if shape is not None and sorted(shape[:3]) != sorted(scan.grid.shape):
            return False
        volume = read_place(file)
    except (PatientError, OSError):
        return False
    if volume.data.shape != scan.data.shape:
        return False
    marked = volume.data[volume.data != 0]
    if not 0 < marked.size < volume.data.size or not np.array_equal(marked, np.rint(marked)):
        return False
    return marked.min() > 0 and len(np.unique(marked)) < MAX_MASK_VALUES
