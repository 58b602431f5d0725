"""The settings of rule ``healthy-quantile``, measured on the validation slices that a model was calibrated on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_cead.detection import PostprocessParams
from napari_cead.detection.choosing import Suggested
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.evaluation.cases import BINS
from napari_cead.evaluation.measuring import BASELINE_SCORE
from napari_cead.evaluation.rules import threshold_of_healthy
from napari_cead.slices import brain_mask
from napari_cead.training.store import SliceStore
from napari_cead.zoo import ModelCard


def of_card(card: ModelCard) -> dict[str, PostprocessParams]:
    """Return by score what the card says; training has put it there."""
    return {
        suggestion.score: Suggested.of(suggestion).params
        for suggestion in card.suggestions
        if suggestion.rule == "healthy-quantile"
    }


def of_images(place: Path) -> dict[str, PostprocessParams]:
    """Return the same of raw intensity, from the validation slices of a store; nothing without a store."""
    if not place.exists():
        return {}
    store = SliceStore.open(place)
    usable = store.healthy_rows("validation")
    histogram = ScoreHistograms.empty(BINS)
    for number in np.unique(usable[:, 0]):
        images = store.slices(store.patients[number].name).images
        rows = usable[usable[:, 0] == number, 1]
        values = images[rows].astype(np.float32) / np.float32(255)
        histogram += ScoreHistograms.of(
            values, np.zeros(values.shape, np.bool_), brain_mask(images)[rows], BINS
        )
    params = threshold_of_healthy(histogram)
    return {} if params is None else {BASELINE_SCORE: params}
