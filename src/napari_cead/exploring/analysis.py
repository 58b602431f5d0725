"""One analysis: a patient, a model's reconstruction, a score, settings, and the resulting mask."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..detection import Detection, MapOptions, PostprocessParams, Reconstruction
from ..detection.choosing import Settled, Suggested, Whence, settle_by_value
from ..detection.corrections import Corrections
from ..metrics import Counts, PatientCounts

Mask = NDArray[np.bool_]

Key = tuple[str, str]
"""Identifies an analysis of a patient: name of the model, name of the score."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """An immutable state of exploring one patient with one model and one score.

    Attributes:
        reconstruction: The model's reconstruction of the patient.
        score: Name of the anomaly score.
        reconstructed: (Z, Y, X) float32: the reconstruction on the patient grid.
        anomaly_map: (Z, Y, X) float32 in [0, 1].
        options: Processing of the map before the threshold.
        params: Settings of the post-processing.
        suggestions: The model's suggested settings for this score, the preferred ones first; never empty.
        automatic: (Z, Y, X) bool: the post-processed map.
        corrections: The user's painted corrections, if any.
        score_from: Origin of the score.
        mask: (Z, Y, X) bool: the automatic mask with the corrections.
        counts: TP, FP and FN per slice against the lesion mask; None without one.
    """

    reconstruction: Reconstruction
    score: str
    reconstructed: NDArray[np.float32] = field(repr=False)
    anomaly_map: NDArray[np.float32] = field(repr=False)
    options: MapOptions
    params: PostprocessParams
    suggestions: tuple[Suggested, ...]
    automatic: Mask = field(repr=False)
    corrections: Corrections | None = field(default=None, repr=False)
    score_from: Whence = "given"
    mask: Mask = field(init=False, repr=False)
    counts: PatientCounts | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mask = self.automatic if self.corrections is None else self.corrections.apply(self.automatic)
        reference = self.reconstruction.patient.lesion_mask
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "counts", None if reference is None else PatientCounts.of(mask, reference))

    @property
    def key(self) -> Key:
        """Name of the model and of the score."""
        return self.reconstruction.model, self.score

    @property
    def start(self) -> PostprocessParams:
        """The settings to start from: the defaults with the suggested threshold."""
        return self.suggestions[0].start

    @property
    def suggestion(self) -> PostprocessParams:
        """All settings that the model suggests."""
        return self.suggestions[0].params

    @property
    def rule(self) -> str:
        """Origin of the threshold: ``"given"``, ``"default"``, or the rule on the model's card."""
        return self._origins()[0]

    @property
    def dice(self) -> float | None:
        """Dice over the volume; None without a lesion mask, NaN if both masks are empty."""
        return None if self.counts is None else self.counts.total.dice()

    def slice_dice(self, z: int) -> float | None:
        """Dice of one slice; None without a lesion mask, NaN if both are empty there."""
        counts = self.counts
        if counts is None:
            return None
        return Counts(int(counts.tp[z]), int(counts.fp[z]), int(counts.fn[z])).dice()

    def change(self, params: PostprocessParams, automatic: Mask) -> Analysis:
        """Return the state after a change of settings; corrections stay."""
        return replace(self, params=params, automatic=automatic)

    def paint(self, painted: Mask) -> Analysis:
        """Return the state with a painted mask."""
        return replace(self, corrections=Corrections.between(self.automatic, painted))

    def detection(self) -> Detection:
        """Return the state as a result that can be saved."""
        settled = Settled(self.score, self.params, self.options, *self._origins())
        return Detection.of(self.reconstruction, settled, self.reconstructed, self.anomaly_map, self.mask)

    def _origins(self) -> tuple[str, dict[str, Whence]]:
        return settle_by_value(self.score_from, self.suggestions, self.params, self.options)
