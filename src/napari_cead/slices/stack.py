"""A patient as the model's input: slices on the model grid, with the way back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import IntensityError, PatientError
from ..patients import Patient
from ..patients.brain import brain_mask
from ..patients.once import once
from .contrast import ContrastFigures, contrast_figures
from .evenness import unevenness
from .geometry import SliceGeometry
from .intensity import IntensityScaling, scale_intensity
from .skull import SkullVerdict, looks_skull_stripped

MANY_NEGATIVE = 0.1
"""Smallest share of negative brain voxels that gives a warning that they count as 0."""


@dataclass(frozen=True, eq=False)
class SliceStack:
    """Slices of one sequence of one patient on the model grid.

    Attributes:
        images: (Z, S, S) float32 in [0, 1], 0 outside the brain.
        scaled: (Z, Y, X) float32 in [0, 1]: the same on the patient grid.
        brain: (Z, Y, X) bool on the patient grid.
        occupied: Indices of the slices with brain, increasing.
        geometry: Patient grid to model grid and back.
        skull: Whether the scan is skull-stripped.
        spacing: (z, y, x) in mm of the patient grid.
        warnings: Notes on resampled or cropped parts.
    """

    images: NDArray[np.float32]
    scaled: NDArray[np.float32]
    brain: NDArray[np.bool_]
    occupied: NDArray[np.int64]
    geometry: SliceGeometry
    skull: SkullVerdict
    spacing: tuple[float, float, float]
    warnings: tuple[str, ...] = ()

    @property
    def brain_shares(self) -> NDArray[np.float64]:
        """Share of the model's image that is brain, for every slice in ``occupied``."""
        return np.asarray(self.geometry.labels_to_model(self.brain)[self.occupied].mean(axis=(1, 2)))

    @cached_property
    def uneven(self) -> str:
        """Which side of the brain is clearly brighter, in one clause; empty if none is. Not for scans with a skull."""
        return unevenness(self.scaled, self.brain)

    @cached_property
    def contrast(self) -> ContrastFigures | None:
        """Figures of the contrast; None if the slices show too little. Not for scans with a skull."""
        return contrast_figures(self.scaled, self.brain, self.spacing)


def slice_stack(
    patient: Patient,
    sequence: str | None = None,
    *,
    scaling: IntensityScaling = "volume-percentile",
    model_spacing: tuple[float, float] = (0.94, 0.94),
    size: int = 196,
) -> SliceStack:
    """Prepare a patient for a model: brain, intensity scaling, centring and crop.

    Args:
        patient: The patient.
        sequence: Sequence to take; the patient's default if None.
        scaling: Intensity scaling.
        model_spacing: In-plane (y, x) in mm of the slices the model was trained on.
        size: Side of the model's image in pixels.

    Raises:
        PatientError: If there is no such sequence, or no brain with positive intensities in it.
    """
    volume = patient.volume(sequence)
    brain = once(brain_mask, volume).copy()
    _check_contrast(volume[brain], patient.name)
    try:
        scaled = scale_intensity(volume, brain, scaling)
    except PatientError as error:
        raise error.at(patient.name) from error
    skull = once(looks_skull_stripped, volume, patient.spacing)
    geometry = SliceGeometry.fit(
        brain, patient.spacing, model_spacing, size, "brain" if skull.stripped else "head"
    )
    notes = [geometry.reason] if geometry.reason else []
    if (below := _negative(volume, brain)) > MANY_NEGATIVE:
        notes.append(
            f"{below:.0%} of the brain's values are negative and count as 0, as if there were no signal: give the scan "
            "without z-scores or other shifts"
        )
    if skull.doubt:
        notes.append(skull.doubt)
    if lost := geometry.cut_off(brain):
        notes.append(f"{lost} brain voxels lie outside the model's image")
    if patient.lesion_mask is not None and (lost := geometry.cut_off(patient.lesion_mask)):
        notes.append(f"{lost} lesion voxels lie outside the model's image and cannot be found")
    occupied = np.flatnonzero(brain.any(axis=(1, 2)))
    images = geometry.to_model(scaled)
    return SliceStack(images, scaled, brain, occupied, geometry, skull, patient.spacing, tuple(notes))


def _negative(volume: NDArray[np.float32], brain: NDArray[np.bool_]) -> float:
    return int(np.count_nonzero((volume < 0) & brain)) / max(1, int(np.count_nonzero(brain)))


def _check_contrast(values: NDArray[np.float32], name: str) -> None:
    if values.size and values.min() == values.max():
        raise IntensityError(
            f"the brain has the same intensity ({values[0]:g}) everywhere",
            file=name,
            hint="give a scan, not a mask",
        )
