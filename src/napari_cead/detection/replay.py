"""The command that repeats a detection to the byte, and the files that it starts from."""

from __future__ import annotations

import os
import shlex
import subprocess
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from ..errors import CeadError, PatientError
from ..patients import (
    MASK,
    Grid,
    Patient,
    find_files,
    is_pictures,
    load_patient,
    place_of,
    save_volume,
)
from ..patients.formats import Side
from ..preparing import FLAGS, N4, NEVER, RIGID
from ..zoo import find_models
from .options import MAP_OPTIONS
from .params import PostprocessParams

if TYPE_CHECKING:
    from .pipeline import Detection


@dataclass(frozen=True)
class Origin:
    """The files that a patient can be loaded from again.

    Attributes:
        path: Folder or file of the patient.
        mask: File (or folder of slices) of the lesion mask; None without one, or if the files do not hold it.
        first_column: Side of the patient that column 0 of PNG slices shows; None where there are none.
    """

    path: Path
    mask: Path | None = None
    first_column: Side | None = None

    @classmethod
    def given(cls, path: str | Path, patient: Patient, first_column: Side) -> Origin:
        """Return the files that a patient has just been loaded from.

        Args:
            path: What `load_patient` was given.
            patient: What it returned.
            first_column: As it was given.
        """
        mask = None if moved_mask(patient) else patient.files.get(MASK)
        pictures = is_pictures(patient.files[patient.sequence])
        return cls(
            Path(path).expanduser().absolute(),
            None if mask is None else mask.absolute(),
            first_column if pictures else None,
        )


def find_origin(patient: Patient) -> Origin | None:
    """Return the files that give this very patient when they are loaded now, None if none do.

    The files are read and compared: they may have changed since, a sequence may have been resampled onto the grid
    of another one, or the patient may be layers of a viewer. A lesion mask that is not the one on disk, or was moved
    with a sequence, is left out.
    """
    moved = moved_mask(patient)
    patient = patient.raw()
    place = patient.files.get(patient.sequence)
    if place is None:
        return None
    wanted = None if patient.lesion_mask is None else patient.files.get(MASK)
    for path in _loadable(patient, place):
        for side in _sides(place):
            try:
                again = _load(path, patient.sequence, wanted, side)
            except CeadError:
                break
            if not _same_scan(again, patient):
                continue
            mask = None if moved or wanted is None or not _same_mask(again, patient) else wanted.absolute()
            return Origin(path.absolute(), mask, side)
    return None


def write_scan(patient: Patient, file: Path) -> Grid | None:
    """Write the scan that detection uses to a file from which it can be loaded again to the last bit.

    NIfTI-1 keeps voxel sizes in single precision. Where that would change them, NIfTI-2 is written.

    Args:
        patient: A patient without files of its own, for instance layers of a viewer.
        file: To be written, ``.nii.gz``.

    Returns:
        The grid of the file as it is read back; None if no file gives this patient: the voxel size that it states is
        not the one of its grid, or its background is one that reading makes 0.

    Raises:
        OutputError: If the file cannot be written.
    """
    patient = patient.raw()
    for kept in (patient, replace(patient, grid=replace(patient.grid, header=nib.Nifti2Header()))):
        save_volume(patient.volume(), kept, file)
        again = _load(file, patient.sequence, None, None)
        alike = again.spacing == patient.spacing and np.array_equal(again.volume(), patient.volume())
        if alike and np.array_equal(again.grid.affine, patient.grid.affine):
            return again.grid
    return None


def model_argument(name: str, folder: Path | None) -> str:
    """Return the value of ``--model``: the name if it stands for the same folder, else the folder.

    The same weights elsewhere are not enough: another card may prepare the scan or scale the score differently.

    Args:
        name: Name of the model.
        folder: Where it was loaded from; None if nobody knows.
    """
    listed = find_models().get(name)
    if folder is None or (listed is not None and listed.resolve() == folder.resolve()):
        return name
    return str(folder.absolute())


