"""Reconstruction quality of healthy slices: PSNR and SSIM, slice by slice.

Intensities are in [0, 1], so the data range is 1. The figures of a set of slices are **means over its slices**. A
slice with an exact reconstruction has an infinite PSNR, and then so has the mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .overlap import NAN

DATA_RANGE = 1.0

WINDOW = 7
"""Side of the windows of SSIM, in pixels."""


@dataclass(frozen=True, eq=False)
class ImageQuality:
    """PSNR and SSIM of slices; those of several patients add up: ``sum(parts, start=ImageQuality.empty())``.

    Attributes:
        psnr: Peak signal-to-noise ratio in dB of each slice (N,), over all its pixels.
        psnr_brain: The same over the pixels of the brain alone (N,), NaN for a slice without brain. Background is
            easy to reconstruct and raises `psnr`.
        ssim: Structural similarity of each slice (N,), mean over its pixels (7x7 windows; Wang et al. 2004).
    """

    psnr: NDArray[np.float64]
    psnr_brain: NDArray[np.float64]
    ssim: NDArray[np.float64]

    @classmethod
    def empty(cls) -> ImageQuality:
        """Return the figures of no slices."""
        return cls(*(np.zeros(0) for _ in range(3)))

    @classmethod
    def of(
        cls, images: NDArray[np.floating], reconstructions: NDArray[np.floating], brain: NDArray[np.bool_]
    ) -> ImageQuality:
        """Compare slices with their reconstructions.

        Args:
            images: Slices (N, Y, X), intensities in [0, 1]; each side at least 7 pixels.
            reconstructions: The network's reconstructions, same shape.
            brain: Pixels of the brain, same shape.

        Raises:
            ValueError: If the shapes differ or are not (N, Y, X).
        """
        if images.ndim != 3 or images.shape != reconstructions.shape or images.shape != brain.shape:
            raise ValueError(
                f"images {images.shape}, reconstructions {reconstructions.shape} and brain {brain.shape} "
                "must have one shape (N, Y, X)"
            )
        if min(images.shape[1:]) < WINDOW:
            raise ValueError(f"slices of {images.shape[1:]} pixels are smaller than the windows of SSIM")
        pairs = [*zip(images.astype(np.float64), reconstructions.astype(np.float64), brain, strict=True)]
        return cls(
            _array(_psnr(image, made) for image, made, _ in pairs),
            _array(_psnr(image[inside], made[inside]) for image, made, inside in pairs),
            _array(_ssim(image, made) for image, made, _ in pairs),
        )

    def __add__(self, other: ImageQuality) -> ImageQuality:
        return ImageQuality(
            np.concatenate([self.psnr, other.psnr]),
            np.concatenate([self.psnr_brain, other.psnr_brain]),
            np.concatenate([self.ssim, other.ssim]),
        )

    def means(self) -> dict[str, float | int]:
        """Return the means over slices by name and the number of ``slices``; NaN without slices."""
        inside = self.psnr_brain[~np.isnan(self.psnr_brain)]
        return {
            "psnr": float(self.psnr.mean()) if self.psnr.size else NAN,
            "psnr_brain": float(inside.mean()) if inside.size else NAN,
            "ssim": float(self.ssim.mean()) if self.ssim.size else NAN,
            "slices": self.psnr.size,
        }


# As scikit-image computes them, bit for bit; to import it takes longer than the figures of a patient.


def _psnr(image: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    if not image.size:
        return NAN
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(DATA_RANGE**2 / np.mean((image - made) ** 2, dtype=np.float64)))


def _ssim(image: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    one, other = (ndimage.uniform_filter(each, WINDOW) for each in (image, made))
    squares, others, products = (
        ndimage.uniform_filter(each, WINDOW) for each in (image * image, made * made, image * made)
    )
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    variances = unbiased * (squares - one * one), unbiased * (others - other * other)
    covariance = unbiased * (products - one * other)
    c1, c2 = (0.01 * DATA_RANGE) ** 2, (0.03 * DATA_RANGE) ** 2
    likeness = ((2 * one * other + c1) * (2 * covariance + c2)) / (
        (one**2 + other**2 + c1) * (variances[0] + variances[1] + c2)
    )
    inner = slice(WINDOW // 2, -(WINDOW // 2))  # windows that lie inside the slice
    return float(likeness[inner, inner].mean(dtype=np.float64))


def _array(values: Iterable[float]) -> NDArray[np.float64]:
    return np.fromiter(values, dtype=np.float64)
