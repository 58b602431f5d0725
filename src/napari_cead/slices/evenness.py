"""Check whether one side of a scan is brighter than the other, as with an uneven coil."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .intensity import LIQUID

LEAST_SLICES = 8
"""Smallest number of slices with much brain: in fewer, a large lesion may be the cause of the brightness."""

UNEVEN = 0.12
"""Smallest difference between the tissue of two sides that is reported: a fifth at the rims costs a third of the Dice
of ``ce-unet`` (docs/explanation/results.md); a real scan with its bias field corrected had 0.002."""

_SLICES = 12
_LARGE = 0.5  # of the largest area of brain


class SideRatios(NamedTuple):
    """Median of the tissue in the outer third of one side over that of the other.

    Attributes:
        left: Of the patient's left over the right.
        back: Of the back over the front.
    """

    left: float
    back: float


def side_ratios(volume: NDArray[np.float32], brain: NDArray[np.bool_]) -> SideRatios | None:
    """Compare the sides of a scan; None if it has too few slices with much brain.

    Args:
        volume: (Z, Y, X) intensities in canonical LPS order, on any scale that keeps 0.
        brain: (Z, Y, X) bool.
    """
    areas = brain.sum(axis=(1, 2))
    large = np.flatnonzero(areas >= _LARGE * areas.max(initial=1))
    if len(large) < LEAST_SLICES:
        return None
    chosen = large[np.unique(np.linspace(0, len(large) - 1, min(_SLICES, len(large))).round().astype(int))]
    values, inside = volume[chosen], brain[chosen]
    tissue = inside & (values > LIQUID * np.median(values[inside]))
    levels, places = values[tissue], np.nonzero(tissue)
    found = []
    for place in (places[2], places[1]):
        low, high = np.quantile(place, (1 / 3, 2 / 3))
        one, other = (np.median(levels[part]) for part in (place >= high, place <= low))
        if not other > 0:
            return None
        found.append(float(one / other))
    return SideRatios(*found)


def unevenness(volume: NDArray[np.float32], brain: NDArray[np.bool_]) -> str:
    """Describe in one clause which side of a scan is clearly brighter; empty if none is, or it cannot be told.

    Args:
        volume: As for `side_ratios`.
        brain: (Z, Y, X) bool.
    """
    ratios = side_ratios(volume, brain)
    if ratios is None:
        return ""
    sides = (("left", "right", ratios.left), ("back", "front", ratios.back))
    one, other, ratio = max(sides, key=lambda side: abs(math.log(side[2])))
    if ratio < 1:
        one, other, ratio = other, one, 1 / ratio
    return (
        "" if ratio < 1 + UNEVEN else f"the {one} of the brain is {ratio - 1:.0%} brighter than the {other}"
    )
