"""Marks of slices: a mark identifies a slice in another file and reveals nothing else about it.

A mark is a hash of the relative brightness of the parts of a slice. The file's format and name, the orientation of its
axes, the side that a picture counts as left, the scale of its values, empty margins, and the rounding to 8 bits of a
picture do not change it (rounding changes the marks of some slices; the others still identify the volume). A scan that
was resampled, filtered, or stripped of its skull in another way is another scan.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ..metrics.overlap import bounding_box

CELLS = 16
"""Parts of a slice along each axis."""

LEVELS = 4
"""Levels of brightness in a standard deviation of the parts: coarse, so that rounding seldom changes one."""

EDGE = 0.05
"""Pixels that differ less from the background, as a share of the largest difference, are margin."""

SIZE = 8
"""Bytes of a mark."""


def slice_marks(volume: NDArray[np.float32]) -> tuple[str, ...]:
    """Return the mark of each slice (Z, Y, X), in hexadecimal digits; empty for a slice that shows too little."""
    return tuple(_mark(image) for image in volume)


def keyed(mark: str, key: bytes) -> bytes:
    """Return a mark as a model keeps it: comparing two models does not show whether they know the same scan.

    Args:
        mark: From :func:`slice_marks`.
        key: The model's own.
    """
    return blake2b(bytes.fromhex(mark), key=key, digest_size=6).digest()


def _mark(image: NDArray[np.float32]) -> str:
    values = image.astype(np.float64)
    border = np.concatenate((values[0], values[-1], values[:, 0], values[:, -1]))
    background = float(np.median(border[np.isfinite(border)])) if np.isfinite(border).any() else 0.0
    contrast = np.nan_to_num(values - background, nan=0.0, posinf=0.0, neginf=0.0)
    strength = np.abs(contrast)
    shown = strength > EDGE * float(np.quantile(strength, 0.995))
    cut = contrast[bounding_box(shown)]
    if min(cut.shape) < CELLS:
        return ""
    # The smaller of the slice and its mirror image: it does not matter which side a picture shows left.
    levels = min(_levels(cut), _levels(cut[:, ::-1]))
    return blake2b(levels, digest_size=SIZE).hexdigest() if levels else ""


def _levels(image: NDArray[np.float64]) -> bytes:
    """Return the brightness of the parts of an image in levels, a byte each; empty if they are all alike."""
    edges = [np.arange(CELLS) * side // CELLS for side in image.shape]
    sizes = [np.diff(edge, append=side) for edge, side in zip(edges, image.shape, strict=True)]
    parts = np.add.reduceat(np.add.reduceat(image, edges[0], axis=0), edges[1], axis=1)
    parts /= sizes[0][:, None] * sizes[1]
    spread = float(parts.std())
    if spread <= 1e-6 * float(np.abs(parts).max()):
        return b""
    return bytes(
        np.clip(np.rint((parts - parts.mean()) / spread * LEVELS), -127, 127).astype(np.int8).tobytes()
    )
