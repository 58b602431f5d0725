"""Histograms of a raw anomaly map, before post-processing: Dice at every threshold, healthy quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from ..metrics.overlap import as_mask


@dataclass(frozen=True, eq=False)
class ScoreHistograms:
    """How many lesion and healthy voxels lie between which thresholds.

    Histograms of patients add up to those of the cohort, so that a cohort need not fit into memory:
    ``sum(parts, start=ScoreHistograms.empty())``.

    Attributes:
        lesion: Lesion voxels (bins + 1,): entry ``k`` counts those above exactly ``k`` of the `thresholds`.
        healthy: All other voxels (bins + 1,), counted likewise.
    """

    lesion: NDArray[np.int64]
    healthy: NDArray[np.int64]

    @classmethod
    def empty(cls, bins: int = 256) -> ScoreHistograms:
        """Return the histograms of no voxels."""
        return cls(np.zeros(bins + 1, dtype=np.int64), np.zeros(bins + 1, dtype=np.int64))

    @classmethod
    def of(
        cls, anomaly_map: ArrayLike, reference: ArrayLike, brain: ArrayLike | None = None, bins: int = 256
    ) -> ScoreHistograms:
        """Count the voxels of one anomaly map.

        Args:
            anomaly_map: Anomaly in [0, 1], any shape; NaN is above no threshold.
            reference: Lesion mask of the same shape; values > 0 are in it.
            brain: Voxels that count, same shape; None takes all.
            bins: Number of thresholds.

        Raises:
            ParameterError: If the shapes differ or ``bins`` is less than 1.
        """
        if bins < 1:
            raise ParameterError(f"at least one bin is needed, not {bins}", hint="256 are usual")
        scores, lesion = np.asarray(anomaly_map), as_mask(reference)
        _same_shape(scores, lesion, "reference")
        single = scores.dtype.kind == "f" and scores.dtype.itemsize <= 4
        scores = scores.astype(np.float32 if single else np.float64, copy=False)
        inside = None if brain is None else as_mask(brain)
        if inside is not None:
            _same_shape(scores, inside, "brain")
            voxels, lesions = int(np.count_nonzero(inside)), int(np.count_nonzero(lesion & inside))
        else:
            voxels, lesions = scores.size, int(np.count_nonzero(lesion))
        # Most of a scan is background at exactly 0, above no threshold: only the rest has to be binned.
        positive = scores > 0 if inside is None else (scores > 0) & inside
        passed = _thresholds_passed(scores[positive], bins)
        passed[lesion[positive]] += bins + 1
        counts = np.bincount(passed, minlength=2 * (bins + 1)).reshape(2, bins + 1).astype(np.int64)
        counts[0, 0] += voxels - lesions - counts[0].sum()
        counts[1, 0] += lesions - counts[1].sum()
        return cls(lesion=counts[1], healthy=counts[0])

    def __add__(self, other: ScoreHistograms) -> ScoreHistograms:
        return ScoreHistograms(self.lesion + other.lesion, self.healthy + other.healthy)

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Thresholds (bins,): ``k / bins`` for k from 0 to bins - 1."""
        bins = len(self.lesion) - 1
        return np.arange(bins) / bins

    def dice(self) -> NDArray[np.float64]:
        """Return the Dice (bins,) of ``anomaly_map > t`` at each threshold; NaN where both masks are empty."""
        tp, fp = _above(self.lesion), _above(self.healthy)
        total = tp + fp + self.lesion.sum()
        result = np.full(total.shape, np.nan)
        np.divide(2 * tp, total, out=result, where=total > 0)
        return result

    def healthy_quantile(self, quantile: float) -> float:
        """Return the lowest threshold with at most ``1 - quantile`` of the healthy voxels above it, at most 1.

        Raises:
            ParameterError: If there is no healthy voxel or the quantile is not in [0, 1].
        """
        _check_quantile(quantile)
        total = int(self.healthy.sum())
        if total == 0:
            raise ParameterError(
                "a quantile of healthy voxels needs at least one healthy voxel",
                hint="give a patient with healthy brain in it",
            )
        few = np.flatnonzero(total - _above(self.healthy) >= quantile * total)
        return float(self.thresholds[few[0]]) if few.size else 1.0


def _thresholds_passed(scores: NDArray[np.floating], bins: int) -> NDArray[np.intp]:
    """Return for each score, all > 0, how many of the thresholds ``k / bins`` it is above."""
    # Thresholds as the scores' own type, which is how NumPy compares an array with a Python number.
    edges = (np.arange(bins) / bins).astype(scores.dtype)
    passed = np.minimum(np.ceil(scores * scores.dtype.type(bins)), bins).astype(np.intp)
    if bins & (bins - 1):  # a product with a power of two is exact, any other may be one off by rounding
        passed -= scores <= edges[passed - 1]
        passed += scores > np.append(edges, scores.dtype.type(np.inf))[passed]
    return passed


def _above(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many voxels lie above each threshold."""
    return np.cumsum(counts[::-1])[::-1][1:]


def _same_shape(scores: NDArray[np.floating], other: NDArray[np.bool_], name: str) -> None:
    if scores.shape != other.shape:
        raise ParameterError(
            f"anomaly map {scores.shape} and {name} {other.shape} differ in shape",
            hint="give both on one grid",
        )


def _check_quantile(quantile: float) -> None:
    if not 0.0 <= quantile <= 1.0:
        raise ParameterError(f"a quantile lies from 0 to 1, not {quantile!r}", hint="0.995 is usual")
