"""Confidence intervals of cohort averages, from resampling the patients (bootstrap)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .averages import PatientCounts
from .overlap import dice_of

INTERVALS = ("dice_pooled", "dice_patient", "dice_lesion_slices", "dice_all_slices", "precision", "recall")
"""The averages for which `bootstrap` gives intervals, by their names in `Averages`."""

LEVEL = 0.95
"""Share of the resamples that lie inside an interval."""

Interval = tuple[float, float]


def bootstrap(
    counts: Sequence[PatientCounts], resamples: int = 1000, seed: int = 0
) -> dict[str, Interval | None]:
    """Return percentile bootstrap intervals of the averages over a cohort (Efron 1979).

    Whole patients are drawn with replacement, as many as there are, because the slices and voxels of a patient are not
    independent of each other. The draws are ``default_rng(seed).integers(n, size=(resamples, n))``: cohorts of the
    same n patients are resampled alike, so the intervals of two detectors use the same draws.

    Policy: a resample in which an average is undefined (NaN, see `averages`) is left out of the interval of that
    average. An interval is None with fewer than two patients, or if the average is undefined in every resample.

    Args:
        counts: Counts of each patient.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        (low, high) by name of the average, in the order of `INTERVALS`.

    Raises:
        ValueError: If ``resamples`` is below 1.
    """
    _check(resamples)
    if len(counts) < 2:
        return dict.fromkeys(INTERVALS)
    found = _averages(_drawn(len(counts), resamples, seed), counts)
    return {name: _interval(found[name]) for name in INTERVALS}


def bootstrap_difference(
    first: Sequence[PatientCounts],
    second: Sequence[PatientCounts],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Return paired percentile bootstrap intervals of the averages under one detector minus those under another.

    Both detectors have seen the same patients, and every resample draws the same patients for both, with the same
    draws as `bootstrap`: the difficulty of a patient cancels out.

    Policy: as for `bootstrap`; a resample in which the average is undefined for either detector is left out.

    Args:
        first: Counts of each patient under the first detector.
        second: Counts of the same patients, in the same order, under the second.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        (low, high) of ``first - second`` by name of the average, in the order of `INTERVALS`.

    Raises:
        ValueError: If the numbers of patients differ or ``resamples`` is below 1.
    """
    _check(resamples)
    if len(first) != len(second):
        raise ValueError(f"a paired bootstrap needs the same patients, not {len(first)} and {len(second)}")
    if len(first) < 2:
        return dict.fromkeys(INTERVALS)
    drawn = _drawn(len(first), resamples, seed)
    one, other = _averages(drawn, first), _averages(drawn, second)
    return {name: _interval(one[name] - other[name]) for name in INTERVALS}


def bootstrap_seeds(
    cohorts: Sequence[Sequence[PatientCounts]], resamples: int = 1000, seed: int = 0
) -> dict[str, Interval | None]:
    """Return percentile bootstrap intervals of the mean, over training seeds, of the averages over a cohort.

    Each resample draws the patients as `bootstrap` does, the same for all seeds, and the seeds with replacement too:
    the interval covers both which patients were measured and how a training happened to go. Two or three seeds are few
    for that.

    Policy: as for `bootstrap`; a resample in which the average is undefined under one of its seeds is left out.

    Args:
        cohorts: For each seed the counts of the same patients, in the same order.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        (low, high) by name of the average, in the order of `INTERVALS`; None with fewer than two seeds or patients.

    Raises:
        ValueError: If the numbers of patients differ or ``resamples`` is below 1.
    """
    _check(resamples)
    if len({len(cohort) for cohort in cohorts}) > 1:
        raise ValueError("every seed needs the same patients")
    if len(cohorts) < 2 or len(cohorts[0]) < 2:
        return dict.fromkeys(INTERVALS)
    drawn = _drawn(len(cohorts[0]), resamples, seed)
    found = [_averages(drawn, cohort) for cohort in cohorts]
    times = _drawn(len(cohorts), resamples, seed + 1) / len(cohorts)
    intervals = {}
    for name in INTERVALS:
        values = np.stack([each[name] for each in found], axis=1)
        intervals[name] = _interval(np.where(times > 0, times * values, 0).sum(axis=1))
    return intervals


def bootstrap_ratio(
    parts: Sequence[float],
    wholes: Sequence[float],
    resamples: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """Return the percentile bootstrap interval of ``sum(parts) / sum(wholes)`` over patients, drawn as by `bootstrap`.

    Policy: a resample in which the wholes add up to 0 is left out. The interval is None if fewer than two patients
    have a whole above 0: resampling one patient says nothing.

    Args:
        parts: Each patient's contribution to the numerator, for instance the lesions found.
        wholes: Each patient's contribution to the denominator, for instance the lesions.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Raises:
        ValueError: If the numbers of parts and wholes differ or ``resamples`` is below 1.
    """
    _check(resamples)
    if len(parts) != len(wholes):
        raise ValueError(f"a ratio needs as many parts as wholes, not {len(parts)} and {len(wholes)}")
    if sum(whole > 0 for whole in wholes) < 2:
        return None
    part, whole = (_drawn(len(wholes), resamples, seed) @ np.array([parts, wholes], dtype=np.float64).T).T
    return _interval(_ratio(part, whole))


def _check(resamples: int) -> None:
    if resamples < 1:
        raise ValueError(f"a bootstrap needs at least one resample, not {resamples}")


def _drawn(patients: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """Return how often each patient was drawn (resamples, patients): a sum over a resample is one matrix product."""
    draws = np.random.default_rng(seed).integers(patients, size=(resamples, patients))
    flat = draws + patients * np.arange(resamples)[:, None]
    drawn = np.bincount(flat.ravel(), minlength=resamples * patients).reshape(resamples, patients)
    return drawn.astype(np.float64)


def _averages(drawn: NDArray[np.float64], counts: Sequence[PatientCounts]) -> dict[str, NDArray[np.float64]]:
    """Return the averages of each resample by name, NaN where undefined."""
    sums = drawn @ np.array([_summands(patient) for patient in counts])
    tp, fp, fn, dice, defined, lesion_sum, lesion_slices, all_sum, brain_slices = sums.T
    return {
        "dice_pooled": _ratio(2 * tp, 2 * tp + fp + fn),
        "dice_patient": _ratio(dice, defined),
        "dice_lesion_slices": _ratio(lesion_sum, lesion_slices),
        "dice_all_slices": _ratio(all_sum, brain_slices),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
    }


def _summands(patient: PatientCounts) -> tuple[float, ...]:
    """Return a patient's contributions to the numerators and denominators of the averages."""
    total = patient.total
    per_slice = dice_of(patient.tp, patient.fp, patient.fn, empty=1.0)
    lesion = patient.tp + patient.fn > 0
    return (
        total.tp,
        total.fp,
        total.fn,
        total.dice(empty=0.0),
        0.0 if total.both_empty else 1.0,
        float(per_slice[lesion].sum()),
        int(np.count_nonzero(lesion)),
        float(per_slice[patient.brain].sum()),
        int(np.count_nonzero(patient.brain)),
    )


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _interval(values: NDArray[np.float64]) -> Interval | None:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
