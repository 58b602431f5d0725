"""Lesion-wise sensitivity by size of the lesion.

The size of a lesion is the diameter of the ball with its volume; for a patient with a single slice, that of the disk
with its area. Matching is that of :mod:`~napari_cead.metrics.lesions`.

Policy: the sensitivity of a size without lesions is NaN. Its interval is None if fewer than two patients have lesions
of that size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from . import Interval, LesionMatch, bootstrap_ratio
from .overlap import NAN
from .patient_figures import LesionRecord, PatientFigures


@dataclass(frozen=True)
class Size:
    """A range of diameters.

    Attributes:
        label: Display name.
        column: Name in the columns of a table.
        low_mm: Smallest diameter of the range.
        high_mm: End of the range, not part of it.
    """

    label: str
    column: str
    low_mm: float
    high_mm: float


SIZES: tuple[Size, ...] = (
    Size("< 5 mm", "lt5", 0.0, 5.0),
    Size("5–10 mm", "5_10", 5.0, 10.0),
    Size("10–20 mm", "10_20", 10.0, 20.0),
    Size("> 20 mm", "gt20", 20.0, math.inf),
)
"""Ranges of diameters, closed on the left: a lesion of exactly 5 mm is in 5–10 mm, one of 20 mm in > 20 mm."""


@dataclass(frozen=True)
class SizeStratum:
    """The lesions of one size, those of all patients together.

    Attributes:
        label: Name of the size.
        low_mm: Smallest diameter of the range.
        high_mm: End of the range, not part of it; infinite for the last.
        lesions: Lesions of that size.
        found: Number of them that were found.
        sensitivity: Share of them that were found; NaN without lesions.
        interval: 95 % bootstrap interval over patients.
    """

    label: str
    low_mm: float
    high_mm: float
    lesions: int
    found: int
    sensitivity: float
    interval: Interval | None


def diameter_mm(volume_mm3: float, spacing: Sequence[float], slices: int) -> float:
    """Return the diameter that represents the size of a lesion, in mm.

    Args:
        volume_mm3: Volume of the lesion.
        spacing: Size of a voxel (z, y, x) in mm.
        slices: Slices of the patient. With a single one, the depth of a lesion is unknown: then it is the diameter
            of the disk with its area.

    Example:
        >>> round(diameter_mm(4 / 3 * math.pi * 5**3, (1, 1, 1), slices=150), 9)
        10.0
    """
    if slices == 1:
        return 2 * math.sqrt(volume_mm3 / float(spacing[0]) / math.pi)
    return math.cbrt(6 * volume_mm3 / math.pi)


def lesion_records(match: LesionMatch, spacing: Sequence[float], slices: int) -> tuple[LesionRecord, ...]:
    """Return the record of each lesion of a patient.

    Args:
        match: From ``match_lesions`` with the same three spacings.
        spacing: Size of a voxel (z, y, x) in mm.
        slices: Slices of the patient, with and without lesion.
    """
    return tuple(
        LesionRecord(
            diameter_mm=diameter_mm(lesion.volume_mm3, spacing, slices),
            volume_mm3=lesion.volume_mm3,
            overlap_mm3=lesion.overlap_mm3,
            found=lesion.matched,
        )
        for lesion in match.lesions
    )


def strata(
    patients: Sequence[PatientFigures], resamples: int = 1000, seed: int = 0
) -> tuple[SizeStratum, ...]:
    """Return the sensitivity for lesions of each of the `SIZES`.

    Args:
        patients: Figures of each patient, with their lesion records.
        resamples: Resamples of the bootstrap over patients.
        seed: Seed of the bootstrap.
    """
    return tuple(_stratum(size, patients, resamples, seed) for size in SIZES)


def _stratum(size: Size, patients: Sequence[PatientFigures], resamples: int, seed: int) -> SizeStratum:
    of_size = [
        [lesion for lesion in patient.lesion_records if size.low_mm <= lesion.diameter_mm < size.high_mm]
        for patient in patients
    ]
    lesions = [len(records) for records in of_size]
    found = [sum(lesion.found for lesion in records) for records in of_size]
    total = sum(lesions)
    return SizeStratum(
        label=size.label,
        low_mm=size.low_mm,
        high_mm=size.high_mm,
        lesions=total,
        found=sum(found),
        sensitivity=sum(found) / total if total else NAN,
        interval=bootstrap_ratio(found, lesions, resamples, seed),
    )
