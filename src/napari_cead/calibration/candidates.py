"""The settings that every search tries: one set for cards, validation patients, the oracle and baselines alike.

Thresholds follow the values of the maps, so that a map that ends at 0.02 gets as many as one that begins at 0.99. The
numbers of voxels above neighbouring thresholds have a constant ratio: the few brightest voxels, which make up a small
lesion, get as much of the grid as the many dark ones.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..detection import PostprocessParams

COARSE = 33
"""Largest number of thresholds in the first pass of a search."""

BETWEEN = 5
"""Number of thresholds between two neighbours of the first pass, for the second pass."""

RAREST = 1e-6
"""Share of the voxels above the highest threshold of the first pass: about one in a brain."""

MORPHOLOGIES: tuple[PostprocessParams, ...] = (
    PostprocessParams(closing_radius=2, area_fraction=0.6, dilation_radius=1),
    PostprocessParams(closing_radius=1, area_fraction=0.6, dilation_radius=0),
    PostprocessParams(closing_radius=1, area_fraction=0.2, dilation_radius=0),
)
"""The morphologies of a search: the paper's defaults; a tighter one for small lesions; and one that keeps smaller
lesions beside a large one, which an area opening of 60 % drops."""

_RANKS = 2048


@dataclass(frozen=True, eq=False)
class Spread:
    """Distribution of the values of maps: a sample, exact among the brightest.

    Attributes:
        values: (n,) float32, positive, each once, descending.
        counts: (n,) int64, the number of voxels that each of them stands for.
    """

    values: NDArray[np.float32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Self:
        """Take a sample of the values of one map; values of 0 and below, above no threshold, are left out."""
        bright = np.sort(values[values > 0])[::-1]
        if not bright.size:
            return cls(bright, np.zeros(0, dtype=np.int64))
        ranks = np.unique(np.geomspace(1, bright.size, _RANKS).astype(np.int64))
        return cls(*_distinct(bright[ranks - 1], np.diff(ranks, prepend=0)))

    @classmethod
    def together(cls, parts: Iterable[Spread]) -> Self:
        """Return the values of several maps."""
        found = list(parts)
        if not found:
            return cls.of(np.zeros(0, dtype=np.float32))
        columns = zip(*((part.values, part.counts) for part in found), strict=True)
        return cls(*_distinct(*(np.concatenate(column) for column in columns)))

    def thresholds(self, wanted: Iterable[float]) -> tuple[float, ...]:
        """Return thresholds, ascending, that at least the wanted numbers of voxels exceed.

        Args:
            wanted: Numbers of voxels. If many voxels share a value, several numbers have the same threshold.
        """
        if not self.values.size:
            return ()
        above = np.cumsum(self.counts)
        places = np.searchsorted(above, np.asarray(list(wanted), dtype=np.float64)).clip(max=len(above) - 1)
        below = np.append(self.values[1:], np.float32(0))
        return tuple(sorted({_between(below[place], self.values[place]) for place in places.tolist()}))

    def above(self, threshold: float) -> int:
        """Return the number of voxels above a threshold."""
        return int(self.counts[self.values > np.float32(threshold)].sum())


def coarse_thresholds(spread: Spread) -> tuple[float, ...]:
    """Return the thresholds of the first pass: from one that every voxel exceeds to one that almost none does."""
    voxels = int(spread.counts.sum())
    if not voxels:
        return (0.0,)
    return spread.thresholds(np.geomspace(max(voxels * RAREST, 1), voxels, COARSE))


def fine_thresholds(spread: Spread, thresholds: Sequence[float], best: float) -> tuple[float, ...]:
    """Return the thresholds of the second pass: between the neighbours of the best of the first.

    Args:
        spread: Of the same maps.
        thresholds: Those of the first pass.
        best: The best of them, or another one.
    """
    low, high = bisect_left(thresholds, best) - 1, bisect_right(thresholds, best)
    most = spread.above(thresholds[low]) if low >= 0 else int(spread.counts.sum())
    least = spread.above(thresholds[high]) if high < len(thresholds) else 1
    middle = min(max(spread.above(best), least, 1), max(most, 1))
    wanted = [
        *np.geomspace(max(least, 1), middle, BETWEEN + 2)[:-1],
        *np.geomspace(middle, max(most, 1), BETWEEN + 2)[:-1],
    ]
    return spread.thresholds(wanted)


def coarse_grid(
    thresholds: Sequence[float],
    also: Iterable[PostprocessParams] = (),
    morphologies: Sequence[PostprocessParams] = MORPHOLOGIES,
) -> list[PostprocessParams]:
    """Return the settings of the first pass: all thresholds with the first morphology first, then the rest.

    Args:
        thresholds: From :func:`coarse_thresholds`.
        also: Choices of other rules.
        morphologies: Radii and areas; other than the usual ones for a card that keeps those of its parent.
    """
    grid = [shape.replace(threshold=value) for shape in morphologies for value in thresholds]
    return list(dict.fromkeys([*grid, *also]))


def merged(coarse: Sequence[PostprocessParams], fine: Iterable[PostprocessParams]) -> list[PostprocessParams]:
    """Return settings in the order in which the first of equally good ones wins: by morphology, then by threshold."""
    shapes: dict[PostprocessParams, int] = {}
    for params in coarse:
        shapes.setdefault(params.replace(threshold=0.0), len(shapes))
    every = dict.fromkeys([*coarse, *fine])
    return sorted(every, key=lambda params: (shapes[params.replace(threshold=0.0)], params.threshold))


def _distinct(
    values: NDArray[np.float32], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return each value once, descending, with the total number of its voxels."""
    found, places = np.unique(values, return_inverse=True)
    together = np.zeros(len(found), dtype=np.int64)
    np.add.at(together, places, counts)
    return found[::-1], together[::-1]


def _between(low: np.float32, high: np.float32) -> float:
    """Return the roundest threshold that ``high`` is above and ``low`` is not."""
    for digits in range(1, 10):
        found: float = math.ceil(float(low) * 10**digits) / 10**digits
        if low <= np.float32(found) < high:
            return found
    return float(low)
