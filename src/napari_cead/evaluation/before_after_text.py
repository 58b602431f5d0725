"""The result of a comparison of a model before and after fine-tuning, in sentences for a reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..detection.rules import HEALTHY
from .lesion_rows import LesionRow

if TYPE_CHECKING:
    from ..patients import Patient
    from ..training.splits import Part
    from ..training.store import SliceStore
    from ..zoo import Detector
    from .before_after import LocalThreshold
    from .healthy_slices import Paired

_OUTCOME = {
    "better": "{after} reconstructs these scans better",
    "worse": "{after} reconstructs these scans worse",
    "unclear": "no clear difference",
}

_OUTCOME_OF_DENOISERS = {
    "better": "{after} leaves more of these scans unchanged",
    "worse": "{after} changes more of these scans, which is its task if they contain something that nobody outlined: "
    "look at the slices",
    "unclear": "no clear difference",
}
"""A model that repairs slices is not worse for repairing more."""

FEW = 5
"""With fewer patients an interval is too rough to stand alone."""

_TOO_MANY = 2.0  # times the intended share above a threshold


def sentences(
    names: tuple[str, str],
    patients: int,
    slices: int,
    part: str,
    figures: Mapping[str, Paired],
    threshold: LocalThreshold,
    rows: Sequence[LesionRow],
    *,
    denoising: bool = False,
) -> str:
    """Return the result of a comparison.

    Args:
        names: Of the models.
        patients: Patients with healthy slices.
        slices: Healthy slices.
        part: Part of the store.
        figures: Figures by name; empty without healthy slices.
        threshold: That of the score that the model uses by default.
        rows: Figures of a patient with lesions; empty without one.
        denoising: Whether the model after repairs corrupted slices.
    """
    outcomes = _OUTCOME_OF_DENOISERS if denoising else _OUTCOME
    return " ".join(
        (
            *_healthy(names, patients, slices, part, figures, outcomes),
            *_thresholds(names, threshold),
            *_lesions(names, rows),
        )
    )


def _healthy(
    names: tuple[str, str],
    patients: int,
    slices: int,
    part: str,
    figures: Mapping[str, Paired],
    outcomes: Mapping[str, str],
) -> Iterator[str]:
    if not figures:
        yield f"The store has no healthy {part} slices, so nothing can be said about healthy slices."
        return
    residual = figures["residual"]
    outcome = outcomes[residual.verdict].format(after=names[1])
    if residual.interval is None:
        sure = "one patient gives no interval"
    else:
        low, high = residual.interval
        sure = f"difference {residual.difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
    yield (
        f"On {_count(slices, 'healthy slice')} of {_count(patients, f'{part} patient')} the mean residual is "
        f"{residual.before:.4f} before and {residual.after:.4f} after ({sure}): {outcome}."
    )


def _thresholds(names: tuple[str, str], threshold: LocalThreshold) -> Iterator[str]:
    share, expected = threshold.above_before, threshold.expected
    if share is not None and threshold.before is not None:
        text = (
            f"{share:.1%} of the healthy local brain lies above {names[0]}'s threshold {threshold.before:.3g} for "
            f"{threshold.score}, which should leave {expected:.1%}"
        )
        if share > _TOO_MANY * expected:
            text += ": on these scans it marks healthy tissue"
        elif share < expected / _TOO_MANY:
            text += ": on these scans it is too high"
        yield text + "."
    if threshold.after is not None:
        there = "" if threshold.above_after is None else f", with {threshold.above_after:.1%} above"
        yield f"The threshold of {names[1]} is {threshold.after:.3g}{there}."


def _lesions(names: tuple[str, str], rows: Sequence[LesionRow]) -> Iterator[str]:
    if not rows:
        yield "A smaller residual on healthy slices does not show that lesions are found better."
        return
    usual = [next((row.dice for row in rows if row.model == name and row.default), None) for name in names]
    best = [
        max((row.dice for row in rows if row.model == name and row.optimistic), default=None)
        for name in names
    ]
    free = [row for row in rows if row.model not in names]
    raw = max((row.dice for row in free if row.rule == HEALTHY), default=None)
    bound = max((row.dice for row in free if row.optimistic), default=None)
    yield (
        f"On the patient {rows[0].figures.name}, the Dice of the volume is {_number(usual[0])} before and "
        f"{_number(usual[1])} after with each model's default settings, {_number(best[0])} and {_number(best[1])} with "
        f"the best settings for this very patient (optimistic); the best baseline without a network has "
        f"{_number(raw)} with the healthy quantile and {_number(bound)} at best. One patient is an example, no proof."
    )


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def remarks(
    before: Detector,
    after: Detector,
    store: SliceStore,
    part: Part,
    patients: int,
    person: Patient | None,
) -> tuple[str, ...]:
    """Return the caveats for reading the figures of a comparison.

    Args:
        before: The model before.
        after: The model after.
        store: The store.
        part: The compared part of it.
        patients: Patients with healthy slices in it.
        person: The patient with lesions; None if none was given.
    """
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
