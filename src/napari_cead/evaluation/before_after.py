"""The effect of fine-tuning on local scans: the model before and after it, on slices held out of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import strict
from ..detection import PostprocessParams, suggested
from ..detection.choosing import Suggested
from ..detection.rules import HEALTHY
from ..errors import ParameterError, PatientError
from ..patients import Patient, load_patient
from ..progress import Progress, Stop
from ..training.splits import Part
from ..training.store import SliceStore
from ..zoo import Detector, ModelCard, load_model
from .baselines import INTENSITY
from .before_after_text import remarks, sentences
from .healthy_slices import HealthySlices, Paired, compared_scores, look, reconstructions
from .lesion_rows import LesionRow, lesion_rows
from .rules import QUANTILE, quantile_of, threshold_of_healthy

SCHEMA_VERSION = 1

EXAMPLES = 4
"""Number of example slices: from the most improved to the most worsened one, evenly by rank."""

WHITE = 0.5
"""Residual that is displayed as white, the same for both models."""


@dataclass(frozen=True)
class LocalThreshold:
    """The thresholds of rule ``healthy-quantile`` for one score, before and after, and their effect on local scans.

    Attributes:
        score: The anomaly score.
        before: On the card of the model before; None if it suggests none.
        after: On the card of the model after.
        before_local: The threshold that the model before would need on the local scans; None without healthy slices.
        after_local: The threshold that the model after needs on them; that on its card if it was calibrated on this
            store.
        above_before: Share of the healthy local brain voxels above ``before`` under the model before.
        above_after: Share of them above ``after`` under the model after.
        expected: The share that the rule should leave above the threshold, for the model before.
    """

    score: str
    before: float | None
    after: float | None
    before_local: float | None
    after_local: float | None
    above_before: float | None
    above_after: float | None
    expected: float


@dataclass(frozen=True, eq=False)
class Example:
    """A healthy slice as an example; all pictures (S, S) uint8.

    Attributes:
        patient: Name of the patient.
        number: Index of the slice in the patient.
        change: Mean residual inside the brain, after - before.
        input: The input of the networks, 255 is intensity 1.
        before: The reconstruction of the model before.
        after: The reconstruction of the model after.
        residual_before: |x - x̂| of the model before, 255 is `WHITE` and more.
        residual_after: The same of the model after.
    """

    patient: str
    number: int
    change: float
    input: NDArray[np.uint8] = field(repr=False)
    before: NDArray[np.uint8] = field(repr=False)
    after: NDArray[np.uint8] = field(repr=False)
    residual_before: NDArray[np.uint8] = field(repr=False)
    residual_after: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """The result of `compare`.

    Attributes:
        before: Name of the model before.
        after: Name of the model after.
        sha256: Checksums of both.
        device: The device they ran on.
        store: The store of local scans.
        part: The compared part of the store.
        patients: Patients with healthy slices in the part.
        slices: Healthy slices in the part.
        figures: By name (see :data:`~napari_cead.evaluation.healthy_slices.MEASURES`), both models and the paired
            difference; empty without healthy slices.
        thresholds: Thresholds by score.
        patient: Name of the patient with lesions; None if none was given.
        rows: Figures of this patient, baselines last.
        examples: Example slices.
        notes: Caveats for reading the figures.
        verdict: The result, in a few sentences.
        denoising: Whether the model after repairs corrupted slices.
    """

    before: str
    after: str
    sha256: tuple[str, str]
    device: str
    store: Path
    part: Part
    patients: int
    slices: int
    figures: Mapping[str, Paired]
    thresholds: tuple[LocalThreshold, ...]
    patient: str | None
    rows: tuple[LesionRow, ...]
    examples: tuple[Example, ...] = field(repr=False)
    notes: tuple[str, ...]
    verdict: str
    denoising: bool = False

    def described(self) -> dict[str, Any]:
        """Return everything but the pictures as strict JSON values."""
        values: dict[str, Any] = strict(
            {
                "schema_version": SCHEMA_VERSION,
                "before": {"name": self.before, "sha256": self.sha256[0]},
                "after": {"name": self.after, "sha256": self.sha256[1]},
                "device": self.device,
                "store": self.store,
                "part": self.part,
                "patients": self.patients,
                "slices": self.slices,
                "figures": {
                    name: {**asdict(figure), "verdict": figure.verdict}
                    for name, figure in self.figures.items()
                },
                "thresholds": [asdict(threshold) for threshold in self.thresholds],
                "patient": self.patient,
                "rows": [row.described() for row in self.rows],
                "examples": [
                    {"patient": item.patient, "slice": item.number, "change": item.change}
                    for item in self.examples
                ],
                "notes": self.notes,
                "verdict": self.verdict,
            }
        )
        return values


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
    person = None if patient is None else _patient(patient, slices)
    names = (
        (first.name, second.name)
        if first.name != second.name
        else (f"{first.name} (before)", f"{second.name} (after)")
    )
    total = len(np.unique(slices.healthy_rows(part)[:, 0]))
    total += 0 if person is None else _SHARE_OF_PATIENT
    thresholds = {
        (score, which): value
        for which, detector in (("before", first), ("after", second))
        for score in compared_scores()
        if (value := _on_card(detector.card, score)) is not None
    }
    found = look(
        first,
        second,
        slices,
        part,
        thresholds,
        on_progress=None if on_progress is None else lambda done, _: on_progress(done, total),
        should_stop=should_stop,
    )
    rows: tuple[LesionRow, ...] = ()
    if person is not None:
        rows = lesion_rows(
            person,
            ((names[0], first), (names[1], second)),
            _local_settings(found, names, (first.card, second.card)),
            on_progress=_last_steps(on_progress, total),
            should_stop=should_stop,
        )
    if on_progress is not None:
        on_progress(total, total)
    figures = found.paired(seed=seed)
    cards = first.card, second.card
    local = tuple(_threshold(score, thresholds, found, cards) for score in compared_scores())
    return BeforeAfter(
        before=names[0],
        after=names[1],
        sha256=(first.sha256, second.sha256),
        device=str(second.device),
        store=slices.path,
        part=part,
        patients=found.patients,
        slices=len(found.slices),
        figures=figures,
        thresholds=local,
        patient=None if person is None else person.name,
        rows=rows,
        examples=_examples(found, first, second, slices),
        notes=remarks(first, second, slices, part, found.patients, person),
        verdict=sentences(
            names,
            found.patients,
            len(found.slices),
            part,
            figures,
            _chief(local, second.card),
            rows,
            denoising=second.card.spec.denoising,
        ),
        denoising=second.card.spec.denoising,
    )


_SHARE_OF_PATIENT = 10  # steps of the progress


def _last_steps(on_progress: Progress | None, total: int) -> Progress | None:
    if on_progress is None:
        return None
    begun = total - _SHARE_OF_PATIENT
    return lambda done, of: on_progress(begun + _SHARE_OF_PATIENT * done // of, total)


def _check_size(detector: Detector, store: SliceStore) -> None:
    size = detector.card.preprocessing.image_size
    if size != store.settings.image_size:
        raise ParameterError(
            f"{detector.name} takes images of {size} pixels, the store has {store.settings.image_size}",
            mend="compare models on a store that was prepared for them",
        )


def _patient(given: str | Path | Patient, store: SliceStore) -> Patient:
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
            mend="give a patient with a mask, or leave the patient out",
        )
    return person


def _on_card(card: ModelCard, score: str) -> float | None:
    for suggestion in card.suggestions:
        if (suggestion.score, suggestion.rule) == (score, HEALTHY):
            return Suggested.of(suggestion).params.threshold
    return None


def _local_settings(
    found: HealthySlices, names: tuple[str, str], cards: tuple[ModelCard, ModelCard]
) -> dict[str, dict[str, PostprocessParams]]:
    """Return, by model and score, the choice of rule ``healthy-quantile`` on the local scans."""
    by_model = {
        names[0]: (found.before, quantile_of(cards[0])),
        names[1]: (found.after, quantile_of(cards[1])),
        INTENSITY: ({INTENSITY: found.intensity}, QUANTILE),
    }
    return {
        name: {
            score: params
            for score, histogram in histograms.items()
            if (params := threshold_of_healthy(histogram, quantile)) is not None
        }
        for name, (histograms, quantile) in by_model.items()
    }


def _threshold(
    score: str,
    thresholds: Mapping[tuple[str, str], float],
    found: HealthySlices,
    cards: tuple[ModelCard, ModelCard],
) -> LocalThreshold:
    local = {}
    for which, histograms, card in zip(("before", "after"), (found.before, found.after), cards, strict=True):
        params = threshold_of_healthy(histograms[score], quantile_of(card)) if score in histograms else None
        local[which] = None if params is None else params.threshold
    above = {
        which: found.above[score, which] / found.voxels
        if found.voxels and (score, which) in thresholds
        else None
        for which in ("before", "after")
    }
    return LocalThreshold(
        score=score,
        before=thresholds.get((score, "before")),
        after=thresholds.get((score, "after")),
        before_local=local["before"],
        after_local=local["after"],
        above_before=above["before"],
        above_after=above["after"],
        expected=1 - quantile_of(cards[0]),
    )


def _chief(thresholds: tuple[LocalThreshold, ...], card: ModelCard) -> LocalThreshold:
    """Return the thresholds of the score that the model uses by default."""
    score = suggested(card)[0]
    return next((item for item in thresholds if item.score == score), thresholds[0])


def _examples(
    found: HealthySlices, before: Detector, after: Detector, store: SliceStore
) -> tuple[Example, ...]:
    changes = np.array([item.after["residual"] - item.before["residual"] for item in found.slices])
    order = np.argsort(changes, kind="stable")
    if not len(order):
        return ()
    ranks = np.unique(np.linspace(0, len(order) - 1, EXAMPLES).round().astype(int))
    examples = []
    for place in (int(order[rank]) for rank in ranks):
        item = found.slices[place]
        stored = store.patients[item.patient]
        picture = store.read(np.array([[item.patient, item.row]]))
        image = picture.astype(np.float32) / np.float32(255)
        made = [reconstructions(detector, image)[0] for detector in (before, after)]
        examples.append(
            Example(
                stored.name,
                stored.numbers[item.row],
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
