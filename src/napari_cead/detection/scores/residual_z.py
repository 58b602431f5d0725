"""The residual relative to that of healthy slices at the same place."""

from __future__ import annotations

import numpy as np

from ._score import RECONSTRUCTION, RESIDUAL_MEAN, RESIDUAL_STD, STATISTICS, Evidence, Score, Values, residual


def _compute(of: Evidence) -> Values:
    mean, std = of.statistics[RESIDUAL_MEAN], of.statistics[RESIDUAL_STD]
    return np.asarray(np.maximum((residual(of) - mean) / std, np.float32(0)))


OFFERED = (
    Score(
        "residual-z",
        "residual in standard deviations above that of healthy slices at the same place",
        _compute,
        (RECONSTRUCTION, STATISTICS),
        scaled=True,
        place=11,
    ),
)
