"""The threshold that few healthy voxels exceed."""

from __future__ import annotations

from ..params import PostprocessParams
from ._rule import Candidates, Choice, Rule


def _choose(candidates: Candidates) -> Choice | None:
    if not candidates.healthy.healthy.any():
        return None
    return Choice(PostprocessParams(threshold=candidates.healthy.healthy_quantile(candidates.quantile)))


OFFERED = (
    Rule(
        "healthy-quantile",
        title="quantile of healthy slices",
        about="The threshold that leaves {share} of the healthy brain voxels of the validation patients above it; "
        "needs no lesion masks.",
        nothing="no healthy slices of validation patients",
        choose=_choose,
        symbol="d",
        character="◆",
        marker="s",
        place=1,
    ),
)
