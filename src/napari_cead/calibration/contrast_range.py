"""Measure the contrast of the training patients, for the model's card."""

from __future__ import annotations

import numpy as np

from ..slices import brain_mask, contrast_figures
from ..store.store import SliceStore
from ..zoo.card import ContrastRange

MOST_PATIENTS = 64
"""Number of patients measured, spread over the training part; more hardly change the range."""


def contrast_range(store: SliceStore) -> ContrastRange | None:
    """Measure the contrast of the training patients; None if their slices do not show enough.

    Args:
        store: The model's training store.

    Raises:
        StoreError: If the store is damaged.
    """
    patients = store.patients_of("train")
    count = min(MOST_PATIENTS, len(patients))
    chosen = np.unique(np.linspace(0, len(patients) - 1, count).round().astype(int)) if count else ()
    found = []
    for index in chosen:
        images = store.slices(patients[index].name).images
        figures = contrast_figures(images, brain_mask(images), (1.0, *store.settings.spacing))
        if figures is not None:
            found.append(figures)
    if not found:
        return None
    skewness = [figures.skewness for figures in found]
    rims = [figures.rim for figures in found if figures.rim is not None]
    return ContrastRange(
        skewness=(round(min(skewness), 4), round(max(skewness), 4)),
        rim=(round(min(rims), 4), round(max(rims), 4)) if rims else None,
    )
