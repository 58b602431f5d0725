"""Bringing a volume from one grid onto another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Grid


def resample(
    data: NDArray[Any],
    source: Grid,
    target: Grid,
    order: int,
    *,
    moved: NDArray[np.float64] | None = None,
) -> NDArray[Any]:
    """Return a volume as it looks on another grid; what lies outside of it becomes 0.

    Args:
        data: (Z, Y, X) canonical, on ``source``.
        source: Its grid.
        target: The wanted grid.
        order: 1 for images (linear), 0 for labels (nearest): a label never becomes another one.
        moved: (4, 4) in RAS+ mm: by what the volume is moved from where its grid places it; None leaves it there.

    Returns:
        (Z, Y, X) canonical, on ``target``, in the type of ``data``.
    """
    placed = source.canonical_affine if moved is None else moved @ source.canonical_affine
    to_source = np.linalg.inv(placed) @ target.canonical_affine
    matrix, offset = to_source[:3, :3][::-1, ::-1], to_source[:3, 3][::-1]
    # "grid-constant" lets a voxel reach to its edge; "constant" would end the volume at the middle of its last one.
    moved = ndimage.affine_transform(
        data,
        matrix,
        offset,
        output_shape=target.canonical_shape,
        order=order,
        mode="grid-constant",
        cval=0.0,
        prefilter=False,
    )
    return np.asarray(moved)
