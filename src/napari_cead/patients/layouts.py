"""Finding patients on disk: which files of a folder make one patient, and which folders hold patients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import PatientError, PatientNotFoundError, UnreadableError, UnsupportedError
from .aliases import ALIASES, BRAIN_MASK, MASK, PNG_FOLDERS, SEQUENCES, is_nifti, split_name


@dataclass(frozen=True)
class PatientFiles:
    """What makes up one patient on disk.

    Attributes:
        name: Name of the patient.
        kind: ``"nifti"``: one file a sequence; ``"png"``: one folder of numbered slices a sequence;
            ``"picture"``: one PNG is the whole patient.
        sequences: Canonical sequence name to file (or folder of slices).
        mask: File (or folder of slices) of the lesion mask, if any.
        guessed: Whether the sequence of a single NIfTI file is the one asked for, because its name tells none.
    """

    name: str
    kind: Literal["nifti", "png", "picture"]
    sequences: dict[str, Path] = field(default_factory=dict)
    mask: Path | None = None
    guessed: bool = False


def find_files(path: str | Path, sequence: str = "flair") -> PatientFiles:
    """Recognise a patient folder, a single NIfTI file or a single PNG slice.

    Args:
        path: Folder in the NIfTI or PNG release layout, a NIfTI file, or a PNG.
        sequence: Name for a single file whose own name tells no sequence.

    Raises:
        PatientError: If there is no patient.
    """
    where = Path(path).expanduser()
    try:
        if where.is_dir():
            return _in_folder(where)
        if where.is_file():
            return _single(where, sequence)
    except OSError as error:
        raise UnreadableError(
            f"cannot be read ({error.strerror})", file=where, mend="check its permissions"
        ) from error
    raise PatientNotFoundError("there is no such file or folder", file=where, mend="check the path")


def preferred_sequence(path: str | Path, wanted: str = "flair") -> str:
    """Return the wanted sequence if the patient has it, else the first it has, in the order of ``SEQUENCES``.

    Raises:
        PatientError: If there is no patient.
    """
    found = find_files(path, wanted).sequences
    return next((name for name in (wanted, *SEQUENCES) if name in found), next(iter(found)))


def is_patient(path: str | Path) -> bool:
    """Whether ``find_files`` recognises a patient there. Looks at names only."""
    where = Path(path).expanduser()
    try:
        return _recognise(where) is not None if where.is_dir() else bool(find_files(where))
    except (PatientError, OSError):
        return False


def find_patients(cohort: str | Path) -> Iterator[Path]:
    """Yield the patients below (or at) a folder, sorted by path, each once: folders, or PNGs of one slice.

    Hidden files and folders are passed over, links are followed. Where nothing else is found, the PNGs that lie
    directly in ``cohort`` are slices of one sequence, whatever the folder's name.
    """
    top = Path(cohort).expanduser()
    seen: set[Path] = set()
    found = False
    for place, children, names in os.walk(top, followlinks=True):
        folder = Path(place)
        children[:] = sorted(name for name in children if not name.startswith("."))
        if (real := folder.resolve()) in seen:  # a link to a folder that was walked already, or to its parent
            children.clear()
            continue
        seen.add(real)
        if picture_sequence(folder) is not None:
            for picture in _pictures(folder, names):
                found = True
                yield picture
        if is_patient(folder):
            children.clear()  # the folders below hold this patient's slices
            found = True
            yield folder
    if not found and top.is_dir() and not _holds_part_of_a_patient(top):
        yield from _pictures(top, [entry.name for entry in top.iterdir()])


def picture_sequence(folder: Path) -> str | None:
    """Return the sequence whose separate slices the PNGs inside are (``flair/NAME.png``), None if no name says so."""
    if folder.name.isdecimal():
        return None
    return next((name for name in SEQUENCES if folder.name.lower() in ALIASES[name]), None)


def _in_folder(folder: Path) -> PatientFiles:
    files = _recognise(folder)
    if files is not None:
        return files
    if not any(folder.iterdir()):
        raise PatientNotFoundError("the folder is empty", file=folder, mend="choose a patient's folder")
    if any(is_nifti(entry) for entry in folder.iterdir()):
        raise PatientNotFoundError(
            "no name in this folder tells which scan is which",
            file=folder,
            mend="name the scans flair.nii.gz, t1_gd.nii.gz, … or give one file itself",
        )
    below = next(find_patients(folder), None)
    mend = (
        f"choose one patient, for instance {below}" if below else "choose a patient's folder or a NIfTI file"
    )
    raise PatientNotFoundError("no scan of a patient lies in this folder", file=folder, mend=mend)


def _recognise(folder: Path) -> PatientFiles | None:
    """Return the patient whose files lie directly in the folder, or None."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    slices = {PNG_FOLDERS[entry.name]: entry for entry in entries if _holds_slices(entry)}
    if any(name in SEQUENCES for name in slices):
        mask = slices.pop(MASK, None)
        return PatientFiles(folder.name, "png", slices, mask)

    found: dict[str, Path] = {}
    for entry in entries:
        # Of an .hdr/.img pair the header stands for both.
        if not is_nifti(entry) or not entry.is_file() or entry.name.lower().endswith((".img", ".img.gz")):
            continue
        name = split_name(entry)[1]
        if name is None or name == BRAIN_MASK:
            continue
        if name in found:
            raise PatientNotFoundError(
                f"both {found[name].name} and {entry.name} look like {name}",
                file=folder,
                mend="open one of the files itself",
            )
        found[name] = entry
    mask = found.pop(MASK, None)
    if found:
        return PatientFiles(folder.name, "nifti", found, mask)
    return None


def _holds_slices(folder: Path) -> bool:
    return folder.name in PNG_FOLDERS and any(path.stem.isdecimal() for path in folder.glob("*.png"))


def _pictures(folder: Path, names: list[str]) -> list[Path]:
    return [folder / name for name in sorted(names) if _is_picture(name)]


def _is_picture(name: str) -> bool:
    return name.lower().endswith(".png") and not name.startswith(".")


def _holds_part_of_a_patient(folder: Path) -> bool:
    """Whether the name says masks, or one sequence of a patient in the PNG release layout."""
    return folder.resolve().name.lower() in (*ALIASES[MASK], *ALIASES[BRAIN_MASK], *PNG_FOLDERS)


def _single(file: Path, sequence: str) -> PatientFiles:
    if file.suffix.lower() == ".png":
        beside = file.parent.parent / "mask" / file.name
        return PatientFiles(file.stem, "picture", {sequence: file}, beside if beside.is_file() else None)
    if not is_nifti(file):
        raise UnsupportedError(
            "the file is neither NIfTI nor PNG", file=file, mend="give a .nii, .nii.gz or .png file"
        )
    prefix, name = split_name(file)
    if name in (MASK, BRAIN_MASK):
        raise UnsupportedError(
            "the name is that of a mask, not of a scan", file=file, mend="give the scan it belongs to"
        )
    mask = next((path for path in sorted(file.parent.iterdir()) if _is_mask_of(path, prefix)), None)
    return PatientFiles(
        prefix or file.resolve().parent.name, "nifti", {name or sequence: file}, mask, name is None
    )


def _is_mask_of(path: Path, prefix: str) -> bool:
    return is_nifti(path) and split_name(path) == (prefix, MASK)
