"""The threshold plot: voxels above each threshold, and the Dice at each threshold.

The *raw* curve is that of ``anomaly_map > threshold`` and comes from two histograms. The *processed* curve is that of
the mask after post-processing, at thresholds that fill in from coarse to fine; it depends on all settings but the
threshold. Its best point is rule ``oracle``: chosen on the displayed data, hence optimistic. It is a bound: no
suggested threshold, nor the current one, has a higher Dice with the same morphology. (The ``oracle`` of an evaluation
also searches morphologies.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..detection import PostprocessParams, postprocess
from ..detection.postprocessing import threads_for
from ..detection.steps import reach
from ..detection.thresholds import ScoreHistograms
from ..metrics import Counts
from ..metrics.overlap import as_mask, bounding_box
from ..progress import Stop, check_stop

NOW = "now"
"""Rule of the mark at the current threshold."""

ORACLE = "oracle (this patient)"
"""Rule of the mark at the best threshold on the displayed data."""

POINTS = 100
"""Approximate number of thresholds of a processed curve before its best point is refined."""

_BINS = 256

OnPoints = Callable[[NDArray[np.float64], NDArray[np.float64]], None]


@dataclass(frozen=True)
class Mark:
    """A threshold to mark in the plot.

    Attributes:
        rule: Its origin: `NOW`, `ORACLE`, or the rule of a model's suggestion.
        threshold: The threshold.
        dice: Dice of the volume at this threshold with the current settings; None if unknown.
    """

    rule: str
    threshold: float
    dice: float | None = None


@dataclass(frozen=True, eq=False)
class MapHistogram:
    """Histogram of an anomaly map inside the brain.

    Attributes:
        edges: (bins + 1,) from 0 to 1; a value on an edge counts below it, because it is not above that threshold.
        healthy: Voxels (bins,) outside the reference; all voxels without one.
        lesion: Voxels (bins,) of the reference; None without one.
    """

    edges: NDArray[np.float64]
    healthy: NDArray[np.int64]
    lesion: NDArray[np.int64] | None

    @classmethod
    def of(
        cls, anomaly_map: ArrayLike, brain: ArrayLike, reference: ArrayLike | None = None, bins: int = _BINS
    ) -> Self:
        """Count the voxels of one anomaly map.

        Args:
            anomaly_map: Anomaly in [0, 1], any shape.
            brain: Voxels that count, same shape.
            reference: Lesion mask of the same shape, or None.
            bins: Number of bins.

        Raises:
            ParameterError: If the shapes differ or ``bins`` is less than 1.
        """
        nothing = np.zeros(np.shape(anomaly_map), dtype=np.bool_) if reference is None else reference
        counts = ScoreHistograms.of(anomaly_map, nothing, brain, bins)
        lesion = None if reference is None else _binned(counts.lesion)
        return cls(np.arange(bins + 1) / bins, _binned(counts.healthy), lesion)


def _binned(passed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put the voxels above no threshold into the lowest bin."""
    counts = passed[1:].copy()
    counts[0] += passed[0]
    return counts


@dataclass(frozen=True, eq=False)
class DiceCurve:
    """Dice of the volume over the threshold.

    Attributes:
        thresholds: (n,) ascending.
        dice: (n,).
    """

    thresholds: NDArray[np.float64] = field(repr=False)
    dice: NDArray[np.float64] = field(repr=False)

    @property
    def best(self) -> tuple[float, float] | None:
        """Threshold of the highest Dice, the lowest one if several tie, and that Dice; None without a point."""
        if self.dice.size == 0:
            return None
        index = int(np.argmax(self.dice))
        return float(self.thresholds[index]), float(self.dice[index])

    def at(self, threshold: float) -> float | None:
        """Return the Dice at a threshold; None if the curve has no point there."""
        index = int(np.searchsorted(self.thresholds, threshold))
        if index == len(self.thresholds) or self.thresholds[index] != threshold:
            return None
        return float(self.dice[index])


def raw_curve(anomaly_map: ArrayLike, reference: ArrayLike | None, bins: int = _BINS) -> DiceCurve | None:
    """Return the Dice of ``anomaly_map > t``, before post-processing; None without a lesion to compare with.

    Args:
        anomaly_map: Anomaly in [0, 1], any shape.
        reference: Lesion mask of the same shape, or None.
        bins: Number of thresholds ``k / bins``.

    Raises:
        ParameterError: If the shapes differ or ``bins`` is less than 1.
    """
    if reference is None:
        return None
    counts = ScoreHistograms.of(anomaly_map, reference, None, bins)
    return DiceCurve(counts.thresholds, counts.dice()) if counts.lesion.any() else None


def curve_settings(params: PostprocessParams) -> PostprocessParams:
    """Return the settings that a processed curve depends on, all but the threshold: the key of stored curves."""
    return params.replace(threshold=0.0)


