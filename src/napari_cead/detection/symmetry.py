"""Left and right of a brain: its midline, and the mirrored side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def midline(brain: NDArray[np.bool_]) -> int:
    """Return twice the column that the brain is most symmetric about: column x lies across from this minus x.

    Args:
        brain: (Z, Y, X) bool.
    """
    columns = 2 * brain.shape[2]
    # How many voxels lie on others when the brain is turned over, for every axis: a convolution with itself.
    spectrum = sum(np.square(np.fft.rfft(plane, columns, axis=-1)).sum(axis=0) for plane in brain)
    return int(np.argmax(np.fft.irfft(spectrum, columns).round()))


def mirrored(volume: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return a volume (Z, Y, X) mirrored at its midline, 0 where nothing lies across.

    Args:
        volume: (Z, Y, X).
        axis: As :func:`midline` gives it.
    """
    across = axis - np.arange(volume.shape[2])
    there = (across >= 0) & (across < volume.shape[2])
    result = np.zeros_like(volume)
    result[..., there] = volume[..., across[there]]
    return result
