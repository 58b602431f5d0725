"""One analysis: a patient, what a model made of it, a score, settings, and the mask that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..detection import Detection, PostprocessParams, Reconstruction
from ..metrics import Counts, PatientCounts

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Corrections:
    """What the user painted into the detected mask, kept apart so that it survives a moved slider.

    Attributes:
        added: (Z, Y, X) bool, voxels painted in.
        removed: (Z, Y, X) bool, voxels erased.
    """

    added: Mask = field(repr=False)
    removed: Mask = field(repr=False)

    @classmethod
    def between(cls, automatic: Mask, painted: Mask) -> Corrections | None:
        """Return what turns the automatic mask into the painted one; None if they are equal."""
        added, removed = painted & ~automatic, automatic & ~painted
        return cls(added, removed) if added.any() or removed.any() else None

    def apply(self, automatic: Mask, z: int | None = None) -> Mask:
        """Return an automatic mask, (Z, Y, X) or the (Y, X) of slice ``z``, with the corrections."""
        added, removed = (self.added, self.removed) if z is None else (self.added[z], self.removed[z])
        return np.asarray((automatic | added) & ~removed)

    def volume(self) -> NDArray[np.uint8]:
        """Return (Z, Y, X) labels: 1 painted in, 2 erased."""
        return np.asarray(self.added + 2 * self.removed.astype(np.uint8), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Analysis:
    """An immutable state of exploring one patient with one model and one score.

    Attributes:
        reconstruction: What the model made of the patient.
        score: Name of the anomaly score.
        anomaly_map: (Z, Y, X) float32 in [0, 1].
        params: Settings of the post-processing.
        suggestion: The model's suggested settings for this score.
        rule: How the suggestion came about.
        automatic: (Z, Y, X) bool: the post-processed map.
        corrections: What the user painted, if anything.
        mask: (Z, Y, X) bool: the automatic mask with the corrections.
        counts: TP, FP and FN per slice against the lesion mask; None without one.
    """

    reconstruction: Reconstruction
    score: str
    anomaly_map: NDArray[np.float32] = field(repr=False)
    params: PostprocessParams
    suggestion: PostprocessParams
    rule: str
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
            reconstruction=made.volume(),
            anomaly_map=self.anomaly_map,
            mask=self.mask,
            params=self.params,
            score=self.score,
            rule=self.rule if self.params == self.suggestion else "given",
            dice=self.dice,
            model=made.model,
            sha256=made.sha256,
            device=made.device,
            warnings=(*made.patient.warnings, *made.warnings),
        )
