"""The cut at the brain."""

from __future__ import annotations

from typing import Any

from ..params import PostprocessParams
from ._patch import Patch
from ._step import Slice, Step, own


class InsideBrain(Step):
    """Drops pixels outside the brain, if the brain is known."""

    name, after, settings = "inside-brain", "dilation_radius", own("inside_brain")

    def run(self, value: Patch, params: PostprocessParams, place: Slice, key: Any) -> Patch:
        """Return the part of the mask inside the brain."""
        return value.within(place.brain) if params.inside_brain and place.brain is not None else value


OFFERED = (InsideBrain(),)
