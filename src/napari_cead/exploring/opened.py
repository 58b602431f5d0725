"""From a reconstruction to an analysis, with what is kept to change it quickly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..detection import MapOptions, PostprocessParams, Reconstruction
from ..detection.corrections import Corrections
from ..detection.pipeline import DEFAULT_SCORE
from ..detection.postprocessing import StagedPostprocessor
from ..zoo import ModelCard
from .analysis import Analysis, Suggested
from .history import History

SAME_SCALE = ({"residual", "positive-residual"},)
"""Scores whose values mean the same: a threshold chosen for one makes sense for the other."""


@dataclass(frozen=True)
class Settings:
    """What can be undone: the settings of the post-processing and of the map."""

    params: PostprocessParams
    options: MapOptions


@dataclass(eq=False)
class Opened:
    """An analysis with the stages of its post-processing and the settings it went through.

    Attributes:
        analysis: The current state.
        stages: Post-processing of its map.
        history: Settings for undo and redo.
        used: When it was last made the current one; larger is later.
    """

    analysis: Analysis
    stages: StagedPostprocessor = field(repr=False)
    history: History[Settings] = field(repr=False)
    used: int = 0

    @classmethod
    def of(
        cls,
        made: Reconstruction,
        score: str,
        options: MapOptions,
        params: PostprocessParams,
        suggestions: tuple[Suggested, ...],
        *,
        reconstructed: NDArray[np.float32] | None = None,
        anomaly_map: NDArray[np.float32] | None = None,
        corrections: Corrections | None = None,
    ) -> Opened:
        """Make an analysis of a reconstruction.

        Args:
            made: The reconstruction.
            score: The anomaly score.
            options: What is done to the map.
            params: Settings to start with.
            suggestions: The model's suggestions for the score.
            reconstructed: The reconstruction on the patient grid, if it is there already.
            anomaly_map: The map, if it is there already.
            corrections: What the user painted.
        """
        volume = made.volume() if reconstructed is None else reconstructed
        values = made.anomaly_map(score, options) if anomaly_map is None else anomaly_map
        stages = StagedPostprocessor(values, made.patient.spacing, made.stack.brain)
        automatic = stages.volume(params)
        analysis = Analysis(
            made, score, volume, values, options, params, suggestions, automatic, corrections=corrections
        )
        return cls(analysis, stages, History(Settings(params, options)))

    def with_options(self, options: MapOptions, params: PostprocessParams) -> Opened:
        """Return the same analysis with its map made anew."""
        old = self.analysis
        fresh = Opened.of(
            old.reconstruction,
            old.score,
            options,
            params,
            old.suggestions,
            reconstructed=old.reconstructed,
            corrections=old.corrections,
        )
        return replace(fresh, history=self.history)


def suggestions_for(card: ModelCard, score: str) -> tuple[Suggested, ...]:
    """Return what a model suggests for a score, the paper's defaults if it suggests nothing."""
    found = tuple(
        Suggested(suggestion.rule, PostprocessParams().replace(**suggestion.params))
        for suggestion in card.suggestions
        if suggestion.score == score
    )
    return found or (Suggested("default", PostprocessParams()),)


def preferred_score(card: ModelCard) -> str:
    """Return the score that a model suggests."""
    return card.suggestions[0].score if card.suggestions else DEFAULT_SCORE


def carried_over(old: Analysis, score: str, suggestions: tuple[Suggested, ...]) -> PostprocessParams:
    """Return the settings for another score: what the user chose and still makes sense, else what is suggested.

    Radii and areas mean the same for every score; a threshold only where the two scores have one scale.
    """
    start, fresh = old.suggestion, suggestions[0].params
    chosen = {name: value for name, value in old.params.model_dump().items() if value != getattr(start, name)}
    if not any({old.score, score} <= group for group in SAME_SCALE):
        chosen.pop("threshold", None)
    return fresh.replace(**chosen)
