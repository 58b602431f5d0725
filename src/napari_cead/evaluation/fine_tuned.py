"""What fine-tuning changed: the result of a comparison of two models, in figures, tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import strict
from ..detection.rules import HEALTHY
from ..report.columns import AVERAGES, columns, row_values
from ..report.paired_comparison import Paired
from ..report.results import Evaluation, Row
from ..store.parts import Part
from ..wording import UNDEFINED, counted, number, span

SCHEMA_VERSION = 2
"""Version of the JSON; in 2 the rows are those of ``results.json``."""

MEASURES: Mapping[str, bool] = {"residual": False, "psnr": True, "psnr_brain": True, "ssim": True}
"""Figures of :class:`~napari_cead.metrics.ImageQuality`, and whether higher is better."""

DEFAULT = "the model's default settings"
"""Note of the row of a model with the settings that it uses unless told otherwise."""

_TOO_MANY = 2.0  # times the intended share above a threshold


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
        evaluation: The evaluation of both on a patient with lesions, baselines last: with one model before and one
            after, and no rows if no patient was given. Its warnings are the caveats for reading the figures.
        part: The compared part of the store.
        patients: Patients with healthy slices in the part.
        slices: Healthy slices in the part.
        figures: By name of `MEASURES`, both models and the paired
            difference; empty without healthy slices.
        thresholds: Thresholds by score, that of the model's default score first.
        examples: Example slices.
        denoising: Whether the model after repairs corrupted slices: it is not worse for repairing more.
    """

    before: str
    after: str
    evaluation: Evaluation
    part: Part
    patients: int
    slices: int
    figures: Mapping[str, Paired]
    thresholds: tuple[LocalThreshold, ...]
    examples: tuple[Example, ...] = field(repr=False)
    denoising: bool = False

    @property
    def rows(self) -> tuple[Row, ...]:
        """Figures of the patient with lesions."""
        return self.evaluation.rows

    @property
    def patient(self) -> str | None:
        """Name of the patient with lesions; None if none was given."""
        return self.rows[0].patients[0].name if self.rows else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Caveats for reading the figures."""
        return self.evaluation.warnings

    @property
    def verdict(self) -> str:
        """The result, in a few sentences."""
        return " ".join((*_on_healthy(self), *_on_thresholds(self), *_on_lesions(self)))

    def described(self) -> dict[str, Any]:
        """Return everything but the pictures as strict JSON values."""
        models = zip(("before", "after"), (self.before, self.after), self.evaluation.models, strict=True)
        values: dict[str, Any] = strict(
            {
                "schema_version": SCHEMA_VERSION,
                **{which: {"name": name, "sha256": model.sha256} for which, name, model in models},
                "device": self.evaluation.models[1].device,
                "store": self.evaluation.split,
                "part": self.part,
                "patients": self.patients,
                "slices": self.slices,
                "figures": {
                    name: {**asdict(figure), "verdict": figure.verdict}
                    for name, figure in self.figures.items()
                },
                "thresholds": [asdict(threshold) for threshold in self.thresholds],
                "patient": self.patient,
                "rows": [
                    {**row_values(self.evaluation, row), "default": row.note == DEFAULT} for row in self.rows
                ],
                "examples": [
                    {"patient": item.patient, "slice": item.number, "change": item.change}
                    for item in self.examples
                ],
                "notes": self.notes,
                "verdict": self.verdict,
            }
        )
        return values


@dataclass(frozen=True)
class Table:
    """A table of text, for a terminal or a window.

    Attributes:
        title: Its title.
        headers: Titles of the columns.
        rows: The cells, row by row.
        groups: Number of leading columns that identify a group of rows; in a narrow layout, a line above the group
            can show them once.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    groups: int = 0


def tables(found: BeforeAfter) -> tuple[Table, ...]:
    """Return the tables of a comparison: healthy slices, thresholds and a patient, if there are any."""
    made = (_healthy(found), _thresholds(found.thresholds), _patient(found))
    return tuple(table for table in made if table.rows)


_VERDICTS = {
    "better": ("better", "{after} reconstructs these scans better"),
    "worse": ("worse", "{after} reconstructs these scans worse"),
    "unclear": ("unclear", "no clear difference"),
}
"""Each in a word and as a sentence."""

_OF_DENOISERS = {
    "better": ("changes less", "{after} leaves more of these scans unchanged"),
    "worse": (
        "changes more",
        "{after} changes more of these scans, which is its task if they contain something that nobody outlined: "
        "look at the slices",
    ),
    "unclear": _VERDICTS["unclear"],
}
"""The same of models that may change a slice without being worse."""


