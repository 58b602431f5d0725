"""Pixels that are brighter than both tissue and their reconstruction."""

from __future__ import annotations

import numpy as np

from ..evidence import above_tissue
from ._score import RECONSTRUCTION, TISSUE, Evidence, Score, Values, positive_residual
from ._smoothing import in_brain

EXCESS_MM, CHANGE_MM, DARK_MM = 1.5, 3.75, 3.0
"""Sigmas of the brightness, and of pixels brighter and darker than their reconstruction."""


def _compute(of: Evidence) -> Values:
    """Return the harmonic mean of two kinds of evidence, high where both are, plus half of the third: old cavities."""
    change = in_brain(of, positive_residual(of), CHANGE_MM)
    excess = in_brain(of, above_tissue(of.image), EXCESS_MM)
    dark = in_brain(of, np.maximum(of.reconstruction - of.image, np.float32(0)), DARK_MM)
    both = 2 * change * excess / np.maximum(change + excess, np.float32(1e-4))
    return np.asarray(both + 0.5 * dark, dtype=np.float32)


OFFERED = (
    Score(
        "bright-and-changed",
        "harmonic mean of the smoothed positive residual and the brightness above the tissue's, and half of the "
        "smoothed negative residual",
        _compute,
        (RECONSTRUCTION, TISSUE),
        whole=True,
        searched_for=frozenset({"denoiser"}),
        compared=True,
        place=8,
    ),
)
