"""The summary of an evaluation, in sentences at the top of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...metrics import Interval, averages, bootstrap_difference
from ...wording import counted, number
from ..leading import leading_rule
from ..results import Evaluation, Row
from ..seen import mark_of
from ..table import few_choosers
from .rows import Labels, value_of

AVERAGE = "dice_patient"


def best_row(labels: Labels, rule: str, sequence: str | None = None) -> Row | None:
    """Return the model's row with the highest ``dice_patient`` under a rule; None if none has one."""
    rows = [
        row
        for row in labels.of_rule(rule)
        if not labels.baseline(row)
        and sequence in (None, row.sequence)
        and math.isfinite(value_of(row, AVERAGE))
    ]
    return max(rows, key=lambda row: value_of(row, AVERAGE), default=None)


def sentences(evaluation: Evaluation, labels: Labels) -> list[str]:
    """Return the summary: for each sequence, the best model beside the best baseline."""
    rule = leading_rule(evaluation)
    found = [_of_sequence(evaluation, labels, rule, sequence) for sequence in labels.sequences]
    found = [text for text in found if text] or ["No model has a figure under any rule."]
    few = few_choosers(evaluation).replace("`", "")  # written for Markdown
    return [*found, few] if few else found


def _of_sequence(evaluation: Evaluation, labels: Labels, rule: str, sequence: str) -> str:
    rows = [row for row in labels.of_rule(rule) if row.sequence == sequence]
    on = f" on {sequence}" if len(labels.sequences) > 1 else ""
    if any(row.patients for row in rows) and not any(row.lesion_patients for row in rows):
        return (
            f"No reported patient{on} has a lesion, so there is no Dice to compare by: it is 0 if anything is marked "
            "and undefined otherwise. Compare by FP mL, healthy."
        )
    best = best_row(labels, rule, sequence)
    if best is None:
        return f"No model has a figure{on} under rule {rule}." if best_row(labels, rule) else ""
    models = {row.model for row in labels.of_rule(rule) if not labels.baseline(row)}
    name = best.model + (f" ({best.score})" if best.score else "")
    among = f", the best of {len(models)} models," if len(models) > 1 else ""
    text = f"Under rule {rule}{' (optimistic)' if best.optimistic else ''}"
    text += f" (settings chosen by {best.chosen})" if best.chosen else ""
    seen = f" ({mark})" if (mark := mark_of(best)) else ""
    text += f"{on}, {name}{seen}{among} reaches {AVERAGE} {_with_interval(best)}"
    raw = labels.best_baseline(rule, sequence)
    if raw is None or not math.isfinite(value_of(raw, AVERAGE)):
        return f"{text}; no baseline has a figure under this rule."
    detail = labels.detail(raw.model, raw.score, sequence)
    text += (
        f"; the best baseline without a network ({' · '.join(part for part in (raw.model, detail) if part)}) "
    )
    text += f"reaches {_with_interval(raw)}. "
    return text + _difference(evaluation, best, raw)


@dataclass(frozen=True)
class _Lead:
    """A model's lead over a baseline in ``dice_patient``, over the patients that both have."""

    difference: float
    interval: Interval | None
    patients: str

    @classmethod
    def of(cls, evaluation: Evaluation, best: Row, raw: Row) -> _Lead:
        other = {patient.name: patient.counts for patient in raw.patients}
        shared = [patient for patient in best.patients if patient.name in other]
        first = [patient.counts for patient in shared]
        second = [other[patient.name] for patient in shared]
        return cls(
            averages(first).dice_patient - averages(second).dice_patient,
            bootstrap_difference(first, second, evaluation.resamples, evaluation.seed)[AVERAGE],
            counted(len(shared), "patient"),
        )


def headline(evaluation: Evaluation, labels: Labels) -> str:
    """Return the result in one sentence: how the best model compares with the best baseline.

    Empty without figures of both, and if they are too good: chosen on the reported patients, or of a model that was
    trained on some.
    """
    best = best_row(labels, leading_rule(evaluation))
    raw = None if best is None else labels.best_baseline(best.rule, best.sequence)
    if best is None or raw is None or best.optimistic or best.trained_on or not best.lesion_patients:
        return ""
    lead = _Lead.of(evaluation, best, raw)
    if lead.interval is None:
        return ""
    names = f"{best.model} {{}} {raw.model}, the best baseline without a network"
    if lead.interval[0] > 0:
        text = names.format("is better than")
    elif lead.interval[1] < 0:
        text = names.format("is worse than")
    else:
        text = f"It is not clear whether {names.format('is better than')}"
    return (
        f"{text}: {AVERAGE} {number(value_of(best, AVERAGE))} against {number(value_of(raw, AVERAGE))}, a "
        f"difference of {number(lead.difference, signed=True)} (95 % interval {_ends(lead.interval)}, {lead.patients})."
    )


def _ends(interval: Interval) -> str:
    return " to ".join(number(end, signed=True) for end in interval)


def _difference(evaluation: Evaluation, best: Row, raw: Row) -> str:
    """Return a model's lead over the best baseline, over the patients that both have."""
    lead = _Lead.of(evaluation, best, raw)
    if not math.isfinite(lead.difference):
        return ""
    shown, interval = number(lead.difference, signed=True), lead.interval
    if interval is None:
        return f"The difference is {shown} over {lead.patients}, too few for an interval."
    ends = " to ".join(number(end, signed=True) for end in interval)
    return f"The difference over the same {lead.patients} is {shown} (95 % interval {ends}): {_verdict(interval)}."


def _verdict(interval: Interval) -> str:
    if interval[0] > 0:
        return "the model is better than the best baseline"
    if interval[1] < 0:
        return "the model is worse than the best baseline"
    return "it is not clear which of them is better"


def _with_interval(row: Row) -> str:
    interval = row.intervals.get(AVERAGE)
    spread = "" if interval is None else f" (95 % interval {' to '.join(map(number, interval))})"
    return number(value_of(row, AVERAGE)) + spread


def tiles(evaluation: Evaluation, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the numbers for the size of the evaluation, each with its label."""
    reported = max((row.averages.patients for row in rows if row.averages), default=0)
    lesions = max((sum(patient.lesions for patient in row.patients) for row in rows), default=0)
    return [
        _tile(reported, "patient", " reported"),
        (str(max((row.lesion_patients for row in rows), default=0)), "of them with lesions"),
        _tile(lesions, "lesion"),
        _tile(len(evaluation.folds), "fold")
        if evaluation.folds
        else _tile(len(evaluation.parts.get("validation", ())), "validation patient"),
        _tile(len(evaluation.skipped), "patient", " skipped"),
        _tile(len(evaluation.models), "model"),
    ]


def _tile(count: int, what: str, more: str = "") -> tuple[str, str]:
    figure, _, label = counted(count, what).partition(" ")
    return figure, label + more
