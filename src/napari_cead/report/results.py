"""The results of an evaluation: one row per model, score and rule, and the parts of the split."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..detection import PostprocessParams
from ..detection.rules import VALIDATION, Edge, is_optimistic
from ..metrics import Averages, Interval, averages, bootstrap, lesion_f1
from ..metrics.lesion_sizes import SizeStratum, strata
from ..metrics.overlap import NAN
from ..metrics.patient_figures import LesionRecord, PatientFigures
from ..wording import counted

__all__ = [
    "NOTHING",
    "SCHEMA_VERSION",
    "Curve",
    "Evaluation",
    "LesionRecord",
    "ModelSummary",
    "OverSeeds",
    "PatientFigures",
    "Row",
    "SizeStratum",
    "SkippedPatient",
    "SlicePicture",
    "Twins",
]

SCHEMA_VERSION = 2
"""Version of ``results.json``; 2 added sizes of lesions, HD95, twins, curves and the sequence of a row.

Later files also have ``chosen_by``, ``edge``, ``folds``, ``method``, ``lesion_f1``, ``froc``, ``froc_mean``,
``healthy_patients``, ``healthy_ml``, ``dice_ceiling``, ``aupro``, ``lesionwise_dice``, ``lesionwise_hd95`` and
``healthy_above``, ``healthy_voxels``, ``layout``, ``mixture``, ``groups`` and ``over_seeds``; a reader that looks keys
up by name can ignore them."""

NOTHING = "nothing"
"""Name of the baseline that detects nothing."""


@dataclass(frozen=True, eq=False)
class Row:
    """The figures of one model under one score and one rule on one sequence, over the reported patients.

    Attributes:
        model: Name of the model, or of a baseline.
        score: Anomaly score; None for the baseline that detects nothing.
        rule: The rule that chose the settings; ``"none"`` for the baseline that detects nothing.
        params: The settings; None if the rule had no data, or if the folds have several.
        chosen_on: ``"validation patients"``, ``"other folds"``, ``"model card"`` or ``"reported patients"``; empty
            without a choice.
        note: The reason for having no figures, or a caveat.
        averages: The averages; None without settings.
        intervals: Bootstrap intervals by name of the average.
        lesion_patients: Patients with lesions among those reported.
        lesion_sensitivity: Share of all lesions that were found; NaN without lesions.
        false_positives_per_patient: Mean number of false detections of a patient.
        detected_ml: Mean detected volume of a patient in mL.
        auroc: Area under the ROC curve over the brain voxels of all patients, whatever the rule.
        average_precision: Average precision (AUPRC) over the same voxels.
        patients: Figures of each patient.
        sequence: The sequence given to the model.
        lesion_precision: Share of all detections that are true; NaN without detections.
        hd95: Mean over patients of the 95th percentile Hausdorff distance in mm, if it is defined; NaN if it never
            is.
        hd95_patients: Number of patients with a defined value: those with lesion and detection.
        strata: Lesion-wise sensitivity by size of the lesion.
        froc: Share of the lesions found at each of `metrics.FALSE_POSITIVES` false positives per patient, from
            the map without post-processing, whatever the rule; empty if not measured.
        healthy_patients: Patients without lesion among those reported.
        healthy_ml: Mean volume detected in them, in mL, all of it false; NaN without such patients.
        method: Method of a baseline; empty for a model.
        chosen_by: Number of patients that chose the settings, the fewest of all folds; None if none did or a card does
            not say.
        edge: ``"lowest"`` or ``"highest"`` if the threshold lies at that end of those tried, beyond which a better
            one may lie.
        lesionwise_dice: Mean over patients of the lesion-wise Dice, if it is defined.
        lesionwise_hd95: The same of the lesion-wise HD95 in mm.
        dice_ceiling: Highest ``dice_pooled`` under one threshold without post-processing, whatever the rule.
        aupro: Area under the per-region overlap, whatever the rule; see `metrics.aupro`.
        healthy_above: Share of the brain voxels of all patients outside lesions that are above the threshold, that of
            the patient's own fold, before post-processing.
        healthy_voxels: Number of these voxels.
        folds: The settings of each fold; empty without folds, or if a card chose.
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
    sequence: str = "flair"
    lesion_precision: float = NAN
    hd95: float = NAN
    hd95_patients: int = 0
    strata: tuple[SizeStratum, ...] = field(default=(), repr=False)
    froc: tuple[float, ...] = ()
    healthy_patients: int = 0
    healthy_ml: float = NAN
    method: str = ""
    chosen_by: int | None = None
    edge: Edge = ""
    lesionwise_dice: float = NAN
    lesionwise_hd95: float = NAN
    dice_ceiling: float = NAN
    aupro: float = NAN
    healthy_above: float = NAN
    healthy_voxels: int = 0
    folds: tuple[PostprocessParams, ...] = ()

    @property
    def lesion_f1(self) -> float:
        """Harmonic mean of lesion-wise sensitivity and precision, see `metrics.lesion_f1`."""
        return lesion_f1(self.lesion_sensitivity, self.lesion_precision)

    @property
    def froc_mean(self) -> float:
        """Mean sensitivity over `metrics.FALSE_POSITIVES`; NaN if it was not measured."""
        return sum(self.froc) / len(self.froc) if self.froc else NAN

    @property
    def settings(self) -> tuple[PostprocessParams, ...]:
        """The settings, those of each fold if there are folds."""
        return self.folds or (() if self.params is None else (self.params,))

    @property
    def chosen(self) -> str:
        """The data that chose the settings, the number of patients, and any edge; empty without a choice."""
        return chosen_by(self.chosen_on, self.chosen_by, self.edge)

    @property
    def optimistic(self) -> bool:
        """Whether the reported patients themselves chose the settings."""
        return is_optimistic(self.rule)

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """Names of the reported patients that the model was trained on; None if unknown for some and true for none."""
        found = tuple(patient.name for patient in self.patients if patient.trained_on)
        known = self.patients and all(patient.trained_on is not None for patient in self.patients)
        return found if found or known else None

    @classmethod
    def of(
        cls,
        model: str,
        score: str | None,
        rule: str,
        params: PostprocessParams | None,
        patients: Sequence[PatientFigures],
        *,
        ranking: tuple[float, float] = (NAN, NAN),
        resamples: int = 1000,
        seed: int = 0,
        **others: Any,
    ) -> Row:
        """Average the figures of patients.

        Args:
            model: Name of the model.
            score: Anomaly score.
            rule: The rule that chose the settings.
            params: The settings.
            patients: Figures of each patient at these settings.
            ranking: AUROC and average precision.
            resamples: Resamples of the bootstrap.
            seed: Seed of the bootstrap.
            **others: Other attributes of the row.
        """
        counts = [patient.counts for patient in patients]
        lesions = sum(patient.lesions for patient in patients)
        detections = sum(patient.detections for patient in patients)
        false = sum(patient.false_detections for patient in patients)
        healthy = [patient.detected_ml for patient in patients if not patient.lesions]
        distances = [patient.hd95 for patient in patients if not math.isnan(patient.hd95)]
        number = len(patients)
        return cls(
            model=model,
            score=score,
            rule=rule,
            params=params,
            averages=averages(counts),
            intervals=bootstrap(counts, resamples, seed),
            lesion_patients=sum(patient.lesions > 0 for patient in patients),
            lesion_sensitivity=sum(item.lesions_found for item in patients) / lesions if lesions else NAN,
            false_positives_per_patient=false / number if number else NAN,
            detected_ml=sum(item.detected_ml for item in patients) / number if number else NAN,
            auroc=ranking[0],
            average_precision=ranking[1],
            patients=tuple(patients),
            lesion_precision=(detections - false) / detections if detections else NAN,
            hd95=_mean(distances),
            hd95_patients=len(distances),
            strata=strata(patients, resamples, seed),
            lesionwise_dice=_mean(patient.lesionwise_dice for patient in patients),
            lesionwise_hd95=_mean(patient.lesionwise_hd95 for patient in patients),
            healthy_patients=len(healthy),
            healthy_ml=sum(healthy) / len(healthy) if healthy else NAN,
            **others,
        )


