"""Rows of an evaluation as cells of a table and as lines of charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...detection.rules import RULES
from ...metrics import Interval
from ..baselines import INTENSITY
from ..paper import PAPER_DICE
from ..results import NOTHING, Evaluation, Row
from ..seen import mark_of
from .charts import Line

UNDEFINED = "–"

AVERAGES = ("dice_patient", "dice_pooled", "dice_lesion_slices", "dice_all_slices")
"""The averages of Dice in display order: the one for comparing models first."""


@dataclass(frozen=True)
class Figure:
    """One figure of a table.

    Attributes:
        text: The figure, ``–`` if it is undefined.
        below: The small text below it: its interval, or its number of patients.
        best: Whether it is the best of its column.
    """

    text: str
    below: str = ""
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    """One row of a table.

    Attributes:
        model: Name of the model, empty if the row above has the same one.
        detail: Score and sequence.
        baseline: Whether it is a baseline without a network.
        optimistic: Whether the reported patients themselves chose its settings.
        seen: Number of the reported patients that the model was trained on; empty if none.
        first: Whether it is the first row of its model.
        paper: Dice of the paper for this architecture.
        averages: The averages of Dice, in the order of `AVERAGES`.
        figures: The other figures.
        threshold: Threshold with the data that chose it.
    """

    model: str
    detail: str
    baseline: bool
    optimistic: bool
    seen: str
    first: bool
    paper: str
    averages: tuple[Figure, ...]
    figures: tuple[Figure, ...]
    threshold: Figure


class Labels:
    """Names and grouping of the rows of an evaluation.

    Args:
        evaluation: The evaluation.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._architectures = {model.name: model.architecture for model in evaluation.models}
        self.sequences = evaluation.sequences or (evaluation.sequence,)
        self._rows = evaluation.rows
        self.choosers = evaluation.choosers

    def baseline(self, row: Row) -> bool:
        """Whether a row is a baseline without a network."""
        return row.model not in self._architectures

    def paper(self, row: Row) -> float | None:
        """Return the paper's Dice of the architecture of a row."""
        return PAPER_DICE.get(self._architectures.get(row.model, ""))

    def detail(self, model: str, score: str | None, sequence: str) -> str:
        """Return the detail that identifies a row of a model: its score, and its sequence if there are several."""
        several = len(self.sequences) > 1 and model != NOTHING
        of_model = score if model in self._architectures or score != INTENSITY else None
        return " · ".join(part for part in (of_model, sequence if several else None) if part)

    def chart_detail(self, model: str, score: str | None, sequence: str) -> str:
        """Return the detail that identifies a row in a chart; a score shared by all models is left out."""
        scores = {row.score for row in self._rows if not self.baseline(row)}
        return self.detail(model, score if len(scores) > 1 else None, sequence)

    def line(self, row: Row, values: tuple[float, ...], interval: Interval | None = None) -> Line:
        """Return a row as a line of a chart."""
        detail = self.chart_detail(row.model, row.score, row.sequence)
        return Line(row.model, detail, values, interval, self.baseline(row))

    def rules(self) -> tuple[str, ...]:
        """Return the rules of the rows, in their fixed order."""
        return tuple(rule for rule in RULES.names if any(row.rule == rule for row in self._rows)) or ("none",)

    def best_baseline(self, rule: str, sequence: str) -> Row | None:
        """Return the row of the baseline with the highest ``dice_patient`` under a rule; None without figures."""
        rows = [
            row
            for row in self.of_rule(rule)
            if self.baseline(row) and (row.rule, row.sequence) == (rule, sequence)
            if math.isfinite(value_of(row, AVERAGES[0]))
        ]
        return max(rows, key=lambda row: value_of(row, AVERAGES[0]), default=None)

    def of_rule(self, rule: str) -> list[Row]:
        """Return the rows of a rule with the baseline that detects nothing, models first, baselines last."""
        rows = [row for row in self._rows if row.rule in (rule, "none")]
        order = {name: place for place, name in reversed(list(enumerate(row.model for row in rows)))}
        return sorted(rows, key=lambda row: (self.baseline(row), order[row.model]))


def table_rows(labels: Labels, rows: Sequence[Row]) -> list[TableRow]:
    """Return rows as rows of a table."""
    # No best dice_all_slices: there, finding nothing is hard to beat.
    best = {name: _best(rows, name) if name != "dice_all_slices" else math.nan for name in AVERAGES}
    found: list[TableRow] = []
    above = None
    for row in rows:
        found.append(
            TableRow(
                model=row.model,
                detail=labels.detail(row.model, row.score, row.sequence),
                baseline=labels.baseline(row),
                optimistic=row.optimistic,
                seen=mark_of(row),
                first=row.model != above,
                paper=number(labels.paper(row)),
                averages=tuple(_average(row, name, best[name]) for name in AVERAGES),
                figures=_figures(row),
                threshold=_threshold(row),
            )
        )
        above = row.model
    return found


def value_of(row: Row, average: str) -> float:
    """Return an average of a row by its name; NaN without settings."""
    return math.nan if row.averages is None else float(row.averages.as_dict()[average])


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure as text."""
    return UNDEFINED if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def span(interval: Interval | None) -> str:
    """Return an interval as text; empty without one."""
    return "" if interval is None else f"{interval[0]:.3f}–{interval[1]:.3f}"


def _average(row: Row, name: str, best: float) -> Figure:
    value = value_of(row, name)
    return Figure(number(value), span(row.intervals.get(name)), math.isfinite(value) and value == best)


def _figures(row: Row) -> tuple[Figure, ...]:
    """Return the other figures in the order of ``page.COLUMNS``."""
    return (
        Figure(number(row.lesion_sensitivity)),
        Figure(number(row.lesion_precision)),
        Figure(number(row.lesion_f1)),
        Figure(number(row.false_positives_per_patient, 1)),
        Figure(number(value_of(row, "precision"))),
        Figure(number(value_of(row, "recall"))),
        Figure(number(row.hd95, 1), f"n = {row.hd95_patients}" if math.isfinite(row.hd95) else ""),
        Figure(number(row.detected_ml, 1)),
        Figure(number(row.healthy_ml, 2), f"n = {row.healthy_patients}" if row.healthy_patients else ""),
        Figure(number(row.auroc)),
        Figure(number(row.average_precision)),
        Figure(number(row.froc_mean)),
    )


def _threshold(row: Row) -> Figure:
    return Figure(row.threshold or UNDEFINED, row.chosen)


def _best(rows: Iterable[Row], name: str) -> float:
    values = [value_of(row, name) for row in rows]
    return max((value for value in values if math.isfinite(value)), default=math.nan)
