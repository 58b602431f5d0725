"""Finding local scans to train on: flat folders, BIDS trees, patient folders, PNG slices, and the masks near them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import (
    CeadError,
    MissingSequenceError,
    PatientError,
    PatientNotFoundError,
    UnreadableError,
    UnsupportedError,
)
from ..patients import (
    BRAIN_MASK,
    MASK,
    SEQUENCES,
    Patient,
    PatientFiles,
    find_files,
    find_patients,
    save_volume,
)
from ..patients.aliases import ALIASES, read_name
from ..patients.bids import parse
from ..patients.formats import accepted, format_of, is_image, is_scan_file, stem
from ..patients.layouts import picture_sequence
from ..patients.marks import kind_of
from .sources import shows

_ENTITY = re.compile(r"(?:^|_)(sub|ses|space)-([A-Za-z0-9]+)")
_MASK_FOLDERS = {
    **{f"{alias}{plural}": MASK for alias in ALIASES[MASK] for plural in ("", "s")},
    **dict.fromkeys(("labelstr", "labelsts"), MASK),  # nnU-Net
    **{f"{alias}{plural}": BRAIN_MASK for alias in ALIASES[BRAIN_MASK] for plural in ("", "s")},
}
_NOT_ANATOMY = {"dwi", "func", "fmap", "perf", "eeg", "meg", "ieeg", "beh", "pet", "figures"}


@dataclass(frozen=True)
class ScanSource:
    """A scan on disk, and the masks that go with it. Path-like: the place of the scan.

    Attributes:
        name: Name, unique in a list.
        scan: NIfTI file, PNG slice, or patient folder of PNG slices.
        lesion_mask: Lesion mask (file or folder of slices), or None.
        brain_mask: Brain mask, or None.
        healthy: Whether somebody says that the scan shows no lesion, so that it needs no lesion mask.
        sequence: The sequence that the name tells, or None.
    """

    name: str
    scan: Path
    lesion_mask: Path | None = None
    brain_mask: Path | None = None
    healthy: bool = False
    sequence: str | None = None

    def __fspath__(self) -> str:
        return str(self.scan)

    def files(self, sequence: str) -> PatientFiles:
        """Return what is to be read, with the masks of this source and no others.

        A file counts as the sequence asked for, whatever its name says: who lists it knows.

        Raises:
            PatientError: If there is no scan, or not of that sequence.
        """
        if self.scan.is_dir():
            found = find_files(self.scan, sequence)
            if sequence not in found.sequences:
                raise MissingSequenceError(
                    f"there is no {sequence} scan, only {', '.join(sorted(found.sequences))}",
                    file=self.scan,
                    mend="choose another sequence or add the missing scan",
                )
            return replace(found, sequences={sequence: found.sequences[sequence]}, mask=self.lesion_mask)
        if not self.scan.is_file():
            raise PatientNotFoundError("there is no such file", file=self.scan, mend="check the path")
        if not is_image(self.scan) and not _is_picture(self.scan):
            raise UnsupportedError(
                "this is no scan that can be read", file=self.scan, mend=f"give a {accepted()} file"
            )
        return PatientFiles(
            self.name,
            "nifti" if is_image(self.scan) else "picture",
            {sequence: self.scan},
            self.lesion_mask,
        )


@dataclass(frozen=True)
class _File:
    """A NIfTI file and what its name and folder tell.

    Attributes:
        path: The file.
        prefix: What names the patient, lower case.
        role: Canonical sequence name, ``"seg"``, ``"brain_mask"``, or None if nothing tells.
        named: Patient and session of a BIDS name, or None.
        space: Space of a BIDS name, or None.
        short: The prefix without words about the scan and the mask.
        rank: What comes first among several files of one sequence; the smallest.
    """

    path: Path
    prefix: str
    role: str | None
    named: tuple[str, str | None] | None
    space: str | None
    short: str = ""
    rank: tuple[int, ...] = ()

    @property
    def keys(self) -> set[str]:
        return {self.prefix, stem(self.path).lower()} - {""}


def find_scans(path: str | Path | Iterable[str | Path], sequence: str = "flair") -> list[ScanSource]:
    """Find the scans at or below one or several places, each with the masks near it. Looks at names only.

    Recognised are folders of NIfTI files, BIDS trees (derivatives too), patient folders in the NIfTI and PNG release
    layouts, folders of separate PNG slices, and single files. Where a patient has no scan of the sequence asked for,
    another of its scans is listed, with what it is in ``sequence``. Masks are matched by the patient's part of the
    name: in the same folder, in a folder of masks beside or below it, and in BIDS trees by subject, session and space.
    Hidden files and folders are passed over, links are followed.

    Args:
        path: Folder or file, or several.
        sequence: The sequence wanted.

    Returns:
        The scans, each once, sorted by path within every place, with unique names.

    Raises:
        PatientError: If a place does not exist or cannot be read.
    """
    places = [path] if isinstance(path, str | os.PathLike) else list(path)
    found: dict[Path, ScanSource] = {}
    for each in places:
        root = Path(each).expanduser().absolute()
        try:
            for source in sorted(_at(root, sequence), key=lambda source: str(source.scan)):
                found.setdefault(source.scan.resolve(), source)
        except OSError as error:
            raise UnreadableError(
                f"cannot be read ({error.strerror})", file=root, mend="check its permissions"
            ) from error
    return _with_unique_names(list(found.values()))


def save_scan(patient: Patient, folder: str | Path, *, healthy: bool = False) -> ScanSource:
    """Write a patient in memory (for instance layers open in a viewer) as NIfTI files.

    Args:
        patient: The patient; its default sequence is written, and the lesion mask if there is one.
        folder: Where to; it must exist. Nothing in it is replaced.
        healthy: Whether somebody says that the scan shows no lesion.

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
    if root.is_file():
        if is_image(root):
            files = [_file(each) for each in sorted(root.parent.iterdir()) if _is_image(each)]
            yield _source(_file(root), sequence, files, _masks_near(root.parent), {})
        else:
            yield _picture(root)
        return
    if not root.is_dir():
        raise PatientNotFoundError("there is no such file or folder", file=root, mend="check the path")
    if (release := _sequence_folder(root)) is not None:
        yield release
        return
    folders = dict(_folders(root))
    by_subject: dict[tuple[str, str | None], list[_File]] = {}
    for files in folders.values():
        for each in files:
            if each.role in (MASK, BRAIN_MASK) and each.named is not None:
                by_subject.setdefault(each.named, []).append(each)
    for folder, files in folders.items():
        near = _masks_near(folder)
        for scan in _scans(files, sequence):
            yield _source(scan, sequence, files, near, by_subject)
    for place in find_patients(root):
        if place.is_file() and shows(place, sequence):
            yield _picture(place)
        elif place.is_dir() and (patient := _found(place, sequence)) and patient.kind in ("png", "dicom"):
            told = sequence if sequence in patient.sequences else min(patient.sequences)
            yield ScanSource(place.name, place, patient.mask, sequence=told)


