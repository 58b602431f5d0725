"""Smoothing inside the brain: a normalised convolution (Knutsson and Westin 1993), so that the rim is not darkened."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

TRUNCATE = 4.0
"""Where a Gaussian ends, in sigmas."""


def smoothed_in_brain(
    values: NDArray[np.float32],
    brain: NDArray[np.bool_],
    spacing: tuple[float, float, float],
    sigma_mm: float,
    *,
    through: bool = True,
) -> NDArray[np.float32]:
    """Return values smoothed by a Gaussian, from voxels of the brain alone, 0 outside it.

    Args:
        values: (Z, Y, X) float32.
        brain: (Z, Y, X) bool.
        spacing: Size of a voxel (z, y, x) in mm.
        sigma_mm: Sigma in mm.
        through: Whether to smooth through the slices too; a single slice has none beside it.
    """
    inside = brain.astype(np.float32)
    sigma = [sigma_mm / size for size in spacing]
    if not through or len(values) == 1:
        sigma[0] = 0.0
    total, weight = _gaussian(values * inside, sigma), _gaussian(inside, sigma)
    result = np.zeros_like(inside)
    np.divide(total, weight, out=result, where=brain)
    return result


def _gaussian(volume: NDArray[np.float32], sigma: list[float]) -> NDArray[np.float32]:
    """Smooth a volume (Z, Y, X) along each axis, 0 beyond it. OpenCV: several times faster than SciPy, to 1e-6."""
    depth, height, width = volume.shape
    one = np.ones(1, np.float32)
    down, across = (_kernel(value) for value in sigma[1:])
    result = np.empty_like(volume)
    for z in range(depth):
        result[z] = cv2.sepFilter2D(volume[z], -1, across, down, borderType=cv2.BORDER_CONSTANT)
    if sigma[0] > 0:
        columns = result.reshape(depth, height * width)
        through = cv2.sepFilter2D(columns, -1, one, _kernel(sigma[0]), borderType=cv2.BORDER_CONSTANT)
        result = through.reshape(volume.shape)
    return result


def _kernel(sigma: float) -> NDArray[np.float32]:
    radius = math.floor(TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    values = np.exp(-0.5 * np.square(offsets / max(sigma, 1e-6)))
    return np.asarray(values / values.sum(), dtype=np.float32)
