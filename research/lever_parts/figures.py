"""Figures of maps: pooled Dice under thresholds of other folds, AUPRC, bootstrap intervals over patients.

Maps are compared by rank: bins lie at quantiles of the map, so that a score has the same figures as its square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cead.metrics import average_precision

from .scans import Scans

FOLDS = 5
RESAMPLES = 1000
Interval = tuple[float, float]


def folds(patients: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each patient: sizes differ by one at most."""
    fold = np.arange(patients) % FOLDS
    np.random.default_rng(seed).shuffle(fold)
    return fold


def edges_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return candidate thresholds, closer together among the highest fifth."""
    sample = values[:: max(1, len(values) // 200_000)]
    ranks = np.concatenate([np.linspace(0, 0.8, 300, endpoint=False), np.linspace(0.8, 1, 1500)])
    return np.unique(np.quantile(sample, ranks, method="lower"))


@dataclass(frozen=True, eq=False)
class Counted:
    """Lesion and healthy voxels of each patient at or above each candidate threshold.

    Attributes:
        edges: (T,) thresholds: a voxel is detected if its score is at least the threshold.
        tp: (P, T) detected lesion voxels.
        fp: (P, T) detected healthy voxels.
        lesion: (P,) lesion voxels.
    """

    edges: NDArray[np.float32]
    tp: NDArray[np.float64]
    fp: NDArray[np.float64]
    lesion: NDArray[np.float64]

    @classmethod
    def of(cls, maps: NDArray[np.float32], scans: Scans, edges: NDArray[np.float32] | None = None) -> Counted:
        """Count the voxels of the brain.

        Args:
            maps: (N, S, S).
            scans: The patients.
            edges: Candidate thresholds; None takes quantiles of the map.
        """
        inside = scans.brain
        values, sick = maps[inside], scans.lesion[inside]
        owner = np.repeat(scans.owner, inside.sum(axis=(1, 2)))
        edges = edges_of(values) if edges is None else edges
        width = len(edges) + 1
        place = owner * width + np.searchsorted(edges, values, side="right")
        size = len(scans) * width

        def above(which: NDArray[np.bool_]) -> NDArray[np.float64]:
            counts = np.bincount(place[which], minlength=size).reshape(len(scans), width)
            return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:].astype(np.float64)

        lesion = np.bincount(owner[sick], minlength=len(scans)).astype(np.float64)
        return cls(edges, above(sick), above(~sick), lesion)

    def best(self, patients: NDArray[np.bool_] | None = None) -> int:
        """Return the index of the threshold with the highest pooled Dice of some patients."""
        which = slice(None) if patients is None else patients
        tp, fp = self.tp[which].sum(axis=0), self.fp[which].sum(axis=0)
        return int((2 * tp / (tp + fp + self.lesion[which].sum())).argmax())

    def at(self, index: int) -> NDArray[np.float64]:
        """Return (P, 3): detected lesion voxels, detected healthy voxels, lesion voxels."""
        return np.stack([self.tp[:, index], self.fp[:, index], self.lesion], axis=1)

    def folded(self) -> NDArray[np.float64]:
        """As `at`, each fold under the best threshold of the other four."""
        fold, result = folds(len(self.lesion)), np.zeros((len(self.lesion), 3))
        for number in range(FOLDS):
            own = fold == number
            result[own] = self.at(self.best(~own))[own]
        return result


def dice_pooled(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pooled Dice from summed counts (..., 3)."""
    tp, fp, lesion = np.moveaxis(counts, -1, 0)
    return np.asarray(2 * tp / (tp + fp + lesion))


def drawn(patients: int) -> NDArray[np.float64]:
    """How often each patient was drawn (resamples, patients): the draws of `metrics.bootstrap`."""
    draws = np.random.default_rng(0).integers(patients, size=(RESAMPLES, patients))
    return np.stack([np.bincount(draw, minlength=patients) for draw in draws]).astype(np.float64)


def interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Figures:
    """What a map is worth on a cohort.

    Attributes:
        dice: ``dice_pooled``.
        auprc: Area under the precision-recall curve (average precision) over the voxels of all patients.
        threshold: The best for all patients together.
        dice_draws: (resamples,) ``dice_pooled`` of each bootstrap resample; the thresholds stay.
        auprc_draws: (resamples,) likewise.
    """

    dice: float
    auprc: float
    threshold: float
    dice_draws: NDArray[np.float64]
    auprc_draws: NDArray[np.float64]


def quick(maps: NDArray[np.float32], scans: Scans) -> float:
    """Pooled Dice by five folds."""
    return float(dice_pooled(Counted.of(maps, scans).folded().sum(axis=0)))


def figures(maps: NDArray[np.float32], scans: Scans, threshold: float | None = None) -> Figures:
    """Measure a map; the threshold by five folds, or the one given."""
    counted = Counted.of(maps, scans)
    if threshold is None:
        counts, best = counted.folded(), float(counted.edges[counted.best()])
    else:
        counts, best = Counted.of(maps, scans, np.array([threshold], np.float32)).at(0), threshold
    weights = drawn(len(scans))
    tp, fp = weights @ counted.tp[:, ::-1], weights @ counted.fp[:, ::-1]
    precision = tp / np.maximum(tp + fp, 1)
    recall = tp / (weights @ counted.lesion)[:, None]
    return Figures(
        float(dice_pooled(counts.sum(axis=0))),
        average_precision(maps, scans.lesion, scans.brain),
        best,
        dice_pooled(weights @ counts),
        (np.diff(recall, axis=1, prepend=0) * precision).sum(axis=1),
    )


def oracle(maps: NDArray[np.float32], scans: Scans) -> float:
    """Pooled Dice under the best threshold of these very scans: optimistic."""
    counted = Counted.of(maps, scans)
    return float(dice_pooled(counted.at(counted.best()).sum(axis=0)))
