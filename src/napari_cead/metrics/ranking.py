"""Ranking metrics that need no threshold: area under the ROC curve, average precision, per-region overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .overlap import NAN, as_mask, bounding_box


def auroc(scores: ArrayLike, reference: ArrayLike, brain: ArrayLike | None = None) -> float:
    """Return the area under the ROC curve over voxels.

    It is the chance that a lesion voxel scores higher than a healthy one, a tie counting one half (Mann-Whitney U;
    Hanley and McNeil 1982). Exact, from ranks: no bins.

    Args:
        scores: Anomaly of each voxel, any shape; NaN ranks lowest.
        reference: Lesion mask of the same shape; values > 0 are in it.
        brain: Voxels that count, same shape; None takes all. Background that scores 0 makes every detector look
            good, so give the mask if there is background.

    Returns:
        A value from 0 to 1; NaN if lesion or healthy voxels are missing.

    Raises:
        ValueError: If the shapes differ.
    """
    lesion, healthy = _split(scores, reference, brain)
    if not lesion.size or not healthy.size:
        return NAN
    healthy.sort()
    below = np.searchsorted(healthy, lesion, side="left").sum(dtype=np.int64)
    not_above = np.searchsorted(healthy, lesion, side="right").sum(dtype=np.int64)
    return (int(below) + int(not_above)) / (2 * lesion.size * healthy.size)


def average_precision(scores: ArrayLike, reference: ArrayLike, brain: ArrayLike | None = None) -> float:
    """Return the average precision over voxels: the sum of precision times the step in recall.

    The sum runs over the distinct scores in descending order; there is no interpolation, which would be too
    optimistic (Davis and Goadrich 2006). Exact, from ranks: no bins.

    Args:
        scores: Anomaly of each voxel, any shape; NaN ranks lowest.
        reference: Lesion mask of the same shape; values > 0 are in it.
        brain: Voxels that count, same shape; None takes all.

    Returns:
        A value from 0 to 1, the share of lesion voxels for scores without information; NaN without lesion voxels.

    Raises:
        ValueError: If the shapes differ.
    """
    lesion, healthy = _split(scores, reference, brain)
    if not lesion.size:
        return NAN
    healthy.sort()
    # Recall steps only at the scores of lesion voxels, so healthy scores need no thresholds of their own.
    thresholds, found = np.unique(lesion, return_counts=True)
    tp = np.cumsum(found[::-1])[::-1]
    fp = healthy.size - np.searchsorted(healthy, thresholds, side="left")
    return float(np.sum(found * (tp / (tp + fp))) / lesion.size)


LIMIT = 0.3
"""False positive rate up to which the per-region overlap is integrated."""


def aupro(scores: ArrayLike, reference: ArrayLike, brain: ArrayLike | None = None) -> float:
    """Return the area under the per-region overlap up to a false positive rate of 0.3, as a share of 0.3.

    The per-region overlap at a threshold is the mean over lesions of the share of their voxels above it, so that a
    small lesion counts as much as a large one (Bergmann et al. 2020). Exact, from ranks; ties are joined by a straight
    line.

    Args:
        scores: Anomaly of each voxel, (Z, Y, X) or (Y, X); NaN ranks lowest.
        reference: Lesion mask of the same shape; values > 0 are in it.
        brain: Voxels that count, same shape; None takes all.

    Returns:
        A value from 0 to 1, 0.15 for scores without information; NaN if lesion or healthy voxels are missing.

    Raises:
        ValueError: If the shapes differ.
    """
    lesion, healthy = _split(scores, reference, brain)
    values, place = np.unique(np.concatenate([lesion, healthy]), return_inverse=True)
    inside = as_mask(reference) if brain is None else as_mask(reference) & as_mask(brain)
    share, regions = shares(inside)
    overlap: Any = np.bincount(place[: len(lesion)], weights=share, minlength=len(values))
    return area_of_overlap(overlap, np.bincount(place[len(lesion) :], minlength=len(values)), regions)


def shares(lesion: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """Return which share each lesion voxel is of its lesion, in the order of ``lesion.nonzero()``, and their number."""
    box = bounding_box(lesion)
    labels, count = ndimage.label(lesion[box], np.ones((3,) * lesion.ndim))
    own = labels[lesion[box]]
    return 1 / np.bincount(own, minlength=count + 1)[own], count


def area_of_overlap(
    overlap: NDArray[np.float64],
    healthy: NDArray[np.int64],
    regions: int,
    places: NDArray[np.int64] | None = None,
) -> float:
    """Return `aupro` from counts by score.

    Args:
        overlap: For each score, ascending, the sum of the `shares` of the lesion voxels that have it.
        healthy: For each score, the other voxels.
        regions: Number of lesions.
        places: The numbers of these scores, counted down from the highest possible one, if there are other scores that
            no voxel has: the last bits of the area are those of all scores. None: there are no others.
    """
    total = int(healthy.sum())
    if not regions or not total:
        return NAN
    rate = np.concatenate([[0.0], np.cumsum(healthy[::-1]) / total])
    found = np.concatenate([[0.0], np.cumsum(overlap[::-1]) / regions])
    below = rate < LIMIT
    x, y = np.append(rate[below], LIMIT), np.append(found[below], np.interp(LIMIT, rate, found))
    parts = np.diff(x) * (y[1:] + y[:-1])
    if places is not None:
        own = places[::-1][: len(parts)]
        parts, few = np.zeros(own[-1] + 1), parts
        parts[own] = few
    return float(np.sum(parts) / 2 / LIMIT)


def _split(
    scores: ArrayLike, reference: ArrayLike, brain: ArrayLike | None
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the scores of the lesion voxels and of the healthy voxels, flat copies."""
    values, lesion = np.asarray(scores), as_mask(reference)
    if values.shape != lesion.shape:
        raise ValueError(f"scores {values.shape} and reference {lesion.shape} differ in shape")
    if brain is not None:
        inside = as_mask(brain)
        if inside.shape != values.shape:
            raise ValueError(f"scores {values.shape} and brain {inside.shape} differ in shape")
        values, lesion = values[inside], lesion[inside]
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), values.dtype.type(-np.inf), values)
    return values[lesion], values[~lesion]
