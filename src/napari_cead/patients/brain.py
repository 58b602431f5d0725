"""Where the brain is: the largest piece of non-zero voxels, its holes filled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..metrics.overlap import bounding_box


def brain_mask(volume: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the brain of a skull-stripped volume.

    Args:
        volume: (Z, Y, X) intensities, background exactly 0. Negative values belong to the brain.

    Returns:
        (Z, Y, X) bool: the largest 26-connected component of non-zero voxels, holes filled in 3-D
        (in 2-D for a single slice). All false for a volume of zeros.
    """
    return largest_piece(np.asarray(np.asarray(volume) != 0))


def largest_piece(inside: NDArray[np.bool_], *, faces_only: bool = False) -> NDArray[np.bool_]:
    """Return the largest piece of a mask, its holes filled as in :func:`brain_mask`.

    Args:
        inside: (Z, Y, X) bool.
        faces_only: Whether voxels are joined through their faces alone, not through edges and corners.
    """
    if not inside.any():
        return inside
    box = bounding_box(inside)
    result = np.zeros_like(inside)
    result[box] = _fill_holes(largest_component(inside[box], faces_only=faces_only))
    return result


def largest_component(mask: NDArray[np.bool_], *, faces_only: bool = True) -> NDArray[np.bool_]:
    """Return the largest connected component of a mask.

    Args:
        mask: (Z, Y, X) bool.
        faces_only: As for :func:`largest_piece`.
    """
    labels, count = ndimage.label(mask, structure=None if faces_only else np.ones((3, 3, 3)))
    if count <= 1:
        return mask
    sizes = np.zeros(count + 1, dtype=np.int64)
    for plane in labels:  # slice by slice: bincount turns what it gets into 64-bit numbers
        sizes += np.bincount(plane.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill background that does not reach the border (6-connected): ``binary_fill_holes``, but in one pass."""
    single = mask.shape[0] == 1
    # The box touches the mask on every side, so a frame of background stands for the world outside.
    padded = np.pad(mask, ((0, 0) if single else (1, 1), (1, 1), (1, 1)))
    labels, _ = ndimage.label(~padded)
    filled = labels != labels[0, 0, 0]
    return np.asarray(filled[(slice(None) if single else slice(1, -1)), 1:-1, 1:-1])
