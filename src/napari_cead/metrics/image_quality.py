"""Reconstruction quality of healthy slices: residual, PSNR and SSIM, slice by slice.

Intensities are in [0, 1], so the data range is 1. The figures of a set of slices are **means over its slices**. A
slice with an exact reconstruction has an infinite PSNR, and then so has the mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .overlap import NAN

DATA_RANGE = 1.0


@dataclass(frozen=True, eq=False)
class ImageQuality:
    """Figures of slices; those of several patients add up: ``sum(parts, start=ImageQuality.empty())``.

    Attributes:
        psnr: Peak signal-to-noise ratio in dB of each slice (N,), over all its pixels.
        psnr_brain: The same over the pixels of the brain alone (N,), NaN for a slice without brain. Background is
            easy to reconstruct and raises `psnr`.
        ssim: Structural similarity of each slice (N,), mean over its pixels (7x7 windows; Wang et al. 2004).
        residual: Mean of |x - x̂| over the pixels of the brain of each slice (N,), NaN for a slice without brain.
    """

    psnr: NDArray[np.float64]
    psnr_brain: NDArray[np.float64]
    ssim: NDArray[np.float64]
    residual: NDArray[np.float64]

    @classmethod
    def empty(cls) -> ImageQuality:
        """Return the figures of no slices."""
        return cls(*(np.zeros(0) for _ in fields(cls)))

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
        # Imported late: scikit-image's metrics take longer to import than all other figures together.
        from skimage.metrics import structural_similarity

        pairs = [*zip(images.astype(np.float64), reconstructions.astype(np.float64), brain, strict=True)]
        return cls(
            _array(_psnr(image, made) for image, made, _ in pairs),
            _array(_psnr(image[inside], made[inside]) for image, made, inside in pairs),
            _array(structural_similarity(image, made, data_range=DATA_RANGE) for image, made, _ in pairs),
            _array(
                np.abs(image - made)[inside].mean() if inside.any() else NAN for image, made, inside in pairs
            ),
        )

    def __add__(self, other: ImageQuality) -> ImageQuality:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return ImageQuality(*(np.concatenate(pair) for pair in pairs))

    def means(self) -> dict[str, float | int]:
        """Return the means of PSNR and SSIM over slices by name and the number of ``slices``; NaN without slices."""
        inside = self.psnr_brain[~np.isnan(self.psnr_brain)]
        return {
            "psnr": float(self.psnr.mean()) if self.psnr.size else NAN,
            "psnr_brain": float(inside.mean()) if inside.size else NAN,
            "ssim": float(self.ssim.mean()) if self.ssim.size else NAN,
            "slices": self.psnr.size,
        }


def _psnr(image: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    from skimage.metrics import peak_signal_noise_ratio

    if not image.size:
        return NAN
    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(image, made, data_range=DATA_RANGE))


def _array(values: Iterable[float]) -> NDArray[np.float64]:
    return np.fromiter(values, dtype=np.float64)
