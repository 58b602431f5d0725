"""Opening a patient from any of the layouts."""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import CeadWarning, ParameterError
from .aliases import BRAIN_MASK
from .brain_masks import within_brain
from .cases import PatientFiles
from .formats import PNG_SPACING, Side
from .judging import judge
from .layouts import find_files
from .patient import Patient


def load_patient(
    path: str | Path | PatientFiles,
    sequence: str = "flair",
    mask: str | Path | None = None,
    *,
    only: bool = False,
    brain_mask: str | Path | None = None,
    png_first_column: Side = "left",
    png_spacing: tuple[float, float, float] = PNG_SPACING,
    prepare: Callable[[Patient], Patient] | None = None,
) -> Patient:
    """Load a patient from a folder, a scan, a DICOM series or a zip; the page on formats lists what can be opened.

    Args:
        path: As for :func:`~napari_cead.patients.find_files`. Beside a single file, a lesion mask
            of the same name prefix is found.
        sequence: The sequence to use. A single file whose name says another sequence is taken as that one.
        mask: Lesion mask file (or folder of PNG slices), overriding the one found on disk. One that is found and
            covers over a third of the brain, follows its outline, or lies outside of it, is not used; one that is
            named here is.
        only: Read the chosen sequence (and the mask) alone.
        brain_mask: Brain mask file, for a scan that is not skull-stripped: outside of it the sequences become 0.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
        prepare: Preparation of the patient: a ``Preparation`` strips the skull, for instance.

    Returns:
        The patient on the grid of the chosen sequence, in canonical LPS order. Other sequences on other
        grids are resampled to it; unreadable ones are left out. ``warnings`` names both.

    Raises:
        PatientError: If there is no patient, no such sequence, or the chosen sequence cannot be used.
        MaskError: If the lesion mask or the brain mask cannot be used.
    """
    files = find_files(path, sequence)
    if mask is not None:
        files = replace(files, mask=Path(mask).expanduser())
    if files.single:
        sequence = next(iter(files.sequences))
    patient = read_files(
        files,
        sequence,
        next(iter(files.sequences.values())).parent if isinstance(path, PatientFiles) else path,
        only=only,
        trust_mask=mask is not None or files.laid_out,
        brain_mask=None if brain_mask is None else Path(brain_mask).expanduser(),
        png_first_column=png_first_column,
        png_spacing=png_spacing,
    )
    if prepare is not None:
        patient = prepare(patient)
    for note in patient.warnings:
        python_warnings.warn(note, CeadWarning, stacklevel=2)
    return patient


def read_files(
    files: PatientFiles,
    sequence: str,
    path: str | Path,
    *,
    only: bool = False,
    trust_mask: bool = False,
    brain_mask: Path | None = None,
    png_first_column: Side = "left",
    png_spacing: tuple[float, float, float] = PNG_SPACING,
) -> Patient:
    """Load the patient that these files make up, and nothing else; its warnings are in ``warnings`` alone.

    Safe in several threads at once, unlike Python's own warnings. Otherwise like :func:`load_patient`.

    Args:
        files: The files.
        sequence: The sequence to use.
        path: The patient's place, for the message of an error.
        only: Read the chosen sequence (and the mask) alone.
        trust_mask: Use the lesion mask even if it covers more of the brain than lesions do: somebody named it.
        brain_mask: Brain mask file.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
    """
    if png_first_column not in ("left", "right"):
        raise ParameterError(
            f"the first PNG column is 'left' or 'right', not {png_first_column!r}",
            hint="name the side of the patient that column 0 shows",
        )
    if len(png_spacing) != 3 or not all(np.isfinite(size) and size > 0 for size in png_spacing):
        raise ParameterError(
            f"a voxel size must be three positive numbers in mm, not {png_spacing}", hint="give (z, y, x)"
        )
    some = next(iter(sorted(files.sequences)), "flair")
    files.scan(sequence, path, f"choose another sequence (--sequence {some}) or add the missing file")
    judged = judge(files, sequence, only=only, png_first_column=png_first_column, png_spacing=png_spacing)
    patient = judged.patient(trust_mask=trust_mask)
    if brain_mask is None:
        return patient
    masked = within_brain(patient, brain_mask, png_first_column=png_first_column)
    return replace(masked, files={**patient.files, BRAIN_MASK: brain_mask})
