"""A given brain mask: outside of it the scan becomes 0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import IntensityError, MaskError, PatientError
from .formats import Side
from .formats.png import numbered_slices, placed
from .patient import Patient
from .reading import is_pictures, read_place
from .volumes import Volume, clean_mask, onto

_HINT = "give the brain mask of this scan"


def within_brain(
    patient: Patient, mask: str | Path | NDArray[Any], *, png_first_column: Side = "left"
) -> Patient:
    """Return the same patient with every sequence 0 outside the brain mask.

    Args:
        patient: The patient.
        mask: (Z, Y, X) labels or bool on the patient's grid (canonical order); or a NIfTI file, brought onto the grid
            if it lies on another one that overlaps; or PNG slices of the same size. Above 0 is brain.
        png_first_column: Side of the patient that column 0 of PNG slices shows.

    Raises:
        MaskError: If the mask cannot be read, is an image, is empty, has another shape, or lies outside the scan.
        PatientError: If a sequence is 0 everywhere inside the mask.
    """
    file = Path(mask).expanduser() if isinstance(mask, str | Path) else None
    brain, notes = brain_on_grid(patient, mask, png_first_column=png_first_column)
    sequences = {name: np.where(brain, volume, np.float32(0)) for name, volume in patient.sequences.items()}
    for name, volume in sequences.items():
        if not volume.any():
            raise IntensityError(
                f"{name} is 0 everywhere inside the brain mask", file=file or patient.name, hint=_HINT
            )
    return replace(patient, sequences=sequences, warnings=(*patient.warnings, *notes))


def brain_on_grid(
    patient: Patient, mask: str | Path | NDArray[Any], *, png_first_column: Side = "left"
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return a brain mask (Z, Y, X) on the patient's grid, and the assumptions; see `within_brain`.

    Raises:
        MaskError: If the mask cannot be read, is an image, is empty, has another shape, or lies outside the scan.
    """
    if isinstance(mask, str | Path):
        return _from_file(Path(mask).expanduser(), patient, png_first_column)
    return _from_array(np.asarray(mask), patient)


def _from_array(labels: NDArray[Any], patient: Patient) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    labels = labels[None] if labels.ndim == 2 else labels
    brain = _clean(labels, patient.name)
    if brain.shape != patient.shape:
        raise MaskError(
            f"the brain mask has shape {brain.shape}, the scan {patient.shape}", file=patient.name, hint=_HINT
        )
    if not brain.any():
        raise MaskError("the brain mask is empty", file=patient.name, hint=_HINT)
    return brain, ()


def _from_file(file: Path, patient: Patient, side: Side) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    try:
        volume = read_place(file, side, patient.spacing)
        if file.is_dir():
            scan = patient.files.get(patient.sequence)
            numbers = tuple(numbered_slices(scan)) if scan is not None and scan.is_dir() else ()
            volume = placed(volume, Volume(patient.volume(), patient.grid, numbers=numbers), file.name)
        if file.is_dir() or is_pictures(file):
            return _from_array(volume.data, patient)
    except PatientError as error:
        raise MaskError(error.reason, file=file, hint=error.hint) from error
    labels = _clean(volume.data, str(file))
    if not labels.any():
        raise MaskError("the brain mask is empty", file=file, hint=_HINT)
    try:
        moved = onto(replace(volume, data=labels.astype(np.uint8)), patient.grid, 0, file.name)
    except PatientError as error:
        raise MaskError("the brain mask lies outside the scan", file=file, hint=_HINT) from error
    if not moved.data.any():
        raise MaskError("no voxel of the brain mask falls inside the scan", file=file, hint=_HINT)
    return moved.data > 0, moved.warnings


def _clean(labels: NDArray[Any], what: str) -> NDArray[np.bool_]:
    try:
        return clean_mask(labels, what)[0]
    except MaskError as error:
        raise MaskError(error.reason.replace("lesion mask", "brain mask"), file=what, hint=_HINT) from error
