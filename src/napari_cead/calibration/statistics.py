"""Spatial variation of a model's residual on healthy slices: maps of its mean and standard deviation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SMOOTHING = 2.0
"""Sigma in pixels of the Gaussian over which the moments of neighbouring pixels are pooled."""

MIN_STD = 0.01
"""Floor of the standard deviation: 2.5 grey levels of 8 bits."""

_MIN_SLICES = 1.0  # with fewer pooled slices, a pixel takes the values of the whole brain


class HealthyStatistics:
    """Running sums of the residual |x - x̂| at every pixel, over brain pixels of healthy slices.

    Args:
        size: Side of the model's image in pixels.
    """

    def __init__(self, size: int) -> None:
        self._sums = np.zeros((3, size, size))  # slices with brain here, sum, sum of squares

    def add(
        self, images: NDArray[np.float32], reconstructions: NDArray[np.float32], brain: NDArray[np.bool_]
    ) -> None:
        """Add slices (N, S, S) with their reconstructions and brain pixels."""
        residual = np.where(brain, np.abs(images - reconstructions), 0).astype(np.float64)
        self._sums += (brain.sum(axis=0), residual.sum(axis=0), np.square(residual).sum(axis=0))

    def maps(self) -> dict[str, NDArray[np.float32]]:
        """Return ``residual_mean`` and ``residual_std`` (S, S); empty if no brain pixel was added.

        They are moments over the slices and over a small Gaussian neighbourhood, so that a pixel's own noise does
        not replace its statistics. Pixels far from any brain take the moments of all brain pixels, and the standard
        deviation is at least `MIN_STD`.
        """
        total = self._sums.sum(axis=(1, 2))
        if not total[0]:
            return {}
        count, first, second = (
            ndimage.gaussian_filter(plane, SMOOTHING, mode="constant") for plane in self._sums
        )
        known = count >= _MIN_SLICES
        mean = np.divide(first, count, out=np.full_like(count, total[1] / total[0]), where=known)
        square = np.divide(second, count, out=np.full_like(count, total[2] / total[0]), where=known)
        std = np.maximum(np.sqrt(np.maximum(square - mean**2, 0)), MIN_STD)
        return {"residual_mean": mean.astype(np.float32), "residual_std": std.astype(np.float32)}
