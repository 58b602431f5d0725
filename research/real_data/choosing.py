"""Thresholds from counts: best of all patients, or best of the patients in the other folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""True positives, false positives and false negatives in the last axis."""


def raw_counts(lesion: NDArray[np.integer], other: NDArray[np.integer]) -> Counts:
    """Return the counts (N, bins, 3) of ``map > k / bins`` from histograms as `ScoreHistograms` has them.

    Args:
        lesion: (N, bins + 1) voxels of lesions.
        other: (N, bins + 1) all other voxels.
    """
    found, wrong = (
        np.cumsum(part[:, ::-1], axis=1, dtype=np.int64)[:, ::-1][:, 1:] for part in (lesion, other)
    )
    return np.stack([found, wrong, lesion.sum(axis=1, dtype=np.int64)[:, None] - found], axis=-1)


def per_patient(counts: Counts, patient: NDArray[np.integer]) -> Counts:
    """Add up the counts (S, …, 3) of slices to those of their patients (P, …, 3)."""
    total = np.zeros((int(patient.max()) + 1, *counts.shape[1:]), np.int64)
    np.add.at(total, patient, counts)
    return total


def dice_pooled(counts: Counts) -> NDArray[np.float64]:
    """Return `dice_pooled` of counts (P, …, 3) that are added up over the patients; 0 where nothing is defined."""
    tp, fp, fn = np.moveaxis(counts.sum(axis=0), -1, 0)
    return 2 * tp / np.maximum(2 * tp + fp + fn, 1)


def best(counts: Counts) -> int:
    """Return the number of the threshold with the highest `dice_pooled`, the lowest one of several.

    Args:
        counts: (P, thresholds, 3).
    """
    return int(np.argmax(dice_pooled(counts)))


def by_fold(counts: Counts, fold: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return for each patient the number of the threshold that is best in all folds but its own.

    Args:
        counts: (P, thresholds, 3).
        fold: (P,).
    """
    chosen = np.zeros(len(fold), np.int64)
    for number in np.unique(fold):
        chosen[fold == number] = best(counts[fold != number])
    return chosen
