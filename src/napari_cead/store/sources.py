"""The sources of a cohort's slices: the patients, their names, and the files to read."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from ..checksums import add_file
from ..errors import StoreError, UnreadableError, disk_errors
from ..patients import (
    BRAIN_MASK,
    MASK,
    PatientFiles,
    disk_files,
    find_patients,
    place_below,
    place_name,
)
from ..patients.formats.png import numbered_slices, slice_files
from ..patients.layouts import picture_sequence
from .index import StoreIndex


def shows(place: Path, sequence: str) -> bool:
    """Whether a place can show the sequence: for separate slices the folder decides, otherwise ``find_files``."""
    return place.is_dir() or picture_sequence(place.parent) in (None, sequence)


def patients_in(root: Path, sequence: str) -> list[Path]:
    """Return the patients below a folder that can show the sequence.

    Raises:
        StoreError: If there are none, or no such folder.
    """
    places = [place for place in find_patients(root) if place == root or shows(place, sequence)]
    if not places and not root.exists():
        raise StoreError(
            "there is no such folder", file=root, hint="give the folder of the cohort, or a scan list"
        )
    if not places:
        raise StoreError(
            f"there is no patient with a {sequence} scan in this folder", file=root, hint="check the path"
        )
    return places


def unique_names(root: Path, places: list[Path], old: StoreIndex | None) -> dict[str, Path]:
    """Give every patient a unique name: its name in the store, else the shortest that is unique."""
    before = {patient.source: patient.name for patient in old.patients} if old else {}
    plain = [place_name(place) for place in places]
    taken = Counter(plain)
    kept = {before[str(place)] for place in places if str(place) in before}
    names: dict[str, Path] = {}
    for place, short in zip(places, plain, strict=True):
        long = place_below(place, root).as_posix()
        own = before.get(str(place))
        options = [own] if own else [short if taken[short] == 1 else long, long, str(place)]
        name = next(option for option in options if option not in names and (own or option not in kept))
        names[name] = place
    return names


def source_files(
    files: PatientFiles, sequence: str, place: Path, brain_mask: Path | None = None
) -> list[tuple[str, Path]]:
    """Return the files that loading reads, each with its role.

    Raises:
        PatientError: If the patient lacks the sequence, or slices are missing.
    """
    sources = []
    for role, scan in ((sequence, files.scan(sequence, place)), (MASK, files.mask), (BRAIN_MASK, brain_mask)):
        if scan is None:
            continue
        if scan.is_dir():  # a mask may have fewer slices than the scan
            parts = slice_files(scan) if role == sequence else list(numbered_slices(scan).values())
        else:
            parts = disk_files(scan)
        sources += [(role, file) for file in parts]
    return sources


def fingerprint(sources: list[tuple[str, Path]], *, healthy: bool = False) -> str:
    """Return the sha256 of the files' content; names and paths do not matter.

    Args:
        sources: The files.
        healthy: Whether the user declares that there is no lesion, which makes it another source.

    Raises:
        PatientError: If a file cannot be read.
    """
    digest = hashlib.sha256()
    for role, file in sources:
        with disk_errors(UnreadableError, "cannot be read", file, "check its permissions"):
            digest.update(f"{role} {file.stat().st_size}\n".encode())
            add_file(digest, file)
    if healthy:
        digest.update(b"healthy\n")
    return digest.hexdigest()


def stamp(sources: list[tuple[str, Path]], *, healthy: bool = False) -> str:
    """Return a hash of the files' paths, sizes and times: it changes when one is written again.

    Raises:
        PatientError: If a file cannot be found.
    """
    digest = hashlib.sha256()
    for role, file in sources:
        with disk_errors(UnreadableError, "cannot be read", file, "check its permissions"):
            state = file.stat()
        digest.update(f"{role} {file} {state.st_size} {state.st_mtime_ns}\n".encode())
    if healthy:
        digest.update(b"healthy\n")
    return digest.hexdigest()
