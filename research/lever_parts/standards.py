"""Intensity standardisation: bringing a scan's intensities to those of lesion-free scans.

All maps keep 0 at 0 and are measured on the brain's values (n,) of a whole scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.exposure import match_histograms

from napari_cead.slices.intensity import LIQUID

PERCENTILES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
"""Landmarks (Nyúl, Udupa and Zhang 2000)."""

STANDARDS = ("nyul", "match", "tissue", "peak")

Values = NDArray[Any]


def landmarks(values: Values) -> Values:
    return np.percentile(values.astype(np.float64), PERCENTILES)


def nyul(values: Values, own: Values, standard: Values) -> Values:
    """Map linearly between landmarks: ``own`` go to ``standard``, 0 to 0, beyond the last with the last slope.

    Args:
        values: Intensities, any shape.
        own: (n,) landmarks of the scan, increasing; equal ones count once.
        standard: (n,) where they belong, increasing.
    """
    start, where = np.unique(np.concatenate([[0.0], own]), return_index=True)
    goal = np.concatenate([[0.0], standard])[where]
    mapped = np.interp(values, start, goal)
    slope = (goal[-1] - goal[-2]) / (start[-1] - start[-2])
    return np.where(values > start[-1], goal[-1] + slope * (values - start[-1]), mapped)


def tissue_level(values: Values) -> float:
    """Median of what is not liquid."""
    return float(np.median(values[values > LIQUID * np.median(values)]))


def tissue_peak(values: Values) -> float:
    """Mode of what is not liquid: on FLAIR, white matter's, unless most of the tissue is sick."""
    middle = float(np.median(values))
    counts, edges = np.histogram(values, bins=64, range=(LIQUID * middle, 1.6 * middle))
    best = int(np.convolve(counts, np.ones(7), "same").argmax())
    return float(edges[best] + edges[best + 1]) / 2


@dataclass(frozen=True, eq=False)
class Standard:
    """What lesion-free scans have in common.

    Attributes:
        landmarks: Mean landmarks.
        histogram: (1001,) mean quantile function, a sample whose histogram is the mean healthy one.
        tissue: Mean level of tissue.
        peak: Mean mode of tissue.
    """

    landmarks: Values
    histogram: Values
    tissue: float
    peak: float

    @classmethod
    def of(cls, scans: Sequence[Values]) -> Standard:
        """Learn it from the brain's values (n,) of each scan."""
        grid = np.linspace(0, 1, 1001)
        return cls(
            np.mean([landmarks(values) for values in scans], axis=0),
            np.mean([np.quantile(values, grid) for values in scans], axis=0),
            float(np.mean([tissue_level(values) for values in scans])),
            float(np.mean([tissue_peak(values) for values in scans])),
        )

    def apply(self, kind: str, values: Values) -> NDArray[np.float32]:
        """Return the brain's values (n,) of a scan brought to the standard; not clipped."""
        if kind == "nyul":
            result = nyul(values, landmarks(values), self.landmarks)
        elif kind == "match":
            result = match_histograms(values.astype(np.float64), self.histogram)
        elif kind == "tissue":
            result = values * (self.tissue / tissue_level(values))
        elif kind == "peak":
            result = values * (self.peak / tissue_peak(values))
        elif kind == "none":
            result = values
        else:
            raise ValueError(kind)
        return np.asarray(result, dtype=np.float32)
