"""The effect of fine-tuning on local scans: the model before and after it, on slices held out of training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..calibration.calibration import in_groups, median_score, passed
from ..calibration.cases import BINS
from ..calibration.rules import quantile_of, search, threshold_of_healthy
from ..detection import SCORES, PostprocessParams, available_scores, suggested
from ..detection.baselines import BASELINES, INTENSITY, Baseline
from ..detection.choosing import Suggested, settle
from ..detection.members import members
from ..detection.provenance import versions
from ..detection.rules import HEALTHY, ORACLE
from ..detection.scores import RECONSTRUCTION, Evidence
from ..detection.thresholds import ScoreHistograms
from ..errors import ParameterError, PatientError
from ..metrics import ImageQuality
from ..patients import Patient
from ..progress import Progress, Stop, tell
from ..report.paired_comparison import Paired
from ..report.results import NOTHING, Evaluation, ModelSummary, Row
from ..slices import brain_mask
from ..store.cohort_split import Member
from ..store.parts import Part
from ..store.store import SliceStore
from ..zoo import Detector, load_model
from .choosing import CARD, FIXED, REPORTED, on_card
from .evaluation_tasks import let_models_go
from .fine_tuned import DEFAULT, MEASURES, BeforeAfter, Example, LocalThreshold
from .measuring import UNLABELLED, Subject, load_member, measure

EXAMPLES = 4
"""Number of example slices: from the most improved to the most worsened one, evenly by rank."""

WHITE = 0.5
"""Residual that is displayed as white, the same for both models."""

LOCAL, CARD_THRESHOLD = "local scans", "model card (threshold alone)"
"""Data that chose settings, besides those of an evaluation."""

FEW = 5
"""With fewer patients an interval is too rough to stand alone."""

_SHARE_OF_PATIENT = 10  # steps of the progress

Choice = tuple[str, str, PostprocessParams, str]
"""A rule, the data that it chose by, the settings, and a note."""


@dataclass(eq=False)
class _Side:
    """One of the two models, and its figures on the healthy slices.

    Attributes:
        name: Its name, another one than that of the other model.
        detector: The model.
        on_card: By score, the threshold of rule `healthy-quantile` on its card.
        quality: The figures of each slice.
        healthy: By score, the histogram of the anomaly over the brain voxels.
        above: By score, the brain voxels above the threshold on the card.
    """

    name: str
    detector: Detector
    on_card: Mapping[str, float]
    quality: ImageQuality = field(default_factory=ImageQuality.empty)
    healthy: dict[str, ScoreHistograms] = field(default_factory=lambda: defaultdict(_nothing))
    above: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, name: str, detector: Detector) -> _Side:
        found = {score: on_card(detector.card, detector.name, score, HEALTHY).params for score in _compared()}
        return cls(name, detector, {score: params[0].threshold for score, params in found.items() if params})

    def look(
        self,
        images: NDArray[np.float32],
        brain: NDArray[np.bool_],
        spacing: tuple[float, float],
        should_stop: Stop | None,
    ) -> None:
        """Add the healthy slices (N, S, S) of a patient."""
        given = passed(images, self.detector, should_stop)
        made = given.pop(RECONSTRUCTION.name)
        self.quality += ImageQuality.of(images, made, brain)
        seen = [Evidence(images, own, more, spacing=spacing) for own, more in members(made, given)]
        for score in _compared():
            if score in available_scores(self.detector.card):
                values = median_score(score, seen)
                self.healthy[score] += _histogram(values, brain)
                self.above[score] += int((values[brain] > self.on_card.get(score, np.inf)).sum())

    def local(self, score: str) -> PostprocessParams | None:
        """Return the choice of rule `healthy-quantile` on the local scans; None if there is none."""
        return threshold_of_healthy(self.healthy[score], quantile_of(self.detector.card))

    def local_threshold(self, score: str) -> float | None:
        """Return the threshold of that choice."""
        params = self.local(score)
        return None if params is None else params.threshold

    def share_above(self, score: str) -> float | None:
        """Return the share of the healthy local brain above the threshold on the card; None if it is not known."""
        voxels = int(self.healthy[score].healthy.sum())
        return self.above[score] / voxels if voxels and score in self.on_card else None

    def choices(self, score: str) -> list[Choice]:
        """Return the settings on its card for a score, its default ones first, with that note; then the local ones."""
        card = self.detector.card
        found: list[Choice] = [
            (item.rule, CARD, Suggested.of(item).params, "")
            for item in card.suggestions
            if item.score == score
        ] or [("default", CARD, PostprocessParams(), "")]
        default = settle(card)
        if score == default.score:
            usual = next(
                (one for one in found if one[2] == default.params),
                (default.rule, CARD_THRESHOLD, default.params, ""),
            )
            found = [(*usual[:3], DEFAULT), *(one for one in found if one != usual)]
        local = self.local(score)
        known = any((rule, params) == (HEALTHY, local) for rule, _, params, _ in found)
        return found if local is None or known else [*found, (HEALTHY, LOCAL, local, "")]


def _compared() -> tuple[str, ...]:
    """Return the scores whose thresholds are compared: they need no scaling, so one means the same for both models."""
    return tuple(sorted(score.name for score in SCORES if score.compared))


def _nothing() -> ScoreHistograms:
    return ScoreHistograms.empty(BINS)


def _histogram(values: NDArray[np.float32], brain: NDArray[np.bool_]) -> ScoreHistograms:
    return ScoreHistograms.of(values, np.zeros(values.shape, np.bool_), brain, BINS)


def compare(
    before: str | Path | Detector,
    after: str | Path | Detector,
    store: str | Path | SliceStore,
    *,
    patient: str | Path | Patient | None = None,
    part: Part = "validation",
    device: str = "auto",
    seed: int = 0,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> BeforeAfter:
    """Compare a model with its fine-tuned successor.

    Args:
        before: Name or folder of the model before, or the loaded model.
        after: The same of the model after.
        store: The store of local scans that it was fine-tuned on.
        patient: A patient with a lesion mask: path, or loaded; None compares only healthy slices.
        part: Part of the store to compare on. The validation slices chose the best epoch and the thresholds.
        device: See :func:`~napari_cead.devices.pick_device`; loaded models stay where they are.
        seed: Seed of the bootstrap.
        on_progress: Called with (steps done, total steps): each patient of the store is one, the patient with
            lesions a few more.
        should_stop: Called between batches of slices.

    Memory: the slices of one patient.

    Returns:
        The comparison. Without healthy slices in the part it has no figures of them, and says so.

    Raises:
        ModelError: If there is no such model, or it is damaged.
        ParameterError: If a model takes images of another size than the store's.
        PatientError: If the patient cannot be used or has no lesion mask.
        StoreError: If the store is damaged.
        Cancelled: If ``should_stop`` returned true.
    """
    slices = store if isinstance(store, SliceStore) else SliceStore.open(store)
    detectors = [
        model if isinstance(model, Detector) else load_model(model, device) for model in (before, after)
    ]
    for detector in detectors:
        _check_size(detector, slices)
    person = None if patient is None else _labelled(patient, slices)
    names = [detector.name for detector in detectors]
    if names[0] == names[1]:
        names = [f"{name} ({which})" for name, which in zip(names, ("before", "after"), strict=True)]
    sides = first, second = tuple(map(_Side.of, names, detectors))
    usable = slices.healthy_rows(part)
    indices = np.unique(usable[:, 0])
    steps = len(indices)
    total = steps + _SHARE_OF_PATIENT * (person is not None)
    scans = _nothing()
    for done, index in enumerate(indices, start=1):
        rows = usable[usable[:, 0] == index, 1]
        stored = slices.slices(slices.patients[index].name)
        images = stored.images[rows].astype(np.float32) / np.float32(255)
        # The brain of all slices, before dropping the others: it is one piece in 3-D.
        brain = brain_mask(stored.images)[rows]
        scans += _histogram(images, brain)
        for side in sides:
            side.look(images, brain, stored.patient.spacing[1:], should_stop)
        tell(on_progress, done, total)

    def of_patient(done: int, of: int) -> None:
        tell(on_progress, steps + _SHARE_OF_PATIENT * done // of, total)

    figures: tuple[Row, ...] = ()
    if person is not None:
        try:
            figures = tuple(_rows(person, sides, scans, of_patient, should_stop))
        finally:
            let_models_go()
    tell(on_progress, total, total)
    thresholds = [
        LocalThreshold(
            score,
            before=first.on_card.get(score),
            after=second.on_card.get(score),
            before_local=first.local_threshold(score),
            after_local=second.local_threshold(score),
            above_before=first.share_above(score),
            above_after=second.share_above(score),
            expected=1 - quantile_of(first.detector.card),
        )
        for score in _compared()
    ]
    chief = suggested(second.detector.card)[0]
    return BeforeAfter(
        before=first.name,
        after=second.name,
        evaluation=Evaluation(
            cohort=slices.path,
            sequence=slices.settings.sequence,
            split=slices.path,
            seed=seed,
            resamples=1000,
            quantile=None,
            rows=figures,
            models=tuple(_summary(side) for side in sides),
            parts={"test": () if person is None else (person.name,)},
            warnings=_remarks(first.detector, second.detector, slices, part, steps, person),
            versions=versions(),
        ),
        part=part,
        patients=steps,
        slices=len(usable),
        figures={
            name: Paired.of(
                getattr(first.quality, name), getattr(second.quality, name), usable[:, 0], more, seed=seed
            )
            for name, more in MEASURES.items()
            if len(usable)
        },
        thresholds=tuple(sorted(thresholds, key=lambda item: item.score != chief)),
        examples=_examples(sides, slices, usable),
        denoising=second.detector.card.spec.denoising,
    )


def _summary(side: _Side) -> ModelSummary:
    model = side.detector
    return ModelSummary(side.name, model.card.spec.name, model.folder, model.sha256, str(model.device), {})


def _check_size(detector: Detector, store: SliceStore) -> None:
    size = detector.card.preprocessing.image_size
    if size != store.settings.image_size:
        raise ParameterError(
            f"{detector.name} takes images of {size} pixels, the store has {store.settings.image_size}",
            hint="compare models on a store that was prepared for them",
        )


def _labelled(given: str | Path | Patient, store: SliceStore) -> Patient:
    """Return the patient with lesions.

    Raises:
        PatientError: If it has no lesion mask, or cannot be used.
    """
    if not isinstance(given, Patient):
        member, settings = Member(Path(given).name, Path(given), "test"), store.settings
        return load_member(member, settings.sequence, png_spacing=settings.png_spacing)
    if given.lesion_mask is None:
        raise PatientError(UNLABELLED, file=given.name, hint="add the mask, or leave the patient out")
    return given


def _examples(sides: Sequence[_Side], store: SliceStore, usable: NDArray[np.int64]) -> tuple[Example, ...]:
    before, after = (side.quality.residual for side in sides)
    changes = after - before
    order = np.argsort(changes, kind="stable")
    ranks = np.unique(np.linspace(0, len(order) - 1, EXAMPLES).round().astype(int)) if len(order) else ()
    examples = []
    for place in (int(order[rank]) for rank in ranks):
        patient, row = usable[place]
        stored = store.patients[patient]
        picture = store.read(usable[place : place + 1])
        image = picture.astype(np.float32) / np.float32(255)
        made = [in_groups(image, side.detector.reconstruct, None)[0][0] for side in sides]
        examples.append(
            Example(
                stored.name,
                stored.numbers[row],
                float(changes[place]),
                picture[0],
                *(_picture(slice_) for slice_ in made),
                *(_picture(np.abs(image[0] - slice_) / WHITE) for slice_ in made),
            )
        )
    return tuple(examples)


def _picture(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8] = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    return shown


def _rows(
    patient: Patient,
    sides: Sequence[_Side],
    scans: ScoreHistograms,
    on_progress: Progress,
    should_stop: Stop | None,
) -> Iterator[Row]:
    """Yield the rows of both models, then of the baselines, on one patient, measured as in `evaluate`.

    Each model runs under the scores that any of them suggests, if it supports them. Its settings are those on its
    card, those of rule `healthy-quantile` on the local scans, and those of rule `oracle`. Baselines have the last two;
    without measurements on the local scans, fixed settings replace the former.
    """
    sequence = patient.sequence
    wanted = dict.fromkeys(suggested(side.detector.card)[0] for side in sides)
    subjects: list[tuple[Subject, Callable[[str], list[Choice]]]] = []
    for side in sides:
        possible = available_scores(side.detector.card)
        scores = tuple(score for score in wanted if score in possible)
        subjects.append((Subject(side.name, scores, side.detector), side.choices))
    # The local scans were measured as the models see them: this fits the baselines with the same scaling.
    scaling, local = sides[0].detector.card.preprocessing.intensity, threshold_of_healthy(scans)
    for one in BASELINES.values():
        fitted = local if (one.scaling, one.default) == (scaling, INTENSITY) else None
        subject = Subject(one.title(sequence), (one.default,), one)
        subjects.append((subject, partial(_of_baseline, one, sequence, fitted)))
    # A reported patient's ranks are not needed.
    member, nothing = Member(patient.name, Path(), "validation"), None
    for done, (subject, choices) in enumerate(subjects, start=1):
        measured = measure(subject, member, patient, {}, should_stop=should_stop)
        nothing = measured.nothing or nothing
        for score, case in measured.cases.items():
            chosen = choices(score)
            # Since it also tries the choices of the other rules, it is a bound.
            best = search([case], also=[params for _, _, params, _ in chosen], should_stop=should_stop)
            chosen += [] if best is None else [(ORACLE, REPORTED, best.params, "")]
            figures = case.figures(params for _, _, params, _ in chosen)
            for rule, chosen_on, params, note in chosen:
                yield Row.of(
                    *(subject.name, score, rule, params, [figures[params]]),
                    chosen_on=chosen_on,
                    sequence=sequence,
                    note=note,
                )
        on_progress(done, len(subjects))
    assert nothing is not None  # a baseline has measured it
    yield Row.of(NOTHING, None, "none", None, [nothing], sequence=sequence)


def _of_baseline(
    baseline: Baseline, sequence: str, fitted: PostprocessParams | None, score: str
) -> list[Choice]:
    """Return the settings of a baseline: those that fit the local scans, or the fixed ones."""
    params = fitted or baseline.settings(score, HEALTHY, sequence)
    return [] if params is None else [(HEALTHY, LOCAL if fitted else FIXED, params, "")]


def _remarks(
    before: Detector,
    after: Detector,
    store: SliceStore,
    part: Part,
    patients: int,
    person: Patient | None,
) -> tuple[str, ...]:
    """Return the caveats for reading the figures of a comparison."""
    notes = []
    if before.sha256 == after.sha256:
        notes.append("both models have the same weights")
    elif before.sha256 not in {parent.sha256 for parent in after.card.parents}:
        notes.append(f"{after.name} was not fine-tuned from {before.name}, according to its card")
    if after.card.training.get("data_fingerprint") != store.fingerprint:
        notes.append(
            f"{after.name} was not trained on the present version of this store: it may have seen these patients"
        )
    elif part == "validation":
        notes.append(
            f"the best epoch and the thresholds of {after.name} were chosen on these slices, which flatters it a little"
        )
    if part == "train":
        notes.append("these are training slices: the figures are optimistic")
    if store.split_kind == "slice":
        notes.append("the split is by slice: training has seen these patients, so the figures are optimistic")
    if store.settings.assume_healthy:
        notes.append("slices of patients without a lesion mask were assumed to be healthy")
    if 1 < patients < FEW:  # of a single one the verdict says that there is no interval
        notes.append(f"{patients} patients are few: the interval is rough")
    for detector in (before, after):
        wants, has = detector.card.preprocessing, store.settings
        if (wants.sequence, wants.intensity, wants.spacing) != (has.sequence, has.intensity, has.spacing):
            notes.append(f"{detector.name} expects slices that were prepared differently from these")
    if person is not None:
        notes += [*person.warnings]
        if _in_training(person, store):
            notes.append(f"{person.name} was in the training: its figures are optimistic")
    return tuple(dict.fromkeys(notes))


def _in_training(person: Patient, store: SliceStore) -> bool:
    """Whether slices of a patient were trained on, judging by the paths of its files."""
    files = [file.resolve() for file in person.files.values()]
    sources = [Path(patient.source).resolve() for patient in store.patients_of("train")]
    return any(source == file or source in file.parents for source in sources for file in files)
