"""Processing of an anomaly map before the threshold: smoothing in plane, and leaving out the brain's rim.

Both are off by default, as in Paolini, Boracchi and Matteucci, *Unsupervised Detection of Lesion in Brain MRI using
Context Encoding AutoEncoders*. They act on the patient grid, slice by slice, so that any slice can be had alone.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .settings import MAX_RADIUS, Number, Parameter, Settings, Whole, extra, parameters_of
from .smoothing import smoothed_in_brain

MAX_SMOOTHING = 10.0
"""Largest sigma in mm: beyond it the map of a whole slice merges."""


class MapOptions(Settings):
    """How an anomaly map is changed before post-processing. Immutable, validated, JSON-serialisable.

    Example:
        >>> MapOptions(smoothing_mm=1.5).replace(erosion_radius=2).model_dump()
        {'smoothing_mm': 1.5, 'erosion_radius': 2}

    Raises:
        ParameterError: If a value is out of its range, of another type, or of an unknown name.
    """

    kind = "map"

    smoothing_mm: Number = Field(
        default=0.0,
        ge=0.0,
        le=MAX_SMOOTHING,
        strict=True,
        allow_inf_nan=False,
        title="Smoothing",
        description="Sigma of the Gaussian that smooths the anomaly map within each slice, inside the brain.",
        json_schema_extra=extra("mm", 0.1, flag="--smoothing"),
    )
    erosion_radius: Whole = Field(
        default=0,
        ge=0,
        le=MAX_RADIUS,
        strict=True,
        title="Brain erosion",
        description="Radius of the disk by which the brain's rim is left out, slice by slice.",
        json_schema_extra=extra("px", 1, flag="--erosion"),
    )

    def apply(
        self,
        anomaly_map: NDArray[np.float32],
        brain: NDArray[np.bool_],
        spacing: tuple[float, float, float],
    ) -> NDArray[np.float32]:
        """Return the map smoothed inside the brain, and 0 outside the eroded brain.

        Args:
            anomaly_map: (Z, Y, X) float32 in [0, 1], 0 outside the brain; any number of slices.
            brain: (Z, Y, X) bool.
            spacing: Size of a voxel (z, y, x) in mm.
        """
        if self.smoothing_mm > 0:
            smooth = smoothed_in_brain(anomaly_map, brain, spacing, self.smoothing_mm, through=False)
            anomaly_map = np.clip(smooth, 0, 1, out=smooth)  # rounding may have lifted a mean beyond
        if self.erosion_radius > 0:
            anomaly_map = np.where(eroded(brain, self.erosion_radius), anomaly_map, np.float32(0))
        return anomaly_map


MAP_OPTIONS: tuple[Parameter, ...] = parameters_of(MapOptions)
"""The options in the order in which they act."""


def eroded(brain: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return a brain mask eroded by a digital disk, slice by slice; beyond the image there is no brain.

    Args:
        brain: (Z, Y, X) bool.
        radius: Radius of the disk in pixels.
    """
    result = np.zeros_like(brain)
    for z in np.flatnonzero(brain.any(axis=(1, 2))):
        # A disk fits where the nearest background is farther than its radius; this costs the same for all radii.
        padded = np.pad(brain[z], 1).view(np.uint8)
        distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        result[z] = distance[1:-1, 1:-1] > radius
    return result
