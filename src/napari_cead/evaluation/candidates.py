"""The settings that every search tries: one set for cards, validation patients, the oracle and baselines alike.

Thresholds stand where the maps themselves have their values, so that a map that ends at 0.02 gets as many as one that
begins at 0.99. The numbers of voxels above neighbouring thresholds are in one ratio: the few brightest voxels, which a
small lesion is made of, get as much of the grid as the many dark ones.
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
"""Thresholds of the first pass of a search, at most."""

BETWEEN = 5
"""Thresholds between two neighbours of the first pass, for the second one."""

RAREST = 1e-6
"""Share of the voxels above the highest threshold of the first pass: about one in a brain."""

MORPHOLOGIES: tuple[PostprocessParams, ...] = (
    PostprocessParams(closing_radius=2, area_fraction=0.6, dilation_radius=1),
    PostprocessParams(closing_radius=1, area_fraction=0.6, dilation_radius=0),
    PostprocessParams(closing_radius=1, area_fraction=0.2, dilation_radius=0),
)
"""What a search tries beside thresholds: the paper's defaults; a tighter one for small lesions; and one that lets
smaller lesions beside a large one stay, which an area opening of 60 % drops."""

_RANKS = 2048


@dataclass(frozen=True, eq=False)
class Spread:
    """Which values maps have, and how often: a sample of them, exact among the brightest.

    Attributes:
        values: (n,) float32, positive, each once, descending.
        counts: (n,) int64, how many voxels each of them stands for.
    """

    values: NDArray[np.float32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Self:
        """Take a sample of the values of one map; what is not above 0 is above no threshold and left out."""
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
        """Return thresholds, ascending, that at least so many voxels are above.

        Args:
            wanted: Numbers of voxels. Where many share a value, several of them have one threshold.
        """
        if not self.values.size:
            return ()
        above = np.cumsum(self.counts)
        places = np.searchsorted(above, np.asarray(list(wanted), dtype=np.float64)).clip(max=len(above) - 1)
        below = np.append(self.values[1:], np.float32(0))
        return tuple(sorted({_between(below[place], self.values[place]) for place in places.tolist()}))

    def above(self, threshold: float) -> int:
        """Return how many voxels are above a threshold."""
        return int(self.counts[self.values > np.float32(threshold)].sum())


def coarse_thresholds(spread: Spread) -> tuple[float, ...]:
    """Return the thresholds of the first pass: from one that everything is above to one that next to nothing is."""
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
    """Return the settings of the first pass: all thresholds with the first morphology first, then what else there is.

    Args:
        thresholds: From :func:`coarse_thresholds`.
        also: What other rules have chosen.
        morphologies: Radii and areas; others than the usual ones are for a card that keeps those of its parent.
    """
    grid = [shape.replace(threshold=value) for shape in morphologies for value in thresholds]
    return list(dict.fromkeys([*grid, *also]))


def merged(coarse: Sequence[PostprocessParams], fine: Iterable[PostprocessParams]) -> list[PostprocessParams]:
    """Return settings in the order in which the first of several best ones wins: by morphology, then by threshold."""
    shapes: dict[PostprocessParams, int] = {}
    for params in coarse:
        shapes.setdefault(params.replace(threshold=0.0), len(shapes))
    every = dict.fromkeys([*coarse, *fine])
    return sorted(every, key=lambda params: (shapes[params.replace(threshold=0.0)], params.threshold))


def _distinct(
    values: NDArray[np.float32], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return each value once, descending, with all that it stands for."""
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
