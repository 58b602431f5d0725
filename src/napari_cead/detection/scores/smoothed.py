"""The smoothed positive residual, alone and times the image."""

from __future__ import annotations

import numpy as np

from ._score import BRIGHT_HEADROOM, Evidence, Score, Values
from ._smoothing import SMOOTHING_MM, smoothed_residual


def _times_intensity(of: Evidence) -> Values:
    return np.asarray(smoothed_residual(of) * of.image)


OFFERED = (
    Score(
        "smoothed-residual",
        f"positive-residual smoothed by a Gaussian of {SMOOTHING_MM:g} mm within the slice",
        smoothed_residual,
        scaled=True,
        headroom=BRIGHT_HEADROOM,
        whole=True,
        searched_for=frozenset({"denoiser"}),
        place=5,
    ),
    Score(
        "smoothed-times-intensity",
        "smoothed-residual times the image",
        _times_intensity,
        scaled=True,
        headroom=BRIGHT_HEADROOM,
        whole=True,
        searched_for=frozenset({"denoiser"}),
        default_for={"denoiser": 1},
        place=7,
    ),
)
