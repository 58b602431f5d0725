"""Intervals that `napari_cead.metrics` does not have: of ratios of averages, and of ranking figures.

The draws are those of `napari_cead.metrics.bootstrap`, so that everything in a table rests on the same resamples.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .choosing import Counts

RESAMPLES = 1000

Values = NDArray[np.float64]


@lru_cache(maxsize=4)
def drawn(patients: int, resamples: int = RESAMPLES, seed: int = 0) -> Values:
    """Return how often each patient is in each resample (resamples, patients)."""
    draws = np.random.default_rng(seed).integers(patients, size=(resamples, patients))
    return np.array([np.bincount(draw, minlength=patients) for draw in draws], dtype=np.float64)


def pooled(draws: Values, counts: Counts) -> Values:
    """Return `dice_pooled` (resamples,) of counts (P, 3)."""
    tp, fp, fn = (draws @ counts).T
    return 2 * tp / np.maximum(2 * tp + fp + fn, 1)


def rankings(lesion: NDArray[np.floating], other: NDArray[np.floating]) -> tuple[Values, Values]:
    """Return AUPRC and AUROC of each pair of histograms (N, bins + 1); `evaluation.ranking` of many at once."""
    lesion, other = np.asarray(lesion, np.float64), np.asarray(other, np.float64)
    found, wrong = (np.cumsum(part[:, ::-1], axis=1) for part in (lesion, other))
    precision = found / np.maximum(found + wrong, 1)
    positives, negatives = np.maximum(found[:, -1], 1), np.maximum(wrong[:, -1], 1)
    auprc = (lesion[:, ::-1] * precision).sum(axis=1) / positives
    below = np.cumsum(other, axis=1) - other
    auroc = (lesion * (below + other / 2)).sum(axis=1) / positives / negatives
    return auprc, auroc


def interval(values: Values) -> tuple[float, float] | None:
    """Return the middle 95 % of the resamples; None where there are none (NaN)."""
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
