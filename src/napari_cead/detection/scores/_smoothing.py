"""Smoothing of the inputs of scores."""

from __future__ import annotations

import numpy as np

from ..smoothing import smoothed_in_brain
from ._score import Evidence, Values, positive_residual

SMOOTHING_MM = 2.0
"""Sigma of the Gaussian of smoothed scores: about a box of 5 x 5 pixels on a grid of 1.4 mm."""


def in_brain(of: Evidence, values: Values, sigma_mm: float) -> Values:
    """Return values smoothed within the slice and the brain."""
    planes = values.reshape(-1, *values.shape[-2:])
    brain = np.broadcast_to(of.image > 0, values.shape).reshape(planes.shape)
    spacing = (1.0, *of.spacing)
    return smoothed_in_brain(planes, brain, spacing, sigma_mm, through=False).reshape(values.shape)


def smoothed_residual(of: Evidence) -> Values:
    """Return the positive residual smoothed."""
    return in_brain(of, positive_residual(of), SMOOTHING_MM)
