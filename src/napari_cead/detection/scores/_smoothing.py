"""Smoothing of the inputs of scores."""

from __future__ import annotations

import numpy as np

from ..options import smoothed
from ._score import Evidence, Values, positive_residual

SMOOTHING_MM = 2.0
"""Sigma of the Gaussian of smoothed scores: about a box of 5 x 5 pixels on a grid of 1.4 mm."""


def in_brain(of: Evidence, values: Values, sigma_mm: float) -> Values:
    """Return values smoothed within the slice and the brain."""
    planes = values.reshape(-1, *values.shape[-2:])
    brain = np.broadcast_to(of.image > 0, values.shape).reshape(planes.shape)
    return smoothed(planes, brain, (sigma_mm / of.spacing[0], sigma_mm / of.spacing[1])).reshape(values.shape)


def smoothed_residual(of: Evidence) -> Values:
    """Return the positive residual smoothed."""
    return in_brain(of, positive_residual(of), SMOOTHING_MM)
