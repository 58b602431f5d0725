"""Anomaly scores: from an image and the network's output to an anomaly map in [0, 1].

A score is never scaled by a map's own minimum or maximum, so that a threshold means the same on every slice and
patient. Scores that do not lie in [0, 1] by themselves are divided by a constant that the model carries.

Each file of this folder offers scores; other packages offer theirs under the entry points ``napari_cead.scores``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import plugins
from ...errors import ParameterError
from ...plugins import Registry
from ._score import (
    BRIGHT_HEADROOM,
    GRADIENT,
    LESION,
    RECONSTRUCTION,
    RESIDUAL_MEAN,
    RESIDUAL_STD,
    STATISTICS,
    TAILS,
    TISSUE,
    TISSUE_SCALING,
    Evidence,
    Ingredient,
    NetworkKind,
    Score,
    Values,
)
from ._smoothing import SMOOTHING_MM

if TYPE_CHECKING:
    from ...zoo.card import ModelCard

__all__ = [
    "BRIGHT_HEADROOM",
    "GRADIENT",
    "LESION",
    "RECONSTRUCTION",
    "RESIDUAL_MEAN",
    "RESIDUAL_STD",
    "SCORES",
    "SMOOTHING_MM",
    "STATISTICS",
    "TAILS",
    "TISSUE",
    "TISSUE_SCALING",
    "Evidence",
    "Ingredient",
    "NetworkKind",
    "Score",
    "anomaly_score",
    "available_scores",
    "check_score",
    "computed_for",
    "kind_of_network",
    "lacks",
    "looks_through",
    "score_of",
    "scores_in_words",
    "suits",
]


def _unusable(score: Any) -> str | None:
    wanting = plugins.lacks(score, "name", "description", "compute", "ingredients")
    if wanting is None and not isinstance(score, Score):
        return "it is no napari_cead.detection.scores.Score"
    return wanting


SCORES: Registry[Score] = Registry(
    "scores", "anomaly score", __name__, _unusable, order=lambda score: score.place
)
"""All scores by name."""


def score_of(name: str) -> Score:
    """Return a score by its name.

    Raises:
        ParameterError: If there is none of that name.
    """
    return SCORES.find(name)


def lacks(score: Score, evidence: Evidence) -> Ingredient | None:
    """Return the first ingredient of a score that the evidence lacks; None if it lacks none."""
    return next((one for one in score.ingredients if not one.there(evidence)), None)


def suits(score: Score, card: ModelCard) -> bool:
    """Whether a model has all ingredients of a score, except those that a calibration measures."""
    return all(one.measured or one.had_by(card) for one in score.ingredients)


def kind_of_network(card: ModelCard) -> NetworkKind:
    """Return how a model was trained, which decides the scores that suit it."""
    return "denoiser" if card.spec.denoising else "autoencoder"


def computed_for(scores: Iterable[Score]) -> tuple[Ingredient, ...]:
    """Return the ingredients of scores that need a pass of their own, each once."""
    return tuple({one.name: one for score in scores for one in score.computed}.values())


def available_scores(card: ModelCard) -> tuple[str, ...]:
    """Return the names of the scores that a model supports, in the order of `SCORES`."""
    return tuple(score.name for score in SCORES if _refusal(score, card) is None)


def check_score(name: str, card: ModelCard) -> None:
    """Check that a model supports a score.

    Raises:
        ParameterError: If the score is unknown, or the model lacks what it needs.
    """
    reason = _refusal(score_of(name), card)
    if reason is not None:
        raise ParameterError(reason, hint=f"use one of {', '.join(available_scores(card))}")


def looks_through(name: str) -> bool:
    """Whether a score looks through slices.

    Raises:
        ParameterError: If the score is unknown.
    """
    return score_of(name).volume


def anomaly_score(
    name: str,
    image: Values,
    reconstruction: Values,
    scales: Mapping[str, float] | None = None,
    *,
    ingredients: Mapping[str, Values] | None = None,
    statistics: Mapping[str, Values] | None = None,
    spacing: tuple[float, float] = (0.94, 0.94),
    depth: float = 1.0,
    midline: int = 0,
    tails: Mapping[str, Sequence[float]] | None = None,
    model: str = "the model",
) -> Values:
    """Return the anomaly score of every pixel, in [0, 1].

    Never scaled by the map's own minimum or maximum: a threshold means the same on every slice and patient.

    Args:
        name: One of ``SCORES``.
        image: Intensities in [0, 1], any shape; (..., S, S) for a score that needs statistics or looks at
            neighbours.
        reconstruction: The network's output for it, same shape.
        scales: The model's constants by score name.
        ingredients: Other inputs of the score from the network, by name (``"gradient"``, ``"lesion"``), same shape.
        statistics: The model's maps (S, S) ``residual_mean`` and ``residual_std``, for a score that needs them.
        spacing: Size of a pixel (y, x) in mm, for a score that looks at neighbours.
        depth: Distance of two slices in mm, for a score that looks through slices.
        midline: Twice the column of the brain's midline, likewise.
        tails: By kind of evidence, the values of healthy tissue, for a score that needs them.
        model: Name of the model, for the message of an error.

    Raises:
        ParameterError: If the score is unknown, or an ingredient is missing.
    """
    score = score_of(name)
    evidence = Evidence(
        image, reconstruction, ingredients or {}, statistics or {}, spacing, depth, midline, tails or {}
    )
    missing = lacks(score, evidence)
    if missing is not None and missing.compute is not None:
        raise ParameterError(
            f"{name} needs {missing.what} of {model}, which was not computed",
            hint=f"run one of the {missing.models} with this score",
        )
    if missing is not None:
        raise ParameterError(_lacking(score, missing, model), hint=f"use {', '.join(_without_needs())}")
    values = score.compute(evidence)
    if score.scaled:
        scale = (scales or {}).get(name)
        if scale is None:
            raise ParameterError(_no_scale(score, model), hint=f"use {', '.join(_without_needs())}")
        values = values / np.float32(scale)
    return np.asarray(np.clip(values, 0, 1), dtype=np.float32)


def scores_in_words() -> str:
    """Return all scores and the models that support them, in one paragraph."""
    groups: dict[str, list[str]] = {}
    for score in SCORES:
        needs = [one.models for one in score.ingredients if one is not RECONSTRUCTION]
        if score.scaled:
            needs.append("calibrated models")
        groups.setdefault(" and ".join(needs), []).append(score.name)
    return (
        "; ".join(f"{', '.join(names)} ({models or 'all models'})" for models, names in groups.items()) + "."
    )


def _refusal(score: Score, card: ModelCard) -> str | None:
    """Return the reason why a model does not support a score, in one clause; None if it does."""
    missing = next((one for one in score.ingredients if not one.had_by(card)), None)
    if missing is not None:
        return _lacking(score, missing, card.name)
    return _no_scale(score, card.name) if score.scaled and score.name not in card.score_scales else None


def _lacking(score: Score, ingredient: Ingredient, model: str) -> str:
    return f"{score.name} needs {ingredient.lacking.format(model=model)}"


def _no_scale(score: Score, model: str) -> str:
    return f"{score.name} needs a constant measured on healthy slices, which {model} does not carry"


def _without_needs() -> tuple[str, ...]:
    """The scores that every model supports."""
    return tuple(
        score.name for score in SCORES if not score.scaled and set(score.ingredients) <= {RECONSTRUCTION}
    )
