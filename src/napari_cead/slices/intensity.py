"""Bringing scanner intensities to the common range [0, 1]."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import IntensityError, ParameterError

IntensityScaling = Literal["volume-percentile", "slice-max"]

PERCENTILE = 99.5


def scale_intensity(
    volume: NDArray[Any], brain: NDArray[np.bool_], scaling: IntensityScaling = "volume-percentile"
) -> NDArray[np.float32]:
    """Scale intensities to [0, 1]; background becomes 0.

    Args:
        volume: (Z, Y, X) intensities.
        brain: (Z, Y, X) bool.
        scaling: ``"volume-percentile"`` maps 0 to 0 and the brain's 99.5th percentile to 1, clipped: one
            scale per volume, so that a value means the same on every slice. ``"slice-max"`` divides every
            slice by its own maximum.

    Raises:
        PatientError: If the brain holds no positive intensity to scale by.
        ParameterError: If the scaling is unknown.
    """
    if scaling not in get_args(IntensityScaling):
        raise ParameterError(
            f"unknown intensity scaling {scaling!r}", mend="use volume-percentile or slice-max"
        )
    inside = np.where(brain, np.asarray(volume, dtype=np.float32), np.float32(0))
    if scaling == "slice-max":
        peak = inside.max(axis=(1, 2), keepdims=True)
        inside /= np.where(peak > 0, peak, np.float32(1))
    else:
        scale = float(np.percentile(inside[brain], PERCENTILE)) if brain.any() else 0.0
        if not scale > 0:
            raise IntensityError(
                f"the {PERCENTILE}th percentile of the brain's intensity is {scale:g}, nothing to scale by",
                mend="give a scan with positive intensities",
            )
        inside /= np.float32(scale)
    return np.asarray(np.clip(inside, 0, 1, out=inside))
