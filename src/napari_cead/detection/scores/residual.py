"""Scores of the residual, pixel by pixel."""

from __future__ import annotations

import numpy as np

from ._score import BRIGHT_HEADROOM, Evidence, Score, Values, positive_residual, residual


def _squared(of: Evidence) -> Values:
    return np.asarray(np.square(of.image - of.reconstruction))


def _times_intensity(of: Evidence) -> Values:
    return np.asarray(positive_residual(of) * of.image)


OFFERED = (
    Score(
        "residual",
        "absolute difference between image and reconstruction (the paper)",
        residual,
        like="residual",
        searched_for=frozenset({"autoencoder"}),
        compared=True,
        place=1,
    ),
    Score(
        "positive-residual",
        "brighter than its reconstruction",
        positive_residual,
        like="residual",
        searched_for=frozenset({"autoencoder", "denoiser"}),
        default_for={"autoencoder": 1},  # lesions are bright on FLAIR
        compared=True,
        place=2,
    ),
    Score(
        "squared",
        "squared difference between image and reconstruction",
        _squared,
        compared=True,
        place=3,
    ),
    Score(
        "residual-times-intensity",
        "positive-residual times the image: what is both unexpected and bright",
        _times_intensity,
        scaled=True,
        headroom=BRIGHT_HEADROOM,
        searched_for=frozenset({"denoiser"}),
        place=6,
    ),
)
