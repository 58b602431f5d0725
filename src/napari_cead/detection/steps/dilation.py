"""Binary dilation."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ..params import PostprocessParams
from ._patch import Patch, disk
from ._step import Slice, Step, own


class Dilation(Step):
    """Dilation with a digital disk, cut at the borders of the slice."""

    name, after, settings = "dilation", "area_fraction", own("dilation_radius")
    kept = False  # the cut at the brain, which comes next, keeps its own

    def run(self, value: Patch, params: PostprocessParams, place: Slice, key: Any) -> Patch:
        """Return the mask dilated by a disk."""
        radius, shape = params.dilation_radius, place.pixels.shape
        if radius == 0 or value.mask.size == 0:
            return value
        image = value.mask.view(np.uint8)
        image = cv2.copyMakeBorder(image, radius, radius, radius, radius, cv2.BORDER_CONSTANT, value=0)
        mask = cv2.dilate(image, disk(radius)).view(np.bool_)
        row, column = value.row - radius, value.column - radius
        above, before = max(0, -row), max(0, -column)
        mask = mask[above : shape[0] - row, before : shape[1] - column]
        return Patch(row + above, column + before, mask)

    def reach(self, params: PostprocessParams) -> int:
        """Return the radius."""
        return params.dilation_radius


OFFERED = (Dilation(),)
