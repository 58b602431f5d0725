"""Smooth random fields and the voxel grid they are drawn on: the source of all variety in the phantom."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Axes = tuple[Array, Array, Array]

EXTENT_MM = (150.0, 240.64, 240.64)
"""Field of view (z, y, x) in mm: 150 slices of 1 mm, 256 pixels of 0.94 mm."""


def stream(seed: int, number: int, purpose: str) -> np.random.Generator:
    """Return the random generator of one purpose in one patient.

    Each purpose has its own stream, so that a patient does not depend on how many others are made, and a
    change to, say, the noise leaves the anatomy as it was.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, number, crc32(purpose.encode())]))


@dataclass(frozen=True)
class Grid:
    """Voxel centres of a (Z, Y, X) volume, in mm from the centre of the field of view.

    Args:
        shape: Number of voxels (z, y, x); the field of view stays the same, so fewer voxels are larger ones.
    """

    shape: tuple[int, int, int]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) in mm."""
        z, y, x = (extent / count for extent, count in zip(EXTENT_MM, self.shape, strict=True))
        return z, y, x

    def axes(self) -> Axes:
        """Return the coordinates of the voxel centres along z, y and x in mm."""
        z, y, x = (
            ((np.arange(count) - (count - 1) / 2) * step).astype(np.float32)
            for count, step in zip(self.shape, self.spacing, strict=True)
        )
        return z, y, x


def smooth_field(
    rng: np.random.Generator,
    axes: Axes,
    scale: float | tuple[float, float, float],
    extent: tuple[float, float, float] = EXTENT_MM,
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Array:
    """Draw a random field of about unit variance: a cubic B-spline with independent normal coefficients.

    Only the coefficients are random, so the same generator gives the same field on any grid, and a field
    costs four passes over the volume however smooth it is.

    Args:
        rng: Generator that draws the coefficients.
        axes: Coordinates in mm along z, y and x.
        scale: Distance between the spline's knots in mm, one for all or one per axis.
        extent: Size of the region with knots in mm; outside, the field is constant.
        centre: Centre of that region in mm.

    Returns:
        The field, (Z, Y, X) float32.
    """
    scales = (scale, scale, scale) if isinstance(scale, int | float) else scale
    counts = [int(np.ceil(size / step)) + 3 for size, step in zip(extent, scales, strict=True)]
    field = rng.standard_normal(counts, dtype=np.float32)
    # The last axis first: the expensive step, along z, then adds whole contiguous planes.
    for axis in (2, 1, 0):
        position = (axes[axis] - (centre[axis] - extent[axis] / 2)) / scales[axis]
        position = np.clip(position, 0, counts[axis] - 3 - 1e-3)
        first = position.astype(np.intp)
        t = (position - first).astype(np.float32)
        weights = (
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        )
        along = tuple(-1 if other == axis else 1 for other in range(3))
        total: Array | None = None
        for tap, weight in enumerate(weights):
            part = np.take(field, first + tap, axis=axis)
            part *= weight.reshape(along)
            if total is None:
                total = part
            else:
                total += part
        assert total is not None
        field = total
    # The mean square of a cubic B-spline's weights is 151/315 per axis.
    field *= np.float32((315 / 151) ** 1.5)
    return field