def replay_command(
    result: Detection,
    origin: Origin,
    out: Path,
    corrections: Path | None = None,
    brain: Path | None = None,
) -> list[str]:
    """Return the command that makes the same mask: program and arguments, nothing left to a default.

    Args:
        result: The detection to repeat.
        origin: Where its patient can be loaded from.
        out: Folder for the results of the command.
        corrections: File of what was painted into the mask.
        brain: File of the mask that the skull was stripped with: what finds the brain may not find the same elsewhere.
    """
    patient = result.patient
    # A setting of another package that changes nothing is left out: the command then works without that package.
    values = [
        (row, value)
        for row in PostprocessParams.parameters()
        if (value := getattr(result.params, row.name)) != row.default
        or row.name in PostprocessParams.model_fields
    ]
    evened = patient.prepared is not None and patient.sequence in patient.prepared.corrected
    flags = {
        "--model": model_argument(result.model, result.model_folder),
        "--sequence": patient.sequence,
        "--mask": origin.mask,
        FLAGS["strip"]: NEVER if brain is None else brain,
        FLAGS["bias_field"]: N4 if evened else NEVER,
        FLAGS["register"]: RIGID if patient.prepared is not None and patient.prepared.moves else NEVER,
        "--score": result.score,
        **{row.flag: repr(value) for row, value in values if row.kind is not bool},
        **{row.flag: repr(value) for row in MAP_OPTIONS if (value := getattr(result.options, row.name))},
        "--device": result.device,
        "--batch-size": result.batch_size,
        "--threads": result.threads,
        "--png-first-column": origin.first_column,
        "--corrections": corrections,
        "--out": out,
    }
    given = ((flag, str(value)) for flag, value in flags.items() if value is not None)
    switches = [row.flag if value else row.off_flag for row, value in values if row.kind is bool]
    return ["napari-cead", "detect", str(origin.path), *(word for pair in given for word in pair), *switches]


def quoted(command: list[str]) -> str:
    """Return a command as one line for the shell of this system."""
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


def _loadable(patient: Patient, place: Path) -> list[Path]:
    """Return the folder of the patient and the file itself, as far as they say that this file is the sequence."""
    found = {}
    for path in dict.fromkeys((place.parent, place_of(place).file, place)):
        try:
            files = find_files(path, patient.sequence)
        except PatientError:
            continue
        if files.sequences.get(patient.sequence) == place:
            found[path] = files.name == patient.name
    return sorted(found, key=lambda path: not found[path])


def _sides(place: Path) -> tuple[Side | None, ...]:
    return ("left", "right") if is_pictures(place) else (None,)


def _load(path: Path, sequence: str, mask: Path | None, side: Side | None) -> Patient:
    with warnings.catch_warnings():  # told when the patient was opened
        warnings.simplefilter("ignore")
        return load_patient(path, sequence, mask, only=True, png_first_column=side or "left")


def moved_mask(patient: Patient) -> bool:
    """Whether the lesion mask was moved with a sequence: then no file of the patient's holds it."""
    made = patient.prepared
    return made is not None and made.lesion_masks is not None and patient.lesion_mask is made.lesion_masks[1]


def _same_scan(one: Patient, other: Patient) -> bool:
    return (
        one.spacing == other.spacing
        and np.array_equal(one.grid.affine, other.grid.affine)
        and _same_header(one.grid, other.grid)
        and np.array_equal(one.volume(), other.volume())
    )


def _same_header(one: Grid, other: Grid) -> bool:
    if one.header is None or other.header is None:
        return one.header is other.header
    return bool(one.header == other.header)


def _same_mask(one: Patient, other: Patient) -> bool:
    if one.lesion_mask is None or other.lesion_mask is None:
        return False
    return np.array_equal(one.lesion_mask, other.lesion_mask)
