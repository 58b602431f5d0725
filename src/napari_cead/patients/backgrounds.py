"""Making the background 0 where a file has another constant there.

In a skull-stripped scan what is not 0 is the brain. Files that were shifted (z-scores, -1024 of other programs) or
padded with a constant break that, so the constant goes when a scan is read, and the user is told.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FILLED = 0.5
"""Share of the slices' border that a constant has to fill to be the background."""
GAP = 0.25
"""Farther below the brain than this share of the brain's range, a positive constant is not where it was shifted to: a
skull-stripped brain has liquid and a rim that are nearly as dark as the background."""
PADDING = frozenset({-1000.0, -1024.0, -2000.0, -2048.0, -3024.0, -32768.0})
"""Constants that programs put where there are no data."""

_SAMPLES = 200_000


def zero_background(volume: NDArray[Any]) -> tuple[NDArray[np.float32] | None, str]:
    """Return a volume whose background is 0, if another constant is.

    A constant just below the brain's values came from shifting all of them: it is subtracted. One in their midst or
    above them is padding, and so is one far below them (a negative one: farther than they spread, or a number that
    programs are known to pad with while the brain is not negative): those voxels become 0, the others stay as they are.

    Args:
        volume: (Z, Y, X) finite intensities.

    Returns:
        The volume, None if it is right as it is; and what was done, in one clause.
    """
    corners = volume[(0, -1), :, :][:, (0, -1), :][:, :, (0, -1)].ravel()
    level = corners[0]
    if level == 0 or not (corners == level).all():  # nothing more to look at in most scans
        return None, ""
    border = (volume[:, 0], volume[:, -1], volume[..., 0], volume[..., -1])
    same = sum(int(np.count_nonzero(side == level)) for side in border)
    if same <= FILLED * sum(side.size for side in border):
        return None, ""
    background = volume == level
    inside = volume[~background]
    if not inside.size:
        return None, ""
    low, high = (float(value) for value in np.percentile(inside[:: max(1, inside.size // _SAMPLES)], [1, 99]))
    gap = (low - level) / (high - low) if high > low else np.inf
    if level > 0:
        shifted = 0 <= gap <= GAP
    elif float(level) in PADDING:
        shifted = level <= low < level / 2
    else:  # nobody pads with broken numbers
        shifted = gap >= 0 and (gap <= 1 or bool(level != np.rint(level)))
    offset = np.float32(level) if shifted else np.float32(0)
    result = np.asarray(volume, dtype=np.float32) - offset
    result[background] = 0
    done = f"{level:g} was subtracted from all voxels" if shifted else "these voxels count as 0"
    return result, f"the background is {level:g}, not 0: {done}"