def _mean(values: Iterable[float]) -> float:
    """Return the mean of the defined values; NaN without any."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else NAN


def chosen_by(chosen_on: str, patients: int | None, edge: str = "") -> str:
    """Return the data that chose the settings, as text.

    Args:
        chosen_on: The data that chose them; empty without a choice.
        patients: Number of patients that chose, if known.
        edge: The end of the thresholds tried at which the threshold lies.
    """
    words = chosen_on
    if patients is not None and chosen_on:
        words = {
            "model card": f"model card ({counted(patients, 'patient')})",
            "other folds": f"{counted(patients, 'patient')} of the other folds",
        }.get(chosen_on, counted(patients, chosen_on.removesuffix("s")))
    return f"{words}, at the edge: {edge} threshold tried" if edge else words


TwinKind = Literal["context encoding", "fine-tuning"]
"""What a model has and its twin has not."""


@dataclass(frozen=True)
class Twins:
    """A model beside its twin: the difference of one average over the patients that both have.

    Attributes:
        model: Name of the model: a context-encoding or a fine-tuned one.
        twin: Name of the same network without context encoding, or of the model before fine-tuning.
        score: Anomaly score of both.
        rule: The rule that chose the settings of each.
        average: Name of the average.
        difference: Average of the model minus that of the twin; NaN if either is undefined.
        interval: Paired 95 % bootstrap interval over patients.
        patients: Patients that both have.
        sequence: The sequence given to both.
        kind: What the model has and its twin has not.
    """

    model: str
    twin: str
    score: str
    rule: str
    average: str
    difference: float
    interval: Interval | None
    patients: int
    sequence: str = "flair"
    kind: TwinKind = "context encoding"


@dataclass(frozen=True)
class OverSeeds:
    """One average of the models ``NAME.seedN`` under one score and rule.

    Attributes:
        model: ``NAME``.
        score: Anomaly score.
        rule: The rule that chose the settings of each.
        sequence: The sequence given to them.
        average: Name of the average.
        mean: Mean over the seeds.
        deviation: Standard deviation over the seeds (n - 1).
        interval: 95 % bootstrap interval of the mean over seeds and patients; None if undefined.
        seeds: Number of seeds.
        patients: Patients that all of them have.
    """

    model: str
    score: str
    rule: str
    sequence: str
    average: str
    mean: float
    deviation: float
    interval: Interval | None
    seeds: int
    patients: int


@dataclass(frozen=True)
class Curve:
    """Dice of one model, score and sequence over the threshold, for the reported patients.

    Attributes:
        model: Name of the model.
        score: Anomaly score.
        sequence: The sequence given to the model.
        thresholds: Thresholds of the curve without post-processing.
        raw_dice_pooled: ``dice_pooled`` at each of them, without post-processing.
        processed_thresholds: Thresholds of the curve with post-processing; empty if none was searched.
        processed_dice_patient: ``dice_patient`` at each of them, with the paper's morphology.
        patients: Number of patients of the curves.
    """

    model: str
    score: str
    sequence: str
    thresholds: tuple[float, ...]
    raw_dice_pooled: tuple[float, ...]
    processed_thresholds: tuple[float, ...]
    processed_dice_patient: tuple[float, ...]
    patients: int


@dataclass(frozen=True, eq=False)
class SlicePicture:
    """An example slice on the model's grid.

    Attributes:
        model: Name of the model.
        score: Anomaly score.
        rule: The rule that chose the settings.
        sequence: The sequence given to the model.
        kind: Its rank among the reported slices by Dice.
        patient: Name of the patient.
        slice: Index of the slice in the patient.
        dice: Dice of the slice.
        input: The network's input (Y, X) float32 in [0, 1].
        reconstruction: Its reconstruction (Y, X) float32 in [0, 1].
        anomaly_map: The anomaly (Y, X) float32 in [0, 1].
        mask: The detected mask (Y, X) bool.
        reference: The lesion mask (Y, X) bool.
        threshold: The threshold of the detected mask.
    """

    model: str
    score: str
    rule: str
    sequence: str
    kind: Literal["best", "median", "worst"]
    patient: str
    slice: int
    dice: float
    input: NDArray[np.float32] = field(repr=False)
    reconstruction: NDArray[np.float32] = field(repr=False)
    anomaly_map: NDArray[np.float32] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    reference: NDArray[np.bool_] = field(repr=False)
    threshold: float | None = None


@dataclass(frozen=True)
class ModelSummary:
    """An evaluated model.

    Attributes:
        name: Its name in the rows.
        architecture: Name of its architecture, one of the paper's eight or another.
        folder: Its folder.
        sha256: Checksum of the weights.
        device: The device it ran on.
        quality: Means over the healthy slices of the reported patients, of the first sequence: ``psnr``,
            ``psnr_brain``, ``ssim`` and the number of ``slices``.
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
        path: Its path.
        part: Part of the split, empty if the split does not name it.
        reason: The reason.
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
        sequence: The sequence evaluated, the first one of several.
        split: Split file or store; None without a split.
        seed: Seed of the bootstrap.
        resamples: Resamples of the bootstrap.
        quantile: Quantile of rule ``healthy-quantile`` if one was given; None: that of each kind of model.
        rows: Figures by model, score and rule, baselines last.
        models: The models.
        parts: Names of the patients of each part, without the skipped ones.
        skipped: Patients left out, with the reason.
        warnings: Assumptions, and caveats for the figures.
        versions: Versions of the packages that the figures depend on.
        sequences: All sequences evaluated; empty: only ``sequence``.
        twins: Context-encoding models beside their twins, fine-tuned ones beside their bases.
        curves: Dice over the threshold.
        pictures: Example slices; they are in no table.
        folds: Names of the patients of each fold, whose settings the others chose; empty without folds.
        preparation: What was done to each scan first: see ``Preparation.as_dict``.
        layout: Name of the layout whose fixed split was used; else empty.
        mixture: Lesion to healthy slices of a published test set, in which the averages are given too; None without.
        groups: What is known of the reported patients (``"site"``, ``"age"``): each one's group by its name.
        over_seeds: Averages over models that differ only by their seed.
    """

    cohort: Path
    sequence: str
    split: Path | None
    seed: int
    resamples: int
    quantile: float | None
    rows: tuple[Row, ...]
    models: tuple[ModelSummary, ...]
    parts: Mapping[str, tuple[str, ...]]
    skipped: tuple[SkippedPatient, ...] = ()
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    sequences: tuple[str, ...] = ()
    twins: tuple[Twins, ...] = ()
    curves: tuple[Curve, ...] = field(default=(), repr=False)
    pictures: tuple[SlicePicture, ...] = field(default=(), repr=False)
    folds: tuple[tuple[str, ...], ...] = ()
    preparation: Mapping[str, str] = field(default_factory=dict)
    layout: str = ""
    mixture: tuple[int, int] | None = None
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    over_seeds: tuple[OverSeeds, ...] = ()

    @property
    def split_name(self) -> str:
        """Name of the split; empty without one."""
        if self.split is not None:
            return self.split.name
        return f"layout {self.layout}" if self.layout else ""

    @property
    def choosers(self) -> int:
        """Number of patients that chose by their lesion masks, see :func:`choosers`."""
        return choosers(self.rows)


class Chosen(Protocol):
    """What a row, also one that was read again, says about the choice of its settings."""

    @property
    def rule(self) -> str:
        """Name of the rule."""

    @property
    def chosen_on(self) -> str:
        """The data that chose."""

    @property
    def chosen_by(self) -> int | None:
        """Number of patients that chose."""


def choosers(rows: Sequence[Chosen]) -> int:
    """Return the number of patients that chose settings by their lesion masks: the fewest of all rows concerned.

    Validation patients choose nothing if none of them has a lesion, nor do those without a mask: then it is 0, and
    rows of rule `validation` have the settings of a card.
    """
    own = (
        row
        for row in rows
        if row.rule == VALIDATION and row.chosen_on in ("validation patients", "other folds")
    )
    return min((row.chosen_by or 0 for row in own), default=0)
