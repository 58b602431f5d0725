"""Voxel-wise ranking figures of a cohort from its histograms, so that the cohort need not fit into memory."""

from __future__ import annotations

import numpy as np

from ..detection.thresholds import ScoreHistograms
from ..metrics.overlap import NAN


def ranking(histograms: ScoreHistograms) -> tuple[float, float]:
    """Return AUROC and average precision (AUPRC) over the voxels counted.

    These are exactly `metrics.auroc` and `metrics.average_precision` of scores rounded up to the next multiple of
    one bin: scores in one bin count as ties.

    Args:
        histograms: Lesion and healthy voxels by score, those of all patients added up.

    Returns:
        AUROC, NaN if lesion or healthy voxels are missing; average precision, NaN without lesion voxels.
    """
    lesion, healthy = histograms.lesion, histograms.healthy
    lesions, others = int(lesion.sum()), int(healthy.sum())
    if not lesions:
        return NAN, NAN
    below = np.cumsum(healthy) - healthy
    # Twice the number of pairs in the right order, in Python's integers: a cohort has more pairs than 64 bits hold.
    pairs = sum(int(one) * int(two) for one, two in zip(lesion, 2 * below + healthy, strict=True))
    found, wrong = np.cumsum(lesion[::-1]), np.cumsum(healthy[::-1])
    steps = lesion[::-1] > 0
    precision = found[steps] / (found[steps] + wrong[steps])
    average = float(np.sum(lesion[::-1][steps] * precision) / lesions)
    return (pairs / (2 * lesions * others) if others else NAN), average
