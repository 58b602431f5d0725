"""Bringing scanner intensities to the common range [0, 1]."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import IntensityError, ParameterError

IntensityScaling = Literal["volume-percentile", "volume-tissue", "slice-max"]

PERCENTILE = 99.5

LIQUID = 0.6
"""Voxels darker than this share of the brain's median are not tissue."""


def scale_intensity(
    volume: NDArray[Any], brain: NDArray[np.bool_], scaling: IntensityScaling = "volume-percentile"
) -> NDArray[np.float32]:
    """Scale intensities to [0, 1]; background becomes 0.

    Args:
        volume: (Z, Y, X) intensities.
        brain: (Z, Y, X) bool.
        scaling: ``"volume-percentile"`` maps 0 to 0 and the brain's 99.5th percentile to 1, clipped: one
            scale per volume, so that a value means the same on every slice. ``"volume-tissue"`` maps the median of
            the brain's tissue to 0.5 instead: a bright lesion does not make the rest of its scan darker.
            ``"slice-max"`` divides every slice by its own maximum.

    Raises:
        PatientError: If the brain holds no positive intensity to scale by.
        ParameterError: If the scaling is unknown.
    """
    if scaling not in get_args(IntensityScaling):
        raise ParameterError(
            f"unknown intensity scaling {scaling!r}",
            hint=f"use one of {', '.join(get_args(IntensityScaling))}",
        )
    inside = np.where(brain, np.asarray(volume, dtype=np.float32), np.float32(0))
    if scaling == "slice-max":
        peak = inside.max(axis=(1, 2), keepdims=True)
        inside /= np.where(peak > 0, peak, np.float32(1))
    else:
        tissue = scaling == "volume-tissue"
        values = inside[brain] if brain.any() else np.zeros(1, np.float32)
        scale = 2 * _tissue_level(values) if tissue else float(np.percentile(values, PERCENTILE))
        if not scale > 0:
            what = (
                "median of the brain's tissue"
                if tissue
                else f"{PERCENTILE}th percentile of the brain's intensity"
            )
            raise IntensityError(
                f"the {what} is {scale:g}, nothing to scale by",
                hint="give a scan with positive intensities",
            )
        with np.errstate(over="ignore"):  # an overflow is far above 1, and clipped like the rest
            inside /= np.float32(scale)
    return np.asarray(np.clip(inside, 0, 1, out=inside))


def _tissue_level(values: NDArray[np.float32]) -> float:
    """Return the median of the values that are not liquid, 0 if there are none."""
    tissue = values[values > LIQUID * float(np.median(values))]
    return float(np.median(tissue)) if tissue.size else 0.0
