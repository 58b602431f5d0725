"""Area opening: small components are dropped."""

from __future__ import annotations

import numpy as np

from ..params import PostprocessParams
from ._patch import Components, Patch
from ._step import Slice, Step, own


class AreaOpening(Step):
    """Drops components smaller than a fraction of the slice's largest one, or than an area in mm²."""

    name, after, settings = "area-opening", "closing_radius", own("area_fraction", "min_area_mm2")
    takes = "components"

    def key(self, value: Components, params: PostprocessParams, place: Slice) -> int:
        """Return how many components stay: another fraction changes nothing as long as the same ones do."""
        areas = value.areas
        if areas.size == 0:
            return 0
        dropped = (areas < params.area_fraction * areas[0]) | (areas * place.pixel_area < params.min_area_mm2)
        return int(areas.size - np.count_nonzero(dropped))

    def run(self, value: Components, params: PostprocessParams, place: Slice, key: int) -> Patch:
        """Return the union of those that stay."""
        return value.largest(key)


OFFERED = (AreaOpening(),)
