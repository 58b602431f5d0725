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
    width = brain.shape[2]
    rows = brain.reshape(-1, width).astype(np.float32)
    # How many rows have both columns of a pair, and how many voxels lie on others when the brain is turned over about
    # the middle of that pair: whole numbers, exact in single precision.
    pairs = rows.T @ rows
    axes = np.add.outer(np.arange(width), np.arange(width))
    return int(np.argmax(np.bincount(axes.ravel(), pairs.ravel())))


def mirrored(volume: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return a volume (Z, Y, X) mirrored at its midline, 0 where nothing lies across.

    Args:
        volume: (Z, Y, X).
        axis: As :func:`midline` gives it.
    """
    width = volume.shape[2]
    low, high = max(0, axis - width + 1), min(width, axis + 1)
    result = np.zeros_like(volume)
    result[..., low:high] = volume[..., axis - high + 1 : axis - low + 1][..., ::-1]
    return result
