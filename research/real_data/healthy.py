"""The settings of rule ``healthy-quantile``: those on a model's card, and the fixed ones of a baseline."""

from __future__ import annotations

from napari_cead.detection import PostprocessParams
from napari_cead.detection.baselines import Baseline
from napari_cead.detection.choosing import Suggested
from napari_cead.zoo import ModelCard


def of_card(card: ModelCard) -> dict[str, PostprocessParams]:
    """Return by score what the card says; training has put it there."""
    return {
        suggestion.score: Suggested.of(suggestion).params
        for suggestion in card.suggestions
        if suggestion.rule == "healthy-quantile"
    }


def of_baseline(baseline: Baseline) -> dict[str, PostprocessParams]:
    """Return by score the fixed ones of a baseline on FLAIR."""
    found = {score: baseline.settings(score, "healthy-quantile", "flair") for score in baseline.maps}
    return {score: params for score, params in found.items() if params is not None}
