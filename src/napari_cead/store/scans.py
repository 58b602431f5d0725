"""Find local scans to train on: flat folders, BIDS trees, patient folders, PNG slices, and the masks near them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import (
    CeadError,
    PatientError,
    PatientNotFoundError,
    UnreadableError,
    disk_errors,
)
from ..patients import (
    BRAIN_MASK,
    MASK,
    Patient,
    PatientFiles,
    find_files,
    find_patients,
    place_name,
    place_of,
    save_volume,
)
from ..patients.aliases import ALIASES, read_name
from ..patients.bids import BidsName, files_near, parse
from ..patients.cases import scan_files
from ..patients.formats import is_image, is_picture, is_scan_file, stem
from ..patients.layouts import folders_below, picture_sequence
from ..patients.marks import kind_of
from .parts import Part
from .sources import shows

_MASK_FOLDERS = {
    **{f"{alias}{plural}": MASK for alias in ALIASES[MASK] for plural in ("", "s")},
    **dict.fromkeys(("labelstr", "labelsts"), MASK),  # nnU-Net
    **{f"{alias}{plural}": BRAIN_MASK for alias in ALIASES[BRAIN_MASK] for plural in ("", "s")},
}
_NOT_ANATOMY = {"dwi", "func", "fmap", "perf", "eeg", "meg", "ieeg", "beh", "pet", "figures"}


@dataclass(frozen=True)
class ScanSource:
    """A scan on disk with its masks. Path-like: the path of the scan.

    Attributes:
        name: Name, unique in a list.
        scan: NIfTI file, PNG slice, or patient folder of PNG slices.
        lesion_mask: Lesion mask (file or folder of slices), or None.
        brain_mask: Brain mask, or None.
        healthy: Whether the user declares that the scan shows no lesion, so that it needs no lesion mask.
        sequence: The sequence according to the name, or None.
        laid_out: The patient's files as a layout names them, or None; never written into a list.
        part: The patient's part of the layout's fixed split, or None.
        found: Whether it was found in a folder of patients: its files are what lies there, and nobody listed them.
    """

    name: str
    scan: Path
    lesion_mask: Path | None = None
    brain_mask: Path | None = None
    healthy: bool = False
    sequence: str | None = None
    laid_out: PatientFiles | None = None
    part: Part | None = None
    found: bool = False

    def __fspath__(self) -> str:
        return str(self.scan)

    def files(self, sequence: str) -> PatientFiles:
        """Return the files to read: of a listed scan with its own masks and no others.

        A file counts as the requested sequence, whatever its name: the list decides.

        Raises:
            PatientError: If there is no scan, or not of that sequence.
        """
        if self.found:
            return find_files(self.scan, sequence)
        if self.laid_out is not None:
            return replace(self.laid_out, sequences={sequence: self.scan}, mask=self.lesion_mask)
        if self.scan.is_file() and (is_image(self.scan) or is_picture(self.scan)):
            kind: Literal["nifti", "picture"] = "nifti" if is_image(self.scan) else "picture"
            return PatientFiles(self.name, kind, {sequence: self.scan}, self.lesion_mask)
        found = find_files(self.scan, sequence)
        scan = found.scan(sequence, self.scan, "choose another sequence or add the missing scan")
        return replace(found, sequences={sequence: scan}, mask=self.lesion_mask)

    def listed(self, sequence: str) -> ScanSource:
        """Return the scan as a list names it, with the lesion mask that was found."""
        files = _found(self.scan, sequence) if self.found else None
        return replace(self, found=False, lesion_mask=files.mask) if files else replace(self, found=False)


def find_scans(path: str | Path | Iterable[str | Path], sequence: str = "flair") -> list[ScanSource]:
    """Find the scans at or below one or several places, each with the masks near it. Only names are read.

    Recognised are folders of NIfTI files, BIDS trees (derivatives too), patient folders in the NIfTI and PNG release
    layouts, folders of separate PNG slices, and single files. If a patient has no scan of the requested sequence,
    another of its scans is listed, with its sequence in ``sequence``. Masks are matched by the patient's part of the
    name: in the same folder, in a folder of masks beside or below it, and in BIDS trees by subject, session and space.
    Hidden files and folders are skipped, links are followed.

    Args:
        path: Folder or file, or several.
        sequence: The requested sequence.

    Returns:
        The scans, each once, sorted by path within every place, with unique names.

    Raises:
        PatientError: If a place does not exist or cannot be read.
    """
    places = [path] if isinstance(path, str | os.PathLike) else list(path)
    found: dict[Path, ScanSource] = {}
    for each in places:
        root = Path(each).expanduser().absolute()
        with disk_errors(UnreadableError, "cannot be read", root, "check its permissions"):
            for source in sorted(_at(root, sequence), key=lambda source: str(source.scan)):
                found.setdefault(source.scan.resolve(), source)
    return _with_unique_names(list(found.values()))


def save_scan(patient: Patient, folder: str | Path, *, healthy: bool = False) -> ScanSource:
    """Write a patient in memory (for instance layers open in a viewer) as NIfTI files.

    Args:
        patient: The patient; its default sequence is written, and the lesion mask if there is one.
        folder: Output folder; it must exist. Nothing in it is replaced.
        healthy: Whether the user declares that the scan shows no lesion.

    Raises:
        OutputError: If the files cannot be written.
    """
    place = Path(folder).expanduser().absolute()
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", patient.name).strip("-") or "scan"
    name, number = plain, 1
    while any(place.glob(f"{name}_*.nii.gz")):
        number += 1
        name = f"{plain}-{number}"
    scan = save_volume(patient.volume(), patient, place / f"{name}_{patient.sequence}.nii.gz")
    mask = None
    if patient.lesion_mask is not None:
        mask = save_volume(patient.lesion_mask, patient, place / f"{name}_seg.nii.gz")
    return ScanSource(name, scan, mask, None, healthy, patient.sequence)


def _at(root: Path, sequence: str) -> Iterator[ScanSource]:
    if not root.exists():
        raise PatientNotFoundError("there is no such file or folder", file=root, hint="check the path")
    if root.is_file():
        if is_image(root) or is_picture(root):
            yield _picture(root) if is_picture(root) else _alone(root, sequence)
            return
        places = []
        with suppress(PatientError):  # whoever reads it says what is wrong
            places = list(find_patients(root))
        for place in places or [root]:
            yield _of_patient(place, sequence)
        return
    if (release := _sequence_folder(root)) is not None:
        yield release
        return
    patients: set[Path] = set()
    prefixes: dict[Path, set[str]] = {}  # of the files of patients, by their folders
    for place in find_patients(root, everything=True):
        if is_picture(place) and place.is_file():
            if shows(place, sequence):
                yield _picture(place)
        else:
            source = _of_patient(place, sequence)
            patients.add(place)
            if is_image(source.scan):
                prefixes.setdefault(source.scan.parent, set()).add(read_name(source.scan).prefix)
            yield source
    for folder, children, names in folders_below(root, everything=True):
        bids = folder.name.startswith(("sub-", "ses-"))
        skipped = _NOT_ANATOMY if bids else set()
        children[:] = [name for name in children if name.lower() not in _MASK_FOLDERS and name not in skipped]
        # flair.nii.gz, t1.nii.gz: a patient's own folder, whose other images are not scans to train on.
        taken = tuple(prefixes.get(folder, ())) or ("\0",)
        for file in map(folder.joinpath, sorted(names)):
            if is_scan_file(file) and not file.name.startswith(taken) and _unnamed(file, sequence):
                yield _alone(file, sequence)
        if folder in patients:
            children.clear()


def _found(place: Path, sequence: str) -> PatientFiles | None:
    with suppress(PatientError):  # for a DICOM folder the user may have to choose the series
        return find_files(place, sequence)
    return None


def _unnamed(file: Path, sequence: str) -> bool:
    """Whether a file that makes up no patient with others may be a scan all the same."""
    return read_name(file).role in (None, sequence) and parse(file) is None and kind_of(file) is None


def _of_patient(place: Path, sequence: str) -> ScanSource:
    if (files := _found(place, sequence)) is None:
        return ScanSource(place_name(place), place)
    told = files.preferred(sequence)
    scan = files.sequences[told]
    if files.kind != "nifti" or place_of(place).zipped:
        return ScanSource(place_name(place), place, files.mask, sequence=told)
    return _with_masks(read_name(scan).prefix or files.name, scan, files, told)


def _alone(file: Path, sequence: str) -> ScanSource:
    """Return a scan that is given itself, or of which no name tells what it is."""
    files, name = _found(file, sequence), read_name(file)
    told = None if files is None or files.guessed else next(iter(files.sequences))
    return _with_masks(name.prefix or file.parent.name, file, files, told)


def _with_masks(name: str, scan: Path, files: PatientFiles | None, told: str | None) -> ScanSource:
    lesion = None if files is None else files.mask
    if (bids := parse(scan)) is None:
        lesion = lesion or _mask_near(scan, MASK)
    elif "space" in bids.entities and lesion is not None and not _same_scan(lesion, bids):
        lesion = None  # drawn in the space of the scanner
    return ScanSource(name, scan, lesion, _mask_near(scan, BRAIN_MASK), sequence=told)


def _sequence_folder(folder: Path) -> ScanSource | None:
    """Return the patient of the PNG release layout whose slices of one sequence are in a folder."""
    with suppress(CeadError):
        patient = find_files(folder.parent)
        for sequence, place in patient.sequences.items():
            if patient.kind == "png" and place.resolve() == folder.resolve():
                return ScanSource(folder.parent.name, folder.parent, patient.mask, sequence=sequence)
    return None


def _mask_near(scan: Path, role: str) -> Path | None:
    """Return the mask of a scan: beside it, in a folder of masks, or in the derivatives of a BIDS dataset."""
    name, bids = read_name(scan), parse(scan)
    beside = [file for file in scan_files(scan.parent) if file != scan]
    alone = not any(read_name(file).role == name.role for file in beside)
    found = [
        (other.rank, file)
        for file in (beside if bids is None else files_near(scan))
        if (other := read_name(file)).role == role
        and (_same_scan(file, bids) if bids else other.belongs_to(name) or (alone and not other.key))
        and kind_of(file) is None
    ]
    if found:
        return min(found)[1]
    keys = {name.prefix.lower(), stem(scan).lower()} - {""}
    for folder in (scan.parent, scan.parent.parent):
        for entry in sorted(folder.iterdir()):
            if _MASK_FOLDERS.get(entry.name.lower()) != role or entry == scan.parent or not entry.is_dir():
                continue
            for file in sorted(entry.iterdir()):
                theirs = {read_name(file).prefix.lower(), stem(file).lower()} & keys
                if theirs and (is_scan_file(file) or is_picture(file)) and kind_of(file) is None:
                    return file
    return None


def _same_scan(file: Path, scan: BidsName) -> bool:
    """Whether a file of a BIDS dataset is of the same visit and space as a scan."""
    other = parse(file)
    return (
        other is not None
        and other.subject == scan.subject
        and other.entities.get("space") == scan.entities.get("space")
    )


def _picture(file: Path) -> ScanSource:
    def mask(role: str) -> Path | None:
        names = [name for name, kind in _MASK_FOLDERS.items() if kind == role]
        places = [file.parent.parent / name / file.name for name in names]
        return next((place for place in places if place.is_file()), None)

    return ScanSource(file.stem, file, mask(MASK), mask(BRAIN_MASK), sequence=picture_sequence(file.parent))


def _with_unique_names(sources: list[ScanSource]) -> list[ScanSource]:
    """Lengthen a name that several share by the folders above it, as far as necessary."""
    counts = Counter(source.name for source in sources)
    taken: set[str] = set()
    result = []
    for source in sources:
        parts = [part for part in source.scan.parent.parts if part != source.scan.anchor]
        if source.scan.parent.name == source.name:
            parts = parts[:-1]
        options = [source.name] if counts[source.name] == 1 else []
        options += ["/".join((*parts[-count:], source.name)) for count in range(1, len(parts) + 1)]
        name = next((option for option in options if option not in taken), str(source.scan))
        taken.add(name)
        result.append(replace(source, name=name))
    return result
