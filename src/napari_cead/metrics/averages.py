"""Averages of Dice over a cohort, each with its name and with a written policy for empty masks.

The same masks give very different figures under different averages, and a detector that finds nothing can look good:

- `dice_pooled`: one Dice of all voxels of the cohort. NaN if there is neither lesion nor detection in all of it.
- `dice_patient`: mean over patients of the Dice of the volume. Patients with neither lesion nor detection are left
  out, and counted. NaN if none is left.
- `dice_lesion_slices`: mean over the slices with lesion, of all patients together. NaN without such a slice.
- `dice_all_slices`: mean over the slices with brain, of all patients together; a slice with neither lesion nor
  detection counts 1. NaN without such a slice.

If only one of the two is empty, Dice is 0. `dice_all_slices` rewards a detector that finds nothing (0.487 on a
test set with 204 healthy slices out of 419) and is never shown alone.

Everything is computed from `PatientCounts`, a few numbers per slice, so that a cohort need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .overlap import NAN, Counts, as_mask, count_by_slice, dice_of, slice_counts


@dataclass(frozen=True, eq=False)
class PatientCounts:
    """The counts of one patient, slice by slice, from which the averages are computed.

    Attributes:
        tp: True positives of each slice (Z,).
        fp: False positives of each slice (Z,).
        fn: False negatives of each slice (Z,).
        brain: Whether the slice shows brain (Z,).
    """

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    brain: NDArray[np.bool_]

    @classmethod
    def of(cls, mask: ArrayLike, reference: ArrayLike, brain: ArrayLike | None = None) -> PatientCounts:
        """Count one patient.

        Args:
            mask: Detected mask, (Z, Y, X) or one slice (Y, X); values > 0 are in it.
            reference: Lesion mask of the same shape; values > 0 are in it.
            brain: Brain mask of the same shape: it only marks the slices with brain, the counts are of all voxels.
                None counts every slice as one with brain.

        Raises:
            ValueError: If the shapes differ, or are neither (Z, Y, X) nor (Y, X).
        """
        detected, lesion = as_mask(mask), as_mask(reference)
        inside = None if brain is None else as_mask(brain)
        if inside is not None and inside.shape != detected.shape:
            raise ValueError(f"mask {detected.shape} and brain {inside.shape} differ in shape")
        if detected.ndim == 2 and lesion.ndim == 2:
            detected, lesion = detected[None], lesion[None]
            inside = None if inside is None else inside[None]
        tp, fp, fn = slice_counts(detected, lesion)
        shown = np.ones(len(tp), dtype=np.bool_) if inside is None else count_by_slice(inside) > 0
        return cls(tp, fp, fn, shown)

    @property
    def total(self) -> Counts:
        """Counts of the whole volume."""
        return Counts(int(self.tp.sum()), int(self.fp.sum()), int(self.fn.sum()))


@dataclass(frozen=True)
class Averages:
    """Averages over a cohort; the module defines each and its value for empty masks.

    Attributes:
        dice_pooled: Dice of all voxels of the cohort.
        dice_patient: Mean over patients of the Dice of the volume.
        dice_lesion_slices: Mean over slices with lesion.
        dice_all_slices: Mean over slices with brain, both-empty ones counting 1.
        precision: Of all voxels of the cohort; NaN if nothing is detected.
        recall: Of all voxels of the cohort; NaN if there is no lesion.
        patients: Patients in the cohort.
        both_empty_patients: Patients with neither lesion nor detection, left out of `dice_patient`.
        lesion_slices: Slices with lesion.
        brain_slices: Slices with brain.
        both_empty_slices: Slices with brain, but neither lesion nor detection.
    """

    dice_pooled: float
    dice_patient: float
    dice_lesion_slices: float
    dice_all_slices: float
    precision: float
    recall: float
    patients: int
    both_empty_patients: int
    lesion_slices: int
    brain_slices: int
    both_empty_slices: int

    def as_dict(self) -> dict[str, float | int]:
        """Return the figures by name, in the order of the attributes."""
        return asdict(self)


@dataclass(frozen=True)
class Mixture:
    """Averages over a cohort whose lesion and healthy slices are weighted to stand in a given ratio.

    A published test set of slices with so many lesion and healthy slices is imitated without drawing slices: every
    healthy slice weighs the same, together as much as the ratio says. All are NaN without both kinds of slices.

    Attributes:
        dice_pooled: One Dice of all voxels, the false positives of healthy slices weighted.
        dice_patient: Mean over patients of the same; both-empty patients are left out.
        dice_lesion_slices: Mean over lesion slices alone.
        dice_all_slices: Mean over all slices, both-empty ones counting 1.
        dice_all_slices_zero: The same, both-empty ones counting 0.
        dice_nonempty_slices: The same, both-empty ones left out.
    """

    dice_pooled: float = NAN
    dice_patient: float = NAN
    dice_lesion_slices: float = NAN
    dice_all_slices: float = NAN
    dice_all_slices_zero: float = NAN
    dice_nonempty_slices: float = NAN

    def as_dict(self) -> dict[str, float]:
        """Return the averages by name."""
        return asdict(self)


def mixture(cohort: Iterable[PatientCounts], lesion: int, healthy: int) -> Mixture:
    """Return the averages over a cohort in a ratio of lesion and healthy slices.

    Args:
        cohort: Counts of each patient.
        lesion: Lesion slices of the ratio.
        healthy: Healthy slices with brain of the ratio.
    """
    patients = list(cohort)
    ill = [patient.tp + patient.fn > 0 for patient in patients]
    well = [patient.brain & ~found for patient, found in zip(patients, ill, strict=True)]
    lesions, others = sum(int(found.sum()) for found in ill), sum(int(found.sum()) for found in well)
    if not lesions or not others:
        return Mixture()
    weight = healthy / lesion * lesions / others
    total, dice, patient_dice = np.zeros(3), 0.0, []
    false_alarms = 0
    for patient, found, calm in zip(patients, ill, well, strict=True):
        counts = np.array(
            [patient.tp[found].sum(), patient.fp[found].sum(), patient.fn[found].sum()], np.float64
        )
        counts[1] += weight * patient.fp[calm].sum()
        total += counts
        if counts.any():
            patient_dice.append(_dice(counts))
        dice += float(dice_of(patient.tp[found], patient.fp[found], patient.fn[found], empty=1.0).sum())
        false_alarms += int(np.count_nonzero(patient.fp[calm]))
    slices = lesions + weight * others
    return Mixture(
        dice_pooled=_dice(total),
        dice_patient=sum(patient_dice) / len(patient_dice),
        dice_lesion_slices=dice / lesions,
        dice_all_slices=(dice + weight * (others - false_alarms)) / slices,
        dice_all_slices_zero=dice / slices,
        dice_nonempty_slices=dice / (lesions + weight * false_alarms),
    )


def _dice(counts: NDArray[np.float64]) -> float:
    tp, fp, fn = counts
    return float(2 * tp / (2 * tp + fp + fn))


def averages(cohort: Iterable[PatientCounts]) -> Averages:
    """Return all averages over a cohort in one pass.

    Args:
        cohort: Counts of each patient; may be a generator.
    """
    total = Counts()
    patients = lesion_slices = brain_slices = both_empty_slices = 0
    patient_dice: list[float] = []
    lesion_sum = all_sum = 0.0
    for patient in cohort:
        patients += 1
        counts = patient.total
        total = total + counts
        if not counts.both_empty:
            patient_dice.append(counts.dice())
        per_slice = dice_of(patient.tp, patient.fp, patient.fn, empty=1.0)
        lesion = patient.tp + patient.fn > 0
        both_empty = ~lesion & (patient.fp == 0)
        lesion_sum += float(per_slice[lesion].sum())
        lesion_slices += int(np.count_nonzero(lesion))
        all_sum += float(per_slice[patient.brain].sum())
        brain_slices += int(np.count_nonzero(patient.brain))
        both_empty_slices += int(np.count_nonzero(both_empty & patient.brain))
    return Averages(
        dice_pooled=total.dice(),
        dice_patient=sum(patient_dice) / len(patient_dice) if patient_dice else NAN,
        dice_lesion_slices=lesion_sum / lesion_slices if lesion_slices else NAN,
        dice_all_slices=all_sum / brain_slices if brain_slices else NAN,
        precision=total.precision(),
        recall=total.recall(),
        patients=patients,
        both_empty_patients=patients - len(patient_dice),
        lesion_slices=lesion_slices,
        brain_slices=brain_slices,
        both_empty_slices=both_empty_slices,
    )