def threshold_grid(anomaly_map: ArrayLike, points: int = POINTS) -> tuple[float, ...]:
    """Return about this many thresholds, ascending, concentrated where the mask changes.

    Half are equally spaced up to the map's maximum. The numbers of voxels above the others form a geometric sequence,
    so that the few brightest voxels get as much of the grid as the many dark ones. All are round numbers that a slider
    can be set to.

    Args:
        anomaly_map: Anomaly in [0, 1], any shape.
        points: Largest number of thresholds, at least 4.
    """
    values = np.asarray(anomaly_map)
    values = np.sort(values[values > 0], axis=None)
    if values.size == 0:
        return (0.0,)
    peak = min(float(values[-1]), 1.0)
    above = np.geomspace(1, values.size, points - points // 2).astype(np.int64)
    wanted = np.concatenate([np.linspace(0.0, peak, points // 2), values[values.size - above]])
    scale = 10 ** _digits(peak)
    # Integers over a power of ten give exactly the numbers that people type.
    return tuple(float(step / scale) for step in np.unique(np.floor(wanted.clip(0, 1) * scale)))


def processed_curve(
    anomaly_map: ArrayLike,
    reference: ArrayLike,
    params: PostprocessParams,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    brain: ArrayLike | None = None,
    thresholds: Iterable[float] | None = None,
    also: Iterable[float] = (),
    known: Mapping[float, float] | None = None,
    workers: int | None = None,
    should_stop: Stop | None = None,
    on_points: OnPoints | None = None,
) -> DiceCurve | None:
    """Return the Dice of the post-processed mask over the threshold, with a refined best point.

    Exact: each Dice is ``dice(postprocess(anomaly_map, params.replace(threshold=t), spacing, brain), reference)``.
    The best point is the best of the thresholds tried: those of the grid, then the round numbers between the
    neighbours of the grid's best.

    Memory: the mask of one slice for each worker, and at most a copy of the map and the reference.

    Args:
        anomaly_map: Anomaly in [0, 1], (Z, Y, X).
        reference: Lesion mask (Z, Y, X).
        params: Settings; the threshold does not matter.
        spacing: Size of a voxel (z, y, x) in mm.
        brain: (Z, Y, X), above 0 is brain; None if unknown.
        thresholds: Grid of thresholds; None takes `threshold_grid`.
        also: Additional thresholds, such as suggested ones; they come first.
        known: Dice by threshold from an earlier call that was stopped, with the same map, reference and settings
            apart from the threshold; they are not computed again.
        workers: Threads, 1 stays in the calling thread; None takes one per core for large radii and 1 for small
            ones, where more do not help.
        should_stop: Called before every slice, from several threads.
        on_points: Called in the calling thread with all (thresholds, Dice) known so far, ascending, after each
            new point.

    Returns:
        The curve; None if there is no lesion to compare with.

    Raises:
        ParameterError: If a threshold is not in [0, 1].
        Cancelled: If ``should_stop()`` returned true.
    """
    inside = None if brain is None else as_mask(brain)
    volume = _Volume.of(np.asarray(anomaly_map), as_mask(reference), params, spacing, inside)
    if volume.lesion_voxels == 0:
        return None
    grid = sorted(set(threshold_grid(anomaly_map) if thresholds is None else thresholds))
    points = dict(known or {})
    threads = threads_for(params, workers)

    def fill(wanted: Iterable[float]) -> None:
        missing = [threshold for threshold in dict.fromkeys(map(float, wanted)) if threshold not in points]
        found = _in_threads(lambda threshold: volume.dice(threshold, should_stop), missing, threads)
        for threshold, dice in found:
            points[threshold] = dice
            if on_points is not None:
                on_points(*_sorted(points))

    fill([*also, *coarse_to_fine(grid)])
    curve = DiceCurve(*_sorted(points))
    if curve.best is not None:
        fill(coarse_to_fine(_between_neighbours(curve, curve.best[0], volume.peak)))
    return DiceCurve(*_sorted(points))


def marks(
    current: float,
    suggestions: Iterable[tuple[str, float]],
    curve: DiceCurve | None,
    *,
    finished: bool = True,
) -> tuple[Mark, ...]:
    """Return the marks of the plot: suggestions, the oracle of a finished curve, and last the current threshold.

    Args:
        current: Threshold of the current mask.
        suggestions: Rule and threshold of each suggestion.
        curve: Processed curve with the current settings; None without one.
        finished: Whether the curve is complete; before that, its best point is not the oracle.
    """

    def mark(rule: str, threshold: float) -> Mark:
        return Mark(rule, threshold, None if curve is None else curve.at(threshold))

    shown = [mark(rule, threshold) for rule, threshold in dict(suggestions).items()]
    if curve is not None and finished and curve.best is not None:
        shown.append(Mark(ORACLE, *curve.best))
    return (*shown, mark(NOW, current))


def coarse_to_fine(grid: Sequence[float]) -> list[float]:
    """Order thresholds so that every prefix of the list spreads over all of them: both ends, the middle, and so on."""
    if len(grid) < 3:
        return list(grid)
    order, seen = [0, len(grid) - 1], {0, len(grid) - 1}
    gap = 1 << (len(grid) - 1).bit_length()
    while gap > 1:
        for index in range(gap // 2, len(grid), gap):
            if index not in seen:
                order.append(index)
                seen.add(index)
        gap //= 2
    return [grid[index] for index in order]


@dataclass(frozen=True, eq=False)
class _Volume:
    """The data for one point of the curve, cropped to the box that no mask can leave.

    Attributes:
        anomaly_map: (Z, h, w).
        reference: (Z, h, w).
        params: Settings.
        spacing: Size of a voxel (z, y, x) in mm.
        brain: (Z, h, w); None if unknown.
        peaks: Largest value (Z,) of each slice.
        lesion_voxels: Voxels of the whole reference.
    """

    anomaly_map: NDArray[Any]
    reference: NDArray[np.bool_]
    params: PostprocessParams
    spacing: Sequence[float]
    brain: NDArray[np.bool_] | None
    peaks: NDArray[Any]
    lesion_voxels: int

    @classmethod
    def of(
        cls,
        anomaly_map: NDArray[Any],
        reference: NDArray[np.bool_],
        params: PostprocessParams,
        spacing: Sequence[float],
        brain: NDArray[np.bool_] | None,
    ) -> Self:
        if anomaly_map.shape != reference.shape or anomaly_map.ndim != 3:
            raise ValueError(
                f"map {anomaly_map.shape} and reference {reference.shape} must have one shape (Z, Y, X)"
            )
        # A closing stays inside the box of what is above the threshold; a dilation leaves it.
        beyond = reach((params,))
        above: NDArray[np.bool_] = np.any(anomaly_map > 0, axis=0)
        box = tuple(
            slice(max(side.start - beyond, 0), side.stop + beyond) if side.stop else slice(0, 1)
            for side in bounding_box(above)
        )
        inside = np.ascontiguousarray(anomaly_map[:, box[0], box[1]])
        return cls(
            anomaly_map=inside,
            reference=np.ascontiguousarray(reference[:, box[0], box[1]]),
            params=params,
            spacing=spacing,
            brain=None if brain is None else np.ascontiguousarray(brain[:, box[0], box[1]]),
            # NaN is never above a threshold: a peak must not hide its neighbours.
            peaks=np.fmax.reduce(inside, axis=(1, 2)),
            lesion_voxels=int(np.count_nonzero(reference)),
        )

    @property
    def peak(self) -> float:
        """Largest value of the map."""
        return float(np.fmax.reduce(self.peaks, initial=0.0))

    def dice(self, threshold: float, should_stop: Stop | None) -> float:
        """Return the Dice of the post-processed mask at a threshold."""
        params = self.params.replace(threshold=threshold)
        tp = detected = 0
        for z in np.flatnonzero(self.peaks > threshold):
            check_stop(should_stop)
            brain = None if self.brain is None else self.brain[z]
            mask = postprocess(self.anomaly_map[z], params, self.spacing, brain)
            detected += int(np.count_nonzero(mask))
            tp += int(np.count_nonzero(mask & self.reference[z]))
        return Counts(tp, detected - tp, self.lesion_voxels - tp).dice()


def _in_threads(
    dice: Callable[[float], float], thresholds: Sequence[float], workers: int
) -> Iterator[tuple[float, float]]:
    """Yield each threshold with its Dice, in order."""
    workers = min(workers, len(thresholds))
    if workers <= 1:
        for threshold in thresholds:
            yield threshold, dice(threshold)
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from zip(thresholds, pool.map(dice, thresholds), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _between_neighbours(curve: DiceCurve, threshold: float, peak: float) -> list[float]:
    """Return the round numbers between the neighbours of a point of the curve."""
    index = int(np.searchsorted(curve.thresholds, threshold))
    scale = 10 ** _digits(peak)
    low = curve.thresholds[max(index - 1, 0)]
    high = curve.thresholds[min(index + 1, len(curve.thresholds) - 1)]
    return [float(step / scale) for step in np.arange(np.ceil(low * scale), np.floor(high * scale) + 1)]


def _digits(peak: float) -> int:
    """Return the number of decimals of thresholds: those of a slider, more if the whole map is dark."""
    digits = 3
    while digits < 6 and peak * 10**digits < POINTS:
        digits += 1
    return digits


def _sorted(points: Mapping[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    thresholds = sorted(points)
    return np.array(thresholds), np.array([points[threshold] for threshold in thresholds])