def _found(place: Path, sequence: str) -> PatientFiles | None:
    with suppress(PatientError):  # of a DICOM folder it may have to be said which series is meant
        return find_files(place, sequence)
    return None


def _sequence_folder(folder: Path) -> ScanSource | None:
    """Return the patient of the PNG release layout whose slices of one sequence a folder holds."""
    with suppress(CeadError):
        patient = find_files(folder.parent)
        for sequence, place in patient.sequences.items():
            if patient.kind == "png" and place.resolve() == folder.resolve():
                return ScanSource(folder.parent.name, folder.parent, patient.mask, sequence=sequence)
    return None


def _folders(root: Path) -> Iterator[tuple[Path, list[_File]]]:
    """Yield every folder that may hold scans, with its NIfTI files."""
    seen: set[Path] = set()
    for place, children, names in os.walk(root, followlinks=True):
        folder = Path(place)
        if (real := folder.resolve()) in seen:
            children.clear()
            continue
        seen.add(real)
        bids = folder.name.startswith(("sub-", "ses-"))
        children[:] = sorted(
            name
            for name in children
            if not name.startswith(".")
            and name.lower() not in _MASK_FOLDERS
            and not (bids and name in _NOT_ANATOMY)
        )
        files = [_file(folder / name) for name in sorted(names) if _is_image(folder / name)]
        if files:
            yield folder, files


