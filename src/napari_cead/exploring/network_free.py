"""Check whether a score without a network shows a patient's lesions better than the displayed map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..detection import SCORES
from ..detection.scores import RECONSTRUCTION, TISSUE_SCALING
from .analysis import Analysis
from .curves import raw_curve

MARGIN = 0.01
"""Smallest gain in Dice of another score that is worth a message."""


def better_without(analysis: Analysis) -> str | None:
    """Return a sentence if a score without a network has a higher Dice than the displayed map, each at its best.

    Both are raw, without post-processing, and at the best threshold for this very patient: this suggests which map to
    look at, and is not a result.

    Args:
        analysis: The displayed analysis.

    Returns:
        The sentence; None without a lesion, for a model whose scans are not scaled by their tissue, or if no such
        score is better.
    """
    made = analysis.reconstruction
    reference = made.patient.lesion_mask
    scaled = made.preparation.get("intensity") == TISSUE_SCALING
    if reference is None or not reference.any() or not scaled:
        return None
    free = [score.name for score in SCORES if score.volume and RECONSTRUCTION not in score.ingredients]
    if analysis.score in free:
        return None
    shown = _best(analysis.anomaly_map, reference)
    name, dice = max(
        ((name, _best(made.anomaly_map(name), reference)) for name in free), key=lambda one: one[1]
    )
    if dice < shown + MARGIN:
        return None
    return (
        f"on this scan {name}, which uses no network, has Dice {dice:.2f} at its best raw threshold, {analysis.score} "
        f"{shown:.2f}: look at the score {name} too"
    )


def _best(anomaly_map: NDArray[np.float32], reference: NDArray[np.bool_]) -> float:
    curve = raw_curve(anomaly_map, reference)
    return 0.0 if curve is None else float(curve.dice.max())
