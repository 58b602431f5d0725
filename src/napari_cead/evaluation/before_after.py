"""The effect of fine-tuning on local scans: the model before and after it, on slices held out of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.calibration import in_groups
from ..calibration.healthy_slices import HealthySlices, compared_scores, look
from ..calibration.rules import QUANTILE, quantile_of, search, threshold_of_healthy
from ..detection import PostprocessParams, available_scores, suggested
from ..detection.baselines import BASELINES, INTENSITY, Baseline
from ..detection.choosing import Suggested, settle
from ..detection.provenance import versions
from ..detection.rules import HEALTHY, ORACLE
from ..errors import ParameterError, PatientError
from ..patients import Patient, load_patient
from ..progress import Progress, Stop, tell
from ..report.results import NOTHING, Evaluation, ModelSummary, Row
from ..store.cohort_split import Member
from ..store.parts import Part
from ..store.store import SliceStore
from ..zoo import Detector, ModelCard, load_model
from .choosing import CARD, FIXED, REPORTED, on_card
from .evaluation_tasks import let_models_go
from .fine_tuned import DEFAULT, BeforeAfter, Example, LocalThreshold
from .measuring import Subject, measure

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
    first, second = (
        model if isinstance(model, Detector) else load_model(model, device) for model in (before, after)
    )
    for detector in (first, second):
        _check_size(detector, slices)
    person = None if patient is None else _labelled(patient, slices)
    models = {first.name: first, second.name: second}
    if len(models) < 2:
        models = {f"{first.name} (before)": first, f"{second.name} (after)": second}
    names = tuple(models)
    steps = len(np.unique(slices.healthy_rows(part)[:, 0]))
    total = steps + _SHARE_OF_PATIENT * (person is not None)

    def of_patient(done: int, of: int) -> None:
        tell(on_progress, steps + _SHARE_OF_PATIENT * done // of, total)

    cards = {
        which: {
            score: chosen.params[0].threshold
            for score in compared_scores()
            if (chosen := on_card(detector.card, detector.name, score, HEALTHY)).params
        }
        for which, detector in (("before", first), ("after", second))
    }
    found = look(
        *(first, second, slices, part, cards),
        on_progress=None if on_progress is None else lambda done, _: on_progress(done, total),
        should_stop=should_stop,
    )
    rows: tuple[Row, ...] = ()
    if person is not None:
        try:
            rows = tuple(_rows(person, models, _local_settings(found, models), of_patient, should_stop))
        finally:
            let_models_go()
    tell(on_progress, total, total)
    evaluation = Evaluation(
        cohort=slices.path,
        sequence=slices.settings.sequence,
        split=slices.path,
        seed=seed,
        resamples=1000,
        quantile=None,
        rows=rows,
        models=tuple(
            ModelSummary(name, one.card.spec.name, one.folder, one.sha256, str(one.device), {})
            for name, one in models.items()
        ),
        parts={"test": () if person is None else (person.name,)},
        warnings=_remarks(first, second, slices, part, found.patients, person),
        versions=versions(),
    )
    thresholds = [_threshold(score, cards, found, (first, second)) for score in compared_scores()]
    chief = suggested(second.card)[0]
    return BeforeAfter(
        before=names[0],
        after=names[1],
        evaluation=evaluation,
        part=part,
        patients=found.patients,
        slices=len(found.places),
        figures=found.paired(seed=seed),
        thresholds=tuple(sorted(thresholds, key=lambda item: item.score != chief)),
        examples=_examples(found, first, second, slices),
        denoising=second.card.spec.denoising,
    )


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
    settings = store.settings
    person = (
        given
        if isinstance(given, Patient)
        else load_patient(given, settings.sequence, only=True, png_spacing=settings.png_spacing)
    )
    if person.lesion_mask is None:
        raise PatientError(
            "there is no lesion mask to compare with",
            file=person.name if isinstance(given, Patient) else given,
            hint="give a patient with a mask, or leave the patient out",
        )
    return person


def _local_settings(
    found: HealthySlices, models: Mapping[str, Detector]
) -> dict[tuple[str, str], PostprocessParams]:
    """Return, by model and score, the choice of rule ``healthy-quantile`` on the local scans."""
    quantiles = {INTENSITY: QUANTILE} | {name: quantile_of(model.card) for name, model in models.items()}
    by_model = ({INTENSITY: found.intensity}, found.before.histograms, found.after.histograms)
    return {
        (name, score): params
        for (name, quantile), histograms in zip(quantiles.items(), by_model, strict=True)
        for score, histogram in histograms.items()
        if (params := threshold_of_healthy(histogram, quantile)) is not None
    }


def _threshold(
    score: str,
    cards: Mapping[str, Mapping[str, float]],
    found: HealthySlices,
    models: tuple[Detector, Detector],
) -> LocalThreshold:
    values: dict[str, Any] = {}
    for which, looked, model in zip(("before", "after"), (found.before, found.after), models, strict=True):
        histogram = looked.histograms.get(score)
        local = None if histogram is None else threshold_of_healthy(histogram, quantile_of(model.card))
        values[which] = cards[which].get(score)
        values[f"{which}_local"] = None if local is None else local.threshold
        known = found.voxels and score in cards[which]
        values[f"above_{which}"] = looked.above.get(score, 0) / found.voxels if known else None
    return LocalThreshold(score=score, expected=1 - quantile_of(models[0].card), **values)


def _examples(
    found: HealthySlices, before: Detector, after: Detector, store: SliceStore
) -> tuple[Example, ...]:
    changes = found.after.of("residual") - found.before.of("residual")
    order = np.argsort(changes, kind="stable")
    ranks = np.unique(np.linspace(0, len(order) - 1, EXAMPLES).round().astype(int)) if len(order) else ()
    examples = []
    for place in (int(order[rank]) for rank in ranks):
        patient, row = found.places[place]
        stored = store.patients[patient]
        picture = store.read(found.places[place : place + 1])
        image = picture.astype(np.float32) / np.float32(255)
        made = [in_groups(image, model.reconstruct, None)[0][0] for model in (before, after)]
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
    models: Mapping[str, Detector],
    local: Mapping[tuple[str, str], PostprocessParams],
    on_progress: Progress,
    should_stop: Stop | None,
) -> Iterator[Row]:
    """Yield the rows of both models, then of the baselines, on one patient, measured as in `evaluate`.

    Each model runs under the scores that any of them suggests, if it supports them. Its settings are those on its
    card, those of rule `healthy-quantile` on the local scans, and those of rule `oracle`. Baselines have the last two;
    without measurements on the local scans, fixed settings replace the former.
    """
    sequence = patient.sequence
    wanted = dict.fromkeys(suggested(model.card)[0] for model in models.values())
    subjects = [
        Subject(name, tuple(score for score in wanted if score in available_scores(model.card)), model)
        for name, model in models.items()
    ]
    subjects += [Subject(one.title(sequence), (one.default,), one) for one in BASELINES.values()]
    # The local scans were measured as the models see them: this fits the baseline with the same scaling.
    scaling = next(iter(models.values())).card.preprocessing.intensity
    # A reported patient's ranks are not needed.
    member, nothing = Member(patient.name, Path(), "validation"), None
    for done, subject in enumerate(subjects, start=1):
        measured = measure(subject, member, patient, {}, should_stop=should_stop)
        nothing = measured.nothing or nothing
        for score, case in measured.cases.items():
            own = local.get((subject.name, score))
            if isinstance(subject.maker, Detector):
                chosen = _on_card(subject.maker.card, score)
                known = any((rule, params) == (HEALTHY, own) for rule, _, params, _ in chosen)
                chosen += [] if own is None or known else [(HEALTHY, LOCAL, own, "")]
            else:
                assert isinstance(subject.maker, Baseline)
                same = (subject.maker.scaling, score) == (scaling, INTENSITY)
                fitted = local.get((INTENSITY, INTENSITY)) if same else None
                fixed = subject.maker.settings(score, HEALTHY, sequence)
                params = fitted or fixed
                chosen = [] if params is None else [(HEALTHY, LOCAL if fitted else FIXED, params, "")]
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


def _on_card(card: ModelCard, score: str) -> list[Choice]:
    """Return the settings on a model's card for a score, its default ones first, with that note."""
    suggestions = [item for item in card.suggestions if item.score == score]
    found = [(item.rule, CARD, Suggested.of(item).params, "") for item in suggestions]
    found = found or [("default", CARD, PostprocessParams(), "")]
    default = settle(card)
    if score != default.score:
        return found
    usual = next(
        (one for one in found if one[2] == default.params), (default.rule, CARD_THRESHOLD, default.params, "")
    )
    return [(*usual[:3], DEFAULT), *(one for one in found if one != usual)]


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
    if 0 < patients < FEW:
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
