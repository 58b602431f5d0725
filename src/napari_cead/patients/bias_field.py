"""Correcting the bias field of a coil, which makes one side of a scan brighter."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GeometryError
from .patient import Patient

COARSER = 4
"""How much coarser than the scan the grid is on which the field is estimated, as far as the scan is large enough."""

LEAST_SLICES = 8
"""Fewest slices that tell a field from a lesion."""

_LEAST_VOXELS = 12  # of the coarser grid along an axis


def correct_bias_field(patient: Patient, sequence: str | None = None) -> Patient:
    """Return a patient with the bias field of one sequence corrected by N4.

    Models that compare intensities with one level of tissue for the whole scan (``ce-unet``) find much less in scans
    of which one side is brighter. N4: Tustison et al. 2010, *N4ITK: Improved N3 Bias Correction*, as SimpleITK has it.
    It takes some seconds for a volume.

    Args:
        patient: The patient; it is left as it is.
        sequence: The sequence to correct; None: that which detection uses.

    Returns:
        The same patient with that sequence divided by its field; background stays 0, and a warning says what was done.

    Raises:
        MissingSequenceError: If there is no such sequence.
        GeometryError: If there are fewer than 8 slices, for in a slice or two a large lesion is taken for a bias
            field; or if N4 cannot work on a grid of that shape.

    Example:
        >>> patient = correct_bias_field(load_patient("Mets_005"))  # doctest: +SKIP
        >>> save_volume(patient.volume(), patient, "flair_n4.nii.gz")  # doctest: +SKIP
    """
    name = patient.sequence if sequence is None else sequence
    volume = np.asarray(patient.volume(name), np.float32)
    if len(volume) < LEAST_SLICES:
        raise GeometryError(
            f"a bias field cannot be told from a lesion in {len(volume)} slice{'' if len(volume) == 1 else 's'}",
            file=patient.files.get(name, patient.name),
            hint=f"give a volume of at least {LEAST_SLICES} slices, or use the scan as it is",
        )
    try:
        field = _field(volume, patient.spacing)
    except RuntimeError as error:  # ITK's, over several lines
        raise GeometryError(
            f"N4 cannot estimate a bias field on {' x '.join(map(str, volume.shape))} voxels",
            file=patient.files.get(name, patient.name),
            hint="use the scan as it is",
        ) from error
    corrected = np.where(volume > 0, volume / field, 0).astype(np.float32)
    said = f"bias field of {name} taken out by N4"
    return replace(
        patient,
        sequences={**patient.sequences, name: corrected},
        warnings=(*patient.warnings, said),
    )


def _field(volume: NDArray[np.float32], spacing: tuple[float, float, float]) -> NDArray[np.float32]:
    """Return the bias field (Z, Y, X), estimated where the volume is above 0."""
    sitk: Any = import_module("SimpleITK")
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(tuple(reversed(spacing)))
    mask = sitk.GetImageFromArray((volume > 0).astype(np.uint8))
    mask.CopyInformation(image)
    shrink = [max(1, min(COARSER, size // _LEAST_VOXELS)) for size in image.GetSize()]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.Execute(sitk.Shrink(image, shrink), sitk.Shrink(mask, shrink))
    return np.asarray(np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))), np.float32)
