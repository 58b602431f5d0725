"""Pixels above the threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..params import PostprocessParams
from ._patch import Patch, bounding_box
from ._step import Slice, Step, own


class Threshold(Step):
    """Pixels ``> threshold``; NaN is never above."""

    name, after, settings = "threshold", "", own("threshold")
    takes = "pixels"
    kept = False  # as cheap to make as to keep

    def run(self, value: NDArray[Any], params: PostprocessParams, place: Slice, key: Any) -> Patch:
        """Return the pixels of the map above the threshold."""
        above = np.greater(value, params.threshold, order="C")
        top, bottom, left, right = bounding_box(above)
        return Patch(top, left, above[top:bottom, left:right])


OFFERED = (Threshold(),)
