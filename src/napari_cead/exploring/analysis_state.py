"""From a reconstruction to an analysis, with the intermediate results that make changes fast."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..detection import MapOptions, PostprocessParams, Reconstruction
from ..detection.choosing import Suggested, Whence
from ..detection.corrections import Corrections, Packed
from ..detection.postprocessing import StagedPostprocessor
from ..detection.scores import score_of
from .analysis import Analysis
from .history import History


@dataclass(frozen=True)
class Settings:
    """What can be undone: the settings of the post-processing and of the map, and what was painted."""

    params: PostprocessParams
    options: MapOptions
    painted: Packed | None = None

    @classmethod
    def of(cls, analysis: Analysis) -> Settings:
        """Return those of an analysis."""
        painted = analysis.corrections
        return cls(analysis.params, analysis.options, None if painted is None else Packed.of(painted))


@dataclass(eq=False)
class AnalysisState:
    """An analysis with the stages of its post-processing and the history of its settings.

    Attributes:
        analysis: The current state.
        stages: Post-processing of its map.
        history: Settings and corrections for undo and redo.
        used: When it last became the current one; larger is later.
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
        score_from: Whence = "given",
    ) -> AnalysisState:
        """Make an analysis of a reconstruction.

        Args:
            made: The reconstruction.
            score: The anomaly score.
            options: Processing of the map.
            params: Settings to start with.
            suggestions: The model's suggestions for the score.
            reconstructed: The reconstruction on the patient grid, if already computed.
            anomaly_map: The map, if already computed.
            corrections: The user's painted corrections.
            score_from: Origin of the score.
        """
        volume = made.volume() if reconstructed is None else reconstructed
        values = made.anomaly_map(score, options) if anomaly_map is None else anomaly_map
        stages = StagedPostprocessor(values, made.patient.spacing, made.stack.brain)
        automatic = stages.volume(params)
        analysis = Analysis(
            made,
            score,
            volume,
            values,
            options,
            params,
            suggestions,
            automatic,
            corrections=corrections,
            score_from=score_from,
        )
        return cls(analysis, stages, History(Settings.of(analysis)))

    def with_options(self, options: MapOptions, params: PostprocessParams) -> AnalysisState:
        """Return the same analysis with its map computed anew."""
        old = self.analysis
        fresh = AnalysisState.of(
            old.reconstruction,
            old.score,
            options,
            params,
            old.suggestions,
            reconstructed=old.reconstructed,
            corrections=old.corrections,
            score_from=old.score_from,
        )
        return replace(fresh, history=self.history)


def carried_over(old: Analysis, score: str, suggestions: tuple[Suggested, ...]) -> PostprocessParams:
    """Return the settings for another score: the user's choices that still make sense, else the initial settings.

    Radii and areas mean the same for every score; a threshold only if the two scores share a scale.
    """
    start, fresh = old.start, suggestions[0].start
    chosen = {name: value for name, value in old.params.model_dump().items() if value != getattr(start, name)}
    one, other = score_of(old.score).like, score_of(score).like
    if not one or one != other:
        chosen.pop("threshold", None)
    return fresh.replace(**chosen)
