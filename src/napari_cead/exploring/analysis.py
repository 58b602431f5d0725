"""One analysis: a patient, what a model made of it, a score, settings, and the mask that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..detection import Detection, MapOptions, PostprocessParams, Reconstruction
from ..detection.corrections import Corrections
from ..metrics import Counts, PatientCounts

Mask = NDArray[np.bool_]

Key = tuple[str, str]
"""What tells the analyses of a patient apart: name of the model, name of the score."""


@dataclass(frozen=True)
class Suggested:
    """Settings to start from.

    Attributes:
        rule: How they came about: ``"default"`` or the named rule of the model.
        params: The settings.
    """

    rule: str
    params: PostprocessParams


@dataclass(frozen=True, eq=False)
class Analysis:
    """An immutable state of exploring one patient with one model and one score.

    Attributes:
        reconstruction: What the model made of the patient.
        score: Name of the anomaly score.
        reconstructed: (Z, Y, X) float32: the reconstruction on the patient grid.
        anomaly_map: (Z, Y, X) float32 in [0, 1].
        options: What was done to the map before it is cut.
        params: Settings of the post-processing.
        suggestions: The model's suggested settings for this score, the one to start from first; never empty.
        automatic: (Z, Y, X) bool: the post-processed map.
        corrections: What the user painted, if anything.
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
    def suggestion(self) -> PostprocessParams:
        """The suggested settings to start from."""
        return self.suggestions[0].params

    @property
    def rule(self) -> str:
        """The rule that gave the settings in use, ``"given"`` if they are the user's own."""
        for suggested in self.suggestions:
            if suggested.params == self.params:
                return suggested.rule
        return "given"

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
        """Return the state in which the mask is as painted."""
        return replace(self, corrections=Corrections.between(self.automatic, painted))

    def detection(self) -> Detection:
        """Return the state as a result that can be saved."""
        made = self.reconstruction
        return Detection(
            patient=made.patient,
            input=made.stack.scaled,
            reconstruction=self.reconstructed,
            anomaly_map=self.anomaly_map,
            mask=self.mask,
            params=self.params,
            score=self.score,
            rule=self.rule,
            dice=self.dice,
            model=made.model,
            sha256=made.sha256,
            device=made.device,
            options=self.options,
            batch_size=made.batch_size,
            threads=made.threads,
            preparation=made.preparation,
            model_folder=made.model_folder,
            warnings=(*made.patient.warnings, *made.warnings),
        )
