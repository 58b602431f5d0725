"""What an evaluation found: one row for each model, score and rule, and which patient was which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..detection import PostprocessParams
from ..metrics import Averages, Interval, PatientCounts, averages, bootstrap
from ..metrics.overlap import NAN

SCHEMA_VERSION = 1

NOTHING = "nothing"
"""Name of the baseline that detects nothing."""


@dataclass(frozen=True, eq=False)
class PatientFigures:
    """One patient under one model, score and rule.

    Attributes:
        name: Name of the patient.
        counts: Voxels found, wrongly found and missed, slice by slice.
        reference_ml: Volume of the lesion mask in mL.
        detected_ml: Volume of the detected mask in mL.
        lesions: Lesions (26-connected components of the lesion mask).
        lesions_found: Lesions with at least one detected voxel.
        detections: Components of the detected mask.
        false_detections: Components of the detected mask without a lesion voxel.
    """

    name: str
    counts: PatientCounts = field(repr=False)
    reference_ml: float
    detected_ml: float
    lesions: int
    lesions_found: int
    detections: int
    false_detections: int

    def as_dict(self) -> dict[str, str | float | int]:
        """Return the figures of the volume by name; Dice is NaN where both masks are empty."""
        total = self.counts.total
        return {
            "patient": self.name,
            "dice": total.dice(),
            "precision": total.precision(),
            "recall": total.recall(),
            "tp": total.tp,
            "fp": total.fp,
            "fn": total.fn,
            "lesion_slices": int((self.counts.tp + self.counts.fn > 0).sum()),
            "brain_slices": int(self.counts.brain.sum()),
            "reference_ml": self.reference_ml,
            "detected_ml": self.detected_ml,
            "lesions": self.lesions,
            "lesions_found": self.lesions_found,
            "detections": self.detections,
            "false_detections": self.false_detections,
        }


@dataclass(frozen=True, eq=False)
class Row:
    """The figures of one model under one score and one rule, over the reported patients.

    Attributes:
        model: Name of the model, or of a baseline.
        score: Anomaly score; None for the baseline that detects nothing.
        rule: The rule that chose the settings; ``"none"`` for the baseline that detects nothing.
        params: The settings; None if the rule had nothing to go by.
        chosen_on: ``"validation patients"``, ``"model card"`` or ``"reported patients"``; empty without a choice.
        note: Why there are no figures, or what they have to be read with.
        averages: The averages; None without settings.
        intervals: Bootstrap intervals by name of the average.
        lesion_patients: Patients with lesions among those reported.
        lesion_sensitivity: Share of all lesions that were found; NaN without lesions.
        false_positives_per_patient: Mean number of false detections of a patient.
        detected_ml: Mean detected volume of a patient in mL.
        auroc: Area under the ROC curve over the brain voxels of all patients, whatever the rule.
        average_precision: Average precision (AUPRC) over the same voxels.
        patients: Figures of each patient.
    """

    model: str
    score: str | None
    rule: str
    params: PostprocessParams | None
    chosen_on: str = ""
    note: str = ""
    averages: Averages | None = None
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    lesion_patients: int = 0
    lesion_sensitivity: float = NAN
    false_positives_per_patient: float = NAN
    detected_ml: float = NAN
    auroc: float = NAN
    average_precision: float = NAN
    patients: tuple[PatientFigures, ...] = field(default=(), repr=False)

    @property
    def optimistic(self) -> bool:
        """Whether the settings were chosen on the patients that are reported."""
        return self.rule == "oracle"

    @classmethod
    def of(
        cls,
        model: str,
        score: str | None,
        rule: str,
        params: PostprocessParams | None,
        patients: Sequence[PatientFigures],
        *,
        chosen_on: str = "",
        note: str = "",
        ranking: tuple[float, float] = (NAN, NAN),
        resamples: int = 1000,
        seed: int = 0,
    ) -> Row:
        """Average the figures of patients.

        Args:
            model: Name of the model.
            score: Anomaly score.
            rule: The rule that chose the settings.
            params: The settings.
            patients: Figures of each patient at these settings.
            chosen_on: What the settings were chosen on.
            note: What the figures have to be read with.
            ranking: AUROC and average precision.
            resamples: Resamples of the bootstrap.
            seed: Seed of the bootstrap.
        """
        counts = [patient.counts for patient in patients]
        lesions = sum(patient.lesions for patient in patients)
        number = len(patients)
        return cls(
            model=model,
            score=score,
            rule=rule,
            params=params,
            chosen_on=chosen_on,
            note=note,
            averages=averages(counts),
            intervals=bootstrap(counts, resamples, seed),
            lesion_patients=sum(patient.lesions > 0 for patient in patients),
            lesion_sensitivity=sum(item.lesions_found for item in patients) / lesions if lesions else NAN,
            false_positives_per_patient=sum(item.false_detections for item in patients) / number
            if number
            else NAN,
            detected_ml=sum(item.detected_ml for item in patients) / number if number else NAN,
            auroc=ranking[0],
            average_precision=ranking[1],
            patients=tuple(patients),
        )


@dataclass(frozen=True)
class ModelSummary:
    """A model that was evaluated.

    Attributes:
        name: Its name in the rows.
        architecture: Name of its architecture, one of the paper's eight or another.
        folder: Where it lies.
        sha256: Checksum of the weights.
        device: Where it ran.
        quality: Means over the healthy slices of the reported patients: ``psnr``, ``psnr_brain``, ``ssim`` and the
            number of ``slices``.
    """

    name: str
    architecture: str
    folder: Path
    sha256: str
    device: str
    quality: Mapping[str, float | int]


@dataclass(frozen=True)
class SkippedPatient:
    """A patient that was not evaluated.

    Attributes:
        name: Name of the patient.
        path: Where it lies.
        part: Part of the split, empty if the split does not name it.
        reason: Why.
    """

    name: str
    path: Path
    part: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """The result of ``evaluate``.

    Attributes:
        cohort: The cohort.
        sequence: The sequence evaluated.
        split: Split file or store; None without a split.
        seed: Seed of the bootstrap.
        resamples: Resamples of the bootstrap.
        quantile: Quantile of rule ``healthy-quantile``.
        rows: Figures by model, score and rule, baselines last.
        models: The models.
        parts: Names of the patients of each part; skipped ones are not among them.
        skipped: Patients left out, with the reason.
        warnings: What was assumed, and what the figures have to be read with.
        versions: Versions of the packages that the figures depend on.
    """

    cohort: Path
    sequence: str
    split: Path | None
    seed: int
    resamples: int
    quantile: float
    rows: tuple[Row, ...]
    models: tuple[ModelSummary, ...]
    parts: Mapping[str, tuple[str, ...]]
    skipped: tuple[SkippedPatient, ...] = ()
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
