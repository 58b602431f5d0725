"""One patient under one model: all the measurements of an evaluation.

`measure` is the unit of work of an evaluation. It depends only on its arguments, and its result is small enough to send
between processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.cases import BINS, MIN_BRAIN, Case, figures_of
from ..detection import PostprocessParams, Reconstruction, run
from ..detection.baselines import Baseline, Seen, stack_of
from ..detection.thresholds import ScoreHistograms
from ..errors import CeadWarning, PatientError
from ..metrics import Candidates, ImageQuality, candidates
from ..patients import PNG_SPACING, Patient, load_patient
from ..patients.findings import refused_mask
from ..preparing import prepare_patient
from ..progress import Stop
from ..report.results import PatientFigures
from ..slices import slice_marks
from ..store.cohort_split import Member
from ..zoo import Detector
from ..zoo.recognising import was_trained_on
from .maps import ScoreMaps
from .ranking import RankCounts

Settings = Mapping[str, Mapping[str, PostprocessParams]]
"""By score and rule, the settings of the counts."""


@dataclass(frozen=True)
class Subject:
    """A model or baseline with its scores.

    Attributes:
        name: Name in the table.
        scores: Anomaly scores.
        maker: The model, a baseline without a network, or the score maps of another method.
    """

    name: str
    scores: tuple[str, ...]
    maker: Detector | Baseline | ScoreMaps


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of one patient under one subject.

    Attributes:
        figures: Figures by score and rule.
        nothing: Figures of an empty mask; None for an unlabelled patient.
        histograms: By score, the anomaly of lesion and other voxels of the brain.
        ranks: By score, the same at the full resolution of scores, for a reported patient.
        candidates: By score, the FROC candidates of the map at every threshold, for a reported patient.
        cases: By score, the data for the rules.
        quality: PSNR and SSIM of the healthy slices; none without a network.
        warnings: Assumptions made along the way.
        trained_on: Whether the model was trained on this scan; None if its card does not say.
        shown: The slices with lesion for pictures, if they are wanted and a network made them: the numbers ``slices``
            (n,), and ``input`` and ``reconstruction`` at the voxels of their brain.
    """

    figures: Mapping[str, Mapping[str, PatientFigures]]
    nothing: PatientFigures | None
    histograms: Mapping[str, ScoreHistograms]
    cases: Mapping[str, Case]
    quality: ImageQuality
    warnings: tuple[str, ...]
    ranks: Mapping[str, RankCounts] = field(default_factory=dict)
    candidates: Mapping[str, Candidates] = field(default_factory=dict)
    trained_on: bool | None = None
    shown: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def load_member(
    member: Member,
    sequence: str,
    *,
    png_spacing: tuple[float, float, float] = PNG_SPACING,
    assume_healthy: bool = False,
    device: str = "auto",
) -> Patient:
    """Load a patient of a cohort.

    Args:
        member: The patient.
        sequence: Sequence to use.
        png_spacing: (z, y, x) in mm of PNG slices.
        assume_healthy: Whether an unlabelled patient counts as healthy; if not, it is an error.
        device: Device for skull stripping, if the member's preparation includes it.

    Raises:
        PatientError: If the patient cannot be used.
        MissingExtraError: If a skull has to be stripped and the stripper is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)  # patient.warnings holds them
        patient = load_patient(
            member.source, sequence, only=not member.preparation.needs_others, png_spacing=png_spacing
        )
    if patient.lesion_mask is None and not assume_healthy:
        reason = refused_mask(patient.warnings) or UNLABELLED
        raise PatientError(reason, file=member.path, hint="add the mask, an empty one for a healthy patient")
    return (
        patient if member.preparation.nothing else prepare_patient(patient, member.preparation, device=device)
    )


def measure(
    subject: Subject,
    member: Member,
    patient: Patient,
    settings: Settings,
    *,
    keep_cases: bool = True,
    pictures: bool = False,
    should_stop: Stop | None = None,
) -> Measured:
    """Detect in one patient and count.

    Args:
        subject: Model and scores.
        member: The patient, with its slices to measure.
        patient: The same, loaded.
        settings: By score and rule, the settings of the counts.
        keep_cases: Whether to return cases for a rule that has yet to choose.
        pictures: Whether to return the slices with lesion.
        should_stop: Called between batches of slices.

    Raises:
        PatientError: If the patient cannot be used.
        Cancelled: If ``should_stop`` returned true.
    """
    made = reconstruction_of(subject, patient, should_stop, member.name)
    chosen = slice(None) if member.slices is None else np.array(member.slices, dtype=np.int64)
    if member.slices is not None and max(member.slices, default=0) >= len(made.stack.brain):
        raise PatientError(
            "the split names slices that this scan does not have",
            file=member.path,
            hint="evaluate the cohort that the store was prepared from",
        )
    brain = made.stack.brain[chosen]
    ignored = None if patient.ignored is None else patient.ignored[chosen]
    if ignored is not None:
        brain = brain & ~ignored
    reference = None if patient.lesion_mask is None else patient.lesion_mask[chosen]
    healthy = made.large()[chosen] if isinstance(made, Seen) else _large(made)[chosen]
    if reference is not None:
        healthy &= ~reference.any(axis=(1, 2))
    if ignored is not None:
        healthy &= ~ignored.any(axis=(1, 2))

    figures: dict[str, dict[str, PatientFigures]] = {}
    histograms: dict[str, ScoreHistograms] = {}
    cases: dict[str, Case] = {}
    ranks: dict[str, RankCounts] = {}
    marks: dict[str, Candidates] = {}
    for score in subject.scores:
        anomaly_map = made.anomaly_map(score)[chosen]
        if ignored is not None:  # nothing is detected there, and nothing counted
            anomaly_map = np.where(ignored, np.float32(0), anomaly_map)
        case = Case.of(member.name, anomaly_map, reference, brain, patient.spacing, healthy, ignored)
        figures[score] = {}
        if reference is not None:
            values, inside, lesion = case.frame(0)
            histograms[score] = ScoreHistograms.of(case.values, lesion[inside], bins=BINS)
            if member.part == "test":
                ranks[score] = RankCounts.of(values, lesion, inside)
                marks[score] = candidates(values, lesion, inside)
            by_rule = settings.get(score, {})
            found = case.figures(by_rule.values())
            figures[score] = {rule: found[params] for rule, params in by_rule.items()}
        if keep_cases:
            cases[score] = case
    nothing = quality = None
    kept: dict[str, NDArray[Any]] = {}
    if isinstance(made, Reconstruction):
        brain_on_model = made.stack.geometry.labels_to_model(made.stack.brain)[chosen]
        images, slices = made.stack.images[chosen][healthy], made.slices[chosen][healthy]
        quality = ImageQuality.of(images, slices, brain_on_model[healthy])
        if pictures and reference is not None and ignored is None:
            rows = np.flatnonzero(reference.any(axis=(1, 2)))
            inside = brain[rows]
            kept = {
                "slices": rows,
                "input": made.stack.scaled[chosen][rows][inside],
                "reconstruction": made.volume_slices(np.arange(len(made.slices))[chosen][rows])[inside],
            }
    elif reference is not None:
        shown = np.asarray(brain.any(axis=(1, 2)))
        nothing = figures_of(member.name, np.zeros_like(reference), reference, shown, patient.spacing)
    notes = tuple(dict.fromkeys((*patient.warnings, *made.warnings)))
    seen = None if isinstance(subject.maker, ScoreMaps) else False
    if isinstance(subject.maker, Detector):
        seen = was_trained_on(subject.maker.card, marks_of(patient))
    quality = quality or ImageQuality.empty()
    return Measured(figures, nothing, histograms, cases, quality, notes, ranks, marks, seen, kept)


@lru_cache(maxsize=1)  # the same under every model
def marks_of(patient: Patient) -> tuple[str, ...]:
    """Return the marks of a patient's slices."""
    return slice_marks(patient.volume())


def _large(made: Reconstruction) -> NDArray[np.bool_]:
    """Return the slices (Z,) with enough brain to count as healthy, as in training."""
    shown = made.stack.geometry.labels_to_model(made.stack.brain)
    return np.asarray(shown.mean(axis=(1, 2)) >= MIN_BRAIN)


UNLABELLED = "there is no lesion mask, and unlabelled is not healthy"


def reconstruction_of(
    subject: Subject, patient: Patient, should_stop: Stop | None = None, member: str = ""
) -> Reconstruction | Seen:
    """Return a model's reconstruction of a patient, or the counterpart of what has no network.

    Args:
        subject: The model, baseline or maps.
        patient: The patient.
        should_stop: Called between batches of slices.
        member: Name of the patient in the evaluation, by which its score map is found.
    """
    if isinstance(subject.maker, ScoreMaps):
        return subject.maker.seen(patient, member)
    if isinstance(subject.maker, Baseline):
        return subject.maker.seen(patient)
    stack = stack_of(patient, subject.maker.card.preprocessing)
    return run(patient, subject.maker, score=subject.scores, should_stop=should_stop, stack=stack)
