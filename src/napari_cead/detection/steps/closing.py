"""Binary closing, and the filling of holes."""

from __future__ import annotations

from typing import Any

from ..params import PostprocessParams
from ._patch import Components, Patch, closed_and_filled
from ._step import Slice, Step, own


class Closing(Step):
    """Closing with a digital disk on a plane of zeros that extends beyond the slice; then holes are filled.

    A closing never leaves the bounding box of the mask: a half-plane is closed under any disk, and the box is the meet
    of four.
    """

    name, after, settings = "closing", "threshold", own("closing_radius")
    gives = "components"

    def run(self, value: Patch, params: PostprocessParams, place: Slice, key: Any) -> Components:
        """Return the components of the closed and filled mask."""
        return closed_and_filled(value, params.closing_radius)


OFFERED = (Closing(),)
