"""Baselines without a network: what a model has to beat.

They are in every table and independent of its models: each scales the scan in its own way and makes an anomaly map on
the scan's own grid, which then goes through the same rules as a model's. To add one, add an object to `BASELINES`;
`evaluate`, ``research/real.py`` and the report read it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..patients import Patient
from ..slices import IntensityScaling, SliceStack, slice_stack
from ..slices.symmetry import midline
from ..wording import counted
from ..zoo import Preprocessing
from . import PostprocessParams
from .evidence import asymmetry
from .rules import HEALTHY
from .smoothing import smoothed_in_brain

INTENSITY = "intensity"
"""Score of a baseline whose map is the scaled scan itself."""

ASYMMETRY_MM = 3.0
"""Sigma of ``flair-asymmetry``: of 1, 2, 3, 4 and 6 mm the one with the highest ``dice_patient`` of the 109 validation
strokes of ``docs/explanation/results-detail.md`` (without post-processing: 0.339, 0.383, 0.399, 0.398, 0.382)."""

LARGE = 1 / 3
"""Smallest share of the brain of the patient's largest slice for a slice to count as healthy: about the 15 % of the
image that a network needs, but without a network's image."""

Values = NDArray[np.float32]
Mm = tuple[float, float, float]
MapOf = Callable[[Values, NDArray[np.bool_], Mm], Values]
"""From the scaled scan (Z, Y, X), its brain and the size of a voxel (z, y, x) in mm to an anomaly map in [0, 1]."""


@dataclass(frozen=True)
class Baseline:
    """A baseline without a network.

    Attributes:
        name: The part of its name after the sequence, ``threshold`` in ``flair-threshold``.
        scaling: The scaling of intensities.
        method: The method in words.
        maps: By score, the anomaly map. Of several, the validation patients choose one by ``dice_patient``.
        default: The score if no validation patient can choose.
        healthy: By score, the threshold of rule ``healthy-quantile`` without healthy slices of validation
            patients: 99 % of the brain of 328 lesion-free FLAIR slices lie below it.
    """

    name: str
    scaling: IntensityScaling
    method: str
    maps: Mapping[str, MapOf]
    default: str = INTENSITY
    healthy: Mapping[str, float] = field(default_factory=dict)

    def title(self, sequence: str) -> str:
        """Return its name for a sequence."""
        return f"{sequence}-{self.name}"

    def explained(self, score: str, chosen_by: int = 0) -> str:
        """Describe the method of a score.

        Args:
            score: One of `maps`.
            chosen_by: Number of validation patients that chose it.
        """
        if len(self.maps) == 1:
            return self.method
        if not chosen_by:
            return f"{self.method}; {score}, the fixed one where validation patients do not choose"
        patients = counted(chosen_by, "validation patient")
        return f"{self.method}; {score}, of {', '.join(self.maps)} the one with the highest dice_patient of {patients}"

    def settings(self, score: str, rule: str, sequence: str) -> PostprocessParams | None:
        """Return the fixed settings for a rule without data to choose by; None if there are none.

        Args:
            score: One of `maps`.
            rule: The rule.
            sequence: The sequence; measurements on FLAIR apply only to FLAIR.
        """
        threshold = self.healthy.get(score)
        if threshold is None or (rule, sequence) != (HEALTHY, "flair"):
            return None
        return PostprocessParams(threshold=threshold)

    def seen(self, patient: Patient) -> Seen:
        """Return a patient as the baseline's input.

        Raises:
            PatientError: If it has no usable brain.
        """
        return Seen(stack_of(patient, Preprocessing(intensity=self.scaling)), patient.spacing, self.maps)


@dataclass(frozen=True, eq=False)
class Seen:
    """A patient with its maps, made without a network.

    Attributes:
        stack: The patient, with the scaled scan and the brain on the patient's own grid.
        spacing: Size of a voxel (z, y, x) in mm.
        maps: By score, the anomaly map.
        notes: What was assumed about the maps.
    """

    stack: SliceStack
    spacing: Mm
    maps: Mapping[str, MapOf]
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Assumptions made; cropping and resampling for a network do not apply here."""
        of_scan = (text for text in self.stack.warnings if text != self.stack.geometry.reason)
        return (*of_scan, *self.notes)

    def large(self) -> NDArray[np.bool_]:
        """Return the slices (Z,) with enough brain to count as healthy if they hold no lesion."""
        areas = self.stack.brain.sum(axis=(1, 2))
        return np.asarray((areas > 0) & (areas >= LARGE * areas.max()))

    def anomaly_map(self, score: str) -> Values:
        """Return the map (Z, Y, X) in [0, 1] under a score, 0 outside the brain."""
        return self.maps[score](self.stack.scaled, self.stack.brain, self.spacing)


def stack_of(patient: Patient, wants: Preprocessing) -> SliceStack:
    """Return a patient's slices with its brain and scaled scan, made once for all subjects that want the same."""
    return _stack(patient, wants.intensity, wants.spacing, wants.image_size)


@lru_cache(maxsize=2)  # all subjects use one patient after each other, most of them under two scalings
def _stack(
    patient: Patient, scaling: IntensityScaling, spacing: tuple[float, float], size: int
) -> SliceStack:
    return slice_stack(patient, scaling=scaling, model_spacing=spacing, size=size)


def let_patient_go() -> None:
    """Free the memory of the last patient used."""
    _stack.cache_clear()


def _plain(image: Values, brain: NDArray[np.bool_], spacing: Mm) -> Values:
    return image


def _smooth(sigma_mm: float, *, through: bool) -> MapOf:
    def smooth(image: Values, brain: NDArray[np.bool_], spacing: Mm) -> Values:
        values = smoothed_in_brain(image, brain, spacing, sigma_mm, through=through)
        return np.asarray(
            np.clip(values, 0, 1, out=values)
        )  # rounding may have raised a mean above its values

    return smooth


def _asymmetry(image: Values, brain: NDArray[np.bool_], spacing: Mm) -> Values:
    return smoothed_in_brain(asymmetry(image, brain, midline(brain)), brain, spacing, ASYMMETRY_MM)


BASELINES: Mapping[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline(
            "threshold",
            "volume-percentile",
            "the scan itself, its brain's 99.5th percentile at 1",
            {INTENSITY: _plain},
            healthy={INTENSITY: 0.9922},
        ),
        Baseline(
            "tissue",
            "volume-tissue",
            "the scan itself, the median of its tissue at 0.5",
            {INTENSITY: _plain},
            healthy={INTENSITY: 0.7381},
        ),
        Baseline(
            "tissue-smooth",
            "volume-tissue",
            "the scan, the median of its tissue at 0.5, smoothed inside the brain by a Gaussian (sigma in mm)",
            {
                "1mm-2d": _smooth(1, through=False),
                "1mm-3d": _smooth(1, through=True),
                "3mm-2d": _smooth(3, through=False),
                "3mm-3d": _smooth(3, through=True),
            },
            default="1mm-3d",
            healthy={"1mm-2d": 0.7042, "1mm-3d": 0.7042, "3mm-2d": 0.6429, "3mm-3d": 0.6429},
        ),
        Baseline(
            "asymmetry",
            "volume-tissue",
            "geometric mean of the brightness above the tissue's and above the mirrored side's, mirrored about the "
            f"brain's midline, smoothed inside the brain by a Gaussian of {ASYMMETRY_MM:g} mm (sigma) in 3-D",
            {"asymmetry": _asymmetry},
            default="asymmetry",
            healthy={"asymmetry": 0.11},
        ),
    )
}
"""All baselines by name, in the order of the tables; the one that detects nothing needs no map."""
