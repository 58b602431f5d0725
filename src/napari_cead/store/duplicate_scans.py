"""Recognise the same scan in two files, under another name, in another format or with another margin."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..metrics.overlap import bounding_box

SAME = 0.012
"""Mean difference of two signatures of the same scan: rounding to 8 bits stays below, another brain is far above."""

_SLABS, _SIDE = 8, 32


def signature(scaled: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a coarse picture of the brain in its bounding box.

    Args:
        scaled: (Z, Y, X) in [0, 1], 0 outside the brain.
        brain: (Z, Y, X) bool, not empty.

    Returns:
        (8, 32, 32); (1, 32, 32) for a single slice.
    """
    inside = scaled[bounding_box(brain)]
    count = 1 if brain.shape[0] == 1 else _SLABS
    edges = np.linspace(0, len(inside), count + 1)
    slabs = [
        inside[int(low) : max(int(low) + 1, int(np.ceil(high)))].mean(axis=0) for low, high in pairwise(edges)
    ]
    pictures = [cv2.resize(slab, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for slab in slabs]
    return np.stack(pictures).astype(np.float32)


def alike(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Whether two signatures show the same scan."""
    return first.shape == second.shape and float(np.abs(first - second).mean()) < SAME
