"""Rows of an evaluation as rows of a table and as lines of charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ...detection.baselines import INTENSITY
from ...detection.rules import RULES
from ...metrics import Interval
from ..columns import AVERAGES
from ..results import NOTHING, Evaluation, Row
from .charts import Line


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

    def detail(self, model: str, score: str | None, sequence: str) -> str:
        """Return the detail that identifies a row of a model: its score, and its sequence if there are several."""
        several = len(self.sequences) > 1 and model != NOTHING
        of_model = score if model in self._architectures or score != INTENSITY else None
        return " · ".join(part for part in (of_model, sequence if several else None) if part)

    def chart_detail(self, model: str, score: str | None, sequence: str) -> str:
        """Return the detail that identifies a row in a chart; a score shared by all models is left out."""
        scores = {row.score for row in self._rows if not self.baseline(row)}
        return self.detail(model, score if len(scores) > 1 else None, sequence)

    def line(self, row: Row, value: float, interval: Interval | None = None) -> Line:
        """Return a row as a line of a chart."""
        detail = self.chart_detail(row.model, row.score, row.sequence)
        return Line(row.model, detail, value, interval, self.baseline(row))

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


def best_values(rows: Sequence[Row]) -> dict[str, float]:
    """Return the best value of each average; none of dice_all_slices, where finding nothing is hard to beat."""
    return {name: _best(rows, name) for name in AVERAGES if name != "dice_all_slices"}


def value_of(row: Row, average: str) -> float:
    """Return an average of a row by its name; NaN without settings."""
    return math.nan if row.averages is None else float(row.averages.as_dict()[average])


def _best(rows: Iterable[Row], name: str) -> float:
    values = [value_of(row, name) for row in rows]
    return max((value for value in values if math.isfinite(value)), default=math.nan)