def _is_image(path: Path) -> bool:
    # Results of ours are neither scans nor masks.
    return is_scan_file(path) and kind_of(path) is None


def _is_picture(path: Path) -> bool:
    known = format_of(path.name)
    return known is not None and known.bare


def _file(path: Path, role: str | None = None) -> _File:
    name = read_name(path)
    told = bids.sequence if name.role in SEQUENCES and (bids := parse(path)) else name.role
    entities = dict(_ENTITY.findall(path.name))
    named = (entities["sub"], entities.get("ses")) if "sub" in entities else None
    short, space = name.short.lower(), entities.get("space")
    return _File(path, name.key.lower(), role or told, named, space, short, name.rank)


def _scans(files: list[_File], sequence: str) -> Iterator[_File]:
    """Choose the scans of a folder: those of the sequence, else one other of every patient, else all unnamed ones."""
    groups: dict[object, list[_File]] = {}
    for each in files:
        if each.role in SEQUENCES:
            groups.setdefault((each.named, each.space) if each.named else each.prefix, []).append(each)
    for group in groups.values():
        wanted = [each for each in group if each.role == sequence]
        plainest = min((each.rank for each in wanted), default=())
        wanted = [each for each in wanted if each.rank == plainest]
        yield from wanted or [min(group, key=lambda each: SEQUENCES.index(str(each.role)))]
    if (
        "" in groups
    ):  # flair.nii.gz, t1.nii.gz: a patient's own folder, whose other images are not scans to train on
        return
    prefixes = tuple(prefix for prefix in groups if isinstance(prefix, str))
    for each in files:
        if each.role is None and each.named is None and not each.prefix.startswith(prefixes or ("\0",)):
            yield each


def _masks_near(folder: Path) -> list[_File]:
    """Return the files in folders of masks inside the folder and beside it."""
    files = []
    for place in {folder, folder.parent}:
        for entry in sorted(place.iterdir()):
            role = _MASK_FOLDERS.get(entry.name.lower())
            if role is not None and entry != folder and entry.is_dir():
                files += [
                    _file(each, role)
                    for each in sorted(entry.iterdir())
                    if _is_image(each) or _is_picture(each)
                ]
    return files


def _source(
    scan: _File,
    sequence: str,
    beside: list[_File],
    near: list[_File],
    by_subject: dict[tuple[str, str | None], list[_File]],
) -> ScanSource:
    scans = sum(each.role == sequence for each in beside)

    def mask(role: str) -> Path | None:
        for each in sorted(beside, key=lambda one: one.rank):
            if each.role == role and (
                (each.prefix in scan.keys or scan.prefix in (each.prefix, each.short))
                or (not each.prefix and scans == 1 and scan.role == sequence)
            ):
                return each.path
        for each in near:
            if each.role == role and each.keys & scan.keys:
                return each.path
        for each in by_subject.get(scan.named, []) if scan.named else []:
            if each.role == role and each.space == scan.space:
                return each.path
        return None

    told = scan.role if scan.role in SEQUENCES else None
    name = scan.path.name[: len(scan.prefix)] if scan.prefix else scan.path.parent.name
    return ScanSource(name, scan.path, mask(MASK), mask(BRAIN_MASK), sequence=told)


def _picture(file: Path) -> ScanSource:
    def mask(role: str) -> Path | None:
        names = [name for name, kind in _MASK_FOLDERS.items() if kind == role]
        places = [file.parent.parent / name / file.name for name in names]
        return next((place for place in places if place.is_file()), None)

    return ScanSource(file.stem, file, mask(MASK), mask(BRAIN_MASK), sequence=picture_sequence(file.parent))


def _with_unique_names(sources: list[ScanSource]) -> list[ScanSource]:
    """Lengthen a name that several have by the folders above it, as far as it takes."""
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