def _said(found: BeforeAfter, figure: Paired) -> tuple[str, str]:
    word, sentence = (_OF_DENOISERS if found.denoising else _VERDICTS)[figure.verdict]
    return word, sentence.format(after=found.after)


def _healthy(found: BeforeAfter) -> Table:
    rows = tuple(
        (
            columns(name)[0].title,
            number(figure.before),
            number(figure.after),
            number(figure.difference, 4, signed=True),
            span(figure.interval, 4, signed=True) or UNDEFINED,
            _said(found, figure)[0],
        )
        for name, figure in found.figures.items()
    )
    title = f"{counted(found.slices, f'healthy {found.part} slice')} of {counted(found.patients, 'patient')}"
    headers = "figure", "before", "after", "change", "95 % interval", "verdict"
    return Table(title, headers, rows, groups=1)


def _thresholds(thresholds: Sequence[LocalThreshold]) -> Table:
    headers = "score", "before", "above", "after", "above", "before, on local scans"
    rows = tuple(
        (
            item.score,
            number(item.before),
            _share(item.above_before),
            number(item.after),
            _share(item.above_after),
            number(item.before_local),
        )
        for item in thresholds
        if item.before is not None or item.after is not None
    )
    title = "Thresholds by healthy quantile, each with the share of the healthy local brain above it"
    return Table(title, headers, rows)


def _patient(found: BeforeAfter) -> Table:
    shown = columns("threshold", AVERAGES[0], "detected_ml")
    rows = []
    for row in found.rows:
        rule = row.rule + (" *" if row.note == DEFAULT else "")
        rule += " (optimistic)" if row.optimistic else f", {row.chosen}" if row.chosen else ""
        values = row_values(found.evaluation, row)
        rows.append((row.model, row.score or UNDEFINED, rule, *(column.text(values) for column in shown)))
    headers = "model", "score", "rule, and what it chose by", *(column.title for column in shown)
    return Table(f"Patient {found.patient} (* {DEFAULT})", headers, tuple(rows), groups=3)


def _share(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.1%}"


def _on_healthy(found: BeforeAfter) -> Iterator[str]:
    if not found.figures:
        yield f"The store has no healthy {found.part} slices, so nothing can be said about healthy slices."
        return
    residual = found.figures["residual"]
    sure = "one patient gives no interval"
    if residual.interval is not None:
        ends = " to ".join(number(end, 4, signed=True) for end in residual.interval)
        sure = f"difference {number(residual.difference, 4, signed=True)}, 95 % interval {ends}"
    yield (
        f"On {counted(found.slices, 'healthy slice')} of {counted(found.patients, f'{found.part} patient')} the mean "
        f"residual is {number(residual.before, 4)} before and {number(residual.after, 4)} after ({sure}): "
        f"{_said(found, residual)[1]}."
    )


def _on_thresholds(found: BeforeAfter) -> Iterator[str]:
    threshold = found.thresholds[0]
    share, expected = threshold.above_before, threshold.expected
    if share is not None and threshold.before is not None:
        text = (
            f"{share:.1%} of the healthy local brain lies above {found.before}'s threshold {threshold.before:.3g} for "
            f"{threshold.score}, which should leave {expected:.1%}"
        )
        if share > _TOO_MANY * expected:
            text += ": on these scans it marks healthy tissue"
        elif share < expected / _TOO_MANY:
            text += ": on these scans it is too high"
        yield text + "."
    if threshold.after is not None:
        there = "" if threshold.above_after is None else f", with {threshold.above_after:.1%} above"
        yield f"The threshold of {found.after} is {threshold.after:.3g}{there}."


def _on_lesions(found: BeforeAfter) -> Iterator[str]:
    if not found.rows:
        yield "A smaller residual on healthy slices does not show that lesions are found better."
        return
    names = (found.before, found.after)
    free = [row for row in found.rows if row.model not in names]
    before, after, best_before, best_after, raw, bound = (
        number(max((dice(row) for row in rows), default=None))
        for rows in (
            *([row for row in found.rows if row.model == name and row.note == DEFAULT] for name in names),
            *([row for row in found.rows if row.model == name and row.optimistic] for name in names),
            [row for row in free if row.rule == HEALTHY],
            [row for row in free if row.optimistic],
        )
    )
    yield (
        f"On the patient {found.patient}, the Dice of the volume is {before} before and {after} after with each "
        f"model's default settings, {best_before} and {best_after} with the best settings for this very patient "
        f"(optimistic); the best baseline without a network has {raw} with the healthy quantile and {bound} at best. "
        "One patient is an example, no proof."
    )


def dice(row: Row) -> float:
    """Return the Dice of the volume of a row with one patient; NaN if both masks are empty."""
    return row.patients[0].counts.total.dice()
