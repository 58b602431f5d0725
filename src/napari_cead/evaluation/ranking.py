"""Voxel-wise ranking figures of a cohort from counts by score, so that the cohort need not fit into memory.

Scores are float32, and voxels count as tied if their distances from 0, or from 1 if that is nearer, agree in the
leading 17 binary digits, one part in 65,536: a map that ends at 0.2 is compared as finely as one that ends at 1 or
crowds just below it. Equal scores stay tied. The error of AUROC is then at most half the chance that a lesion voxel
and another one agree this far without being equal. The errors of AUROC and of AUPRC, which depends on the few highest
scores, are below 1e-5 on the maps of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detection.thresholds import ScoreHistograms
from ..metrics import Candidates, froc
from ..metrics.overlap import NAN
from ..metrics.ranking import area_of_overlap, shares

_DROPPED = 7  # of the 23 binary digits of a float32's fraction
_LOWEST = int(np.float32(2.0**-24).view(np.uint32)) >> _DROPPED
_HALF = (int(np.float32(0.5).view(np.uint32)) >> _DROPPED) - _LOWEST + 1
_BINS = 2 * _HALF + 1
"""Bins of scores in [0, 1]; whatever is below 2^-24 is in the first, 1 is alone in the last, 0.5 in the middle."""


@dataclass(frozen=True, eq=False)
class RankCounts:
    """Number of lesion and other voxels of one patient with each score.

    Attributes:
        bins: (B,) int32 numbers of the bins that are not empty, increasing.
        healthy: (B,) int32 voxels outside lesions in each.
        ill: (L,) int32 numbers of the bins with lesion voxels, increasing.
        lesion: (L,) lesion voxels in each.
        overlap: (L,) the sum over the lesion voxels in each of the share that a voxel is of its lesion.
        regions: Number of lesions inside the brain.
    """

    bins: NDArray[np.int32]
    healthy: NDArray[np.int32]
    ill: NDArray[np.int32]
    lesion: NDArray[np.int64]
    overlap: NDArray[np.float64]
    regions: NDArray[np.int64]

    @classmethod
    def of(
        cls, anomaly_map: NDArray[np.float32], reference: NDArray[np.bool_], brain: NDArray[np.bool_]
    ) -> RankCounts:
        """Count the voxels of the brain of one anomaly map in [0, 1]; NaN ranks lowest."""
        lesion, every = reference[brain], _bins_of(anomaly_map[brain].astype(np.float32, copy=False))
        bins, voxels = np.unique(every, return_counts=True)
        ill, place, hit = np.unique(every[lesion], return_inverse=True, return_counts=True)
        voxels[np.searchsorted(bins, ill)] -= hit
        share, regions = shares(reference & brain)
        overlap: Any = np.bincount(place, weights=share, minlength=len(ill))
        return cls(bins, voxels.astype(np.int32), ill, hit, overlap, np.array(regions))

    def healthy_above(self, threshold: float) -> int:
        """Return the number of voxels outside lesions that are above a threshold."""
        return int(self.healthy[self.bins > _bins_of(np.array([threshold], np.float32))[0]].sum())


def _bins_of(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    scores = np.nan_to_num(scores, nan=0).clip(0, 1)
    high = scores > 0.5
    near = np.abs(np.where(high, 1 - scores, scores))  # exact; abs, because -0 has a sign bit
    bins = np.maximum((near.view(np.uint32) >> _DROPPED).view(np.int32) - np.int32(_LOWEST - 1), 0)
    return np.asarray(np.where(high, np.int32(_BINS - 1) - bins, bins), np.int32)


@dataclass(frozen=True, eq=False)
class Ranked:
    """The threshold-free figures of a cohort.

    Attributes:
        auroc: Area under the ROC curve; NaN if lesion or other voxels are missing.
        average_precision: Average precision (AUPRC); NaN without lesion voxels.
        dice_ceiling: Highest Dice of all voxels of the cohort under one threshold, without post-processing; NaN without
            lesion voxels.
        aupro: Area under the per-region overlap, see `metrics.aupro`.
        froc: Sensitivity at each of `metrics.FALSE_POSITIVES`; NaN without lesions.
    """

    auroc: float
    average_precision: float
    dice_ceiling: float
    aupro: float
    froc: tuple[float, ...]


@dataclass(eq=False)
class Pool:
    """The maps of patients added up, as far as their threshold-free figures need them; one method made them all.

    Attributes:
        counts: The voxels by score.
        overlap: By score, the sum over the lesion voxels of the share that a voxel is of its lesion.
        regions: Number of lesions inside the brains.
        candidates: The FROC candidates of each patient.
    """

    counts: ScoreHistograms = field(default_factory=lambda: pooled(()))
    overlap: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_BINS))
    regions: int = 0
    candidates: list[Candidates] = field(default_factory=list)

    def add(self, counts: RankCounts, candidates: Candidates) -> None:
        """Add a patient."""
        self.counts.lesion[counts.ill] += counts.lesion
        self.counts.healthy[counts.bins] += counts.healthy
        self.overlap[counts.ill] += counts.overlap
        self.regions += int(counts.regions)
        self.candidates.append(candidates)

    def ranked(self) -> Ranked:
        """Return the figures of all patients together."""
        # Many bins are empty. The lowest stays: thresholds begin above it.
        filled = (self.counts.lesion | self.counts.healthy) > 0
        filled[0] = True
        some = np.flatnonzero(filled)
        counts = ScoreHistograms(self.counts.lesion[some], self.counts.healthy[some])
        ceiling = float(counts.dice().max()) if counts.lesion.any() else NAN
        places = _BINS - 1 - some
        per_region = area_of_overlap(self.overlap[some], counts.healthy, self.regions, places)
        return Ranked(*ranking(counts), ceiling, per_region, froc(self.candidates))


Pools = MutableMapping[tuple[str, str, str], Pool]
"""By name, score and sequence."""


def pooled(cohort: Iterable[RankCounts]) -> ScoreHistograms:
    """Add up the counts of patients; the memory does not grow with their number."""
    lesion, healthy = np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64)
    for patient in cohort:
        lesion[patient.ill] += patient.lesion
        healthy[patient.bins] += patient.healthy
    return ScoreHistograms(lesion, healthy)


def ranking(histograms: ScoreHistograms) -> tuple[float, float]:
    """Return AUROC and average precision (AUPRC) over the voxels counted.

    These equal `metrics.auroc` and `metrics.average_precision` exactly, with the scores in one bin counted as ties.

    Args:
        histograms: Lesion and healthy voxels by score, added over all patients.

    Returns:
        AUROC, NaN if lesion or healthy voxels are missing; average precision, NaN without lesion voxels.
    """
    lesions, others = int(histograms.lesion.sum()), int(histograms.healthy.sum())
    if not lesions:
        return NAN, NAN
    steps = np.flatnonzero(histograms.lesion)
    lesion, healthy = histograms.lesion[steps], histograms.healthy[steps]
    not_above = np.cumsum(histograms.healthy)[steps]
    # Twice the number of pairs in the right order, in Python's integers: a cohort has more pairs than 64 bits hold.
    twice = (2 * not_above - healthy).tolist()
    pairs = sum(one * two for one, two in zip(lesion.tolist(), twice, strict=True))
    found = np.cumsum(lesion[::-1])[::-1]
    wrong = others - not_above + healthy
    average = float(np.sum(lesion * (found / (found + wrong))) / lesions)
    return (pairs / (2 * lesions * others) if others else NAN), average
