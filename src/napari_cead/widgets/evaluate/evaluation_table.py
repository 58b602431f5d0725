"""The results of an evaluation, read from ``results.json`` and shown as a table that fits into a dock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QComboBox

from ...detection.rules import RULES
from ...errors import OutputError
from ...json_files import read_json, version_of
from ...report.columns import Column, Values, columns
from ...report.leading import most_trusted
from ...report.results import choosers
from ...wording import UNDEFINED, counted, number, span
from ..common.row_table import RIGHT, RowColumn, RowModel, RowTable

RESULTS = "results.json"
REPORT = "report.html"
LARGEST_RESULTS = 1 << 29
SCHEMA_VERSIONS = (1, 2)

COLUMNS = columns(
    *("dice_patient", "dice_pooled", "lesion_sensitivity", "lesion_f1", "false_positives_per_patient")
)
"""The columns beside the model."""

MORE = columns("dice_ceiling", "aupro", "lesionwise_dice", "lesionwise_hd95", "healthy_above")
"""Further figures, in a row's tooltip."""

MODEL_TIP = (
    "One row a model, in italics a baseline without a network; its tooltip has score, rule and intervals"
)
WIDEST = ("patient", "pooled", "Lesions", "0.000", "patient")
"""The widest texts of the columns."""

OWN = "suggested by each model"
"""Entry of the list of scores that shows each model's own."""

OPTIMISTIC = "optimistic: chosen on the very patients that are reported"


@dataclass(frozen=True)
class ResultRow:
    """One model under one score and one rule.

    Attributes:
        values: The row by name, as in the file.
        baseline: Whether it is a baseline without a network.
        sequence: Sequence, if several were evaluated; else empty.
        over_seeds: The averages over the seeds of its training; empty without other seeds.
    """

    values: Values
    baseline: bool
    sequence: str
    over_seeds: str = ""

    @property
    def model(self) -> str:
        """Name of the model, or of a baseline."""
        return str(self.values["model"])

    @property
    def score(self) -> str:
        """Anomaly score; empty without one."""
        return str(self.values.get("score") or "")

    @property
    def rule(self) -> str:
        """The rule that chose the settings."""
        return str(self.values["rule"])

    @property
    def chosen_on(self) -> str:
        """The data that chose the settings."""
        return str(self.values.get("chosen_on") or "")

    @property
    def chosen_by(self) -> int | None:
        """Number of patients that chose the settings, if it is known."""
        found = self.values.get("chosen_by")
        return None if found is None else int(found)

    @property
    def measured(self) -> bool:
        """Whether it has figures: its rule could choose."""
        return any(column.value(self.values) is not None for column in COLUMNS)

    @property
    def optimistic(self) -> bool:
        """Whether its settings were chosen on the reported patients."""
        return bool(self.values.get("optimistic"))

    @property
    def trained_on(self) -> int:
        """Number of reported patients that the model is known to be trained on."""
        return int(self.values.get("trained_on_patients") or 0)

    @property
    def title(self) -> str:
        """Its title, in one line."""
        seen = f"trained on {self.trained_on}" if self.trained_on else ""
        return " · ".join(part for part in (self.model, self.sequence, seen) if part)

    @property
    def made_by(self) -> str:
        """Its score and rule, with the number of patients that chose, and a mark if at the edge of what was tried."""
        kind = "baseline" if self.baseline else f"score {self.score}"
        if self.rule == "none":
            return kind
        words = (
            "" if self.chosen_by is None else counted(self.chosen_by, "patient"),
            "edge" if self.values.get("edge") else "",
        )
        said = ", ".join(filter(None, words))
        return f"{kind}, rule {self.rule}" + (f" ({said})" if said else "")

    @property
    def tip(self) -> str:
        """Everything about the row, line by line."""
        chosen, note = columns("chosen_on")[0].text(self.values), str(self.values.get("note") or "")
        lines = (
            self.title,
            self.made_by,
            *(f"{column.name} {column.cell(self.values)}" for column in COLUMNS[:2]),
            *(
                f"{column.title} {column.cell(self.values)}"
                for column in MORE
                if column.text(self.values) != UNDEFINED
            ),
            self.over_seeds,
            f"settings chosen by {chosen}" if chosen != UNDEFINED else "",
            f"{OPTIMISTIC.capitalize()}." if self.optimistic else "",
            f"Too good: the model was trained on {self.trained_on} of these patients."
            if self.trained_on
            else "",
            note,
        )
        return "\n".join(line for line in lines if line)


@dataclass(frozen=True)
class Results:
    """The content of an evaluation's results file.

    Attributes:
        rows: The rows in their order.
        reported: Number of reported patients.
        skipped: (patient, reason) of skipped patients.
        warnings: Caveats for the figures.
    """

    rows: tuple[ResultRow, ...]
    reported: int
    skipped: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    @property
    def summary(self) -> str:
        """How many patients there are."""
        return f"{counted(self.reported, 'patient')} reported, {len(self.skipped)} skipped."

    @property
    def details(self) -> str:
        """Warnings, then the reasons for skipped patients, one per line."""
        lines = [f"Warning: {text}" for text in self.warnings]
        return "\n".join([*lines, *(f"{name} skipped: {reason}" for name, reason in self.skipped)])


def read_results(file: Path) -> Results:
    """Read ``results.json``.

    Raises:
        OutputError: If it is not there, damaged, or of a later version.
    """
    try:
        values = read_json(file, LARGEST_RESULTS)
        if not isinstance(values, dict):
            raise TypeError
        if version_of(values) not in SCHEMA_VERSIONS:
            raise OutputError("the results are of another version", file=file, hint="update napari-cead")
        models = {str(model["name"]) for model in values["models"]}
        several = len({row.get("sequence") for row in values["rows"]}) > 1
        seeds = values.get("over_seeds", ())
        rows = tuple(_row(row, models, several, seeds) for row in values["rows"])
        return Results(
            rows,
            max((int(row.get("patients") or 0) for row in values["rows"]), default=0),
            tuple((str(one["name"]), str(one["reason"])) for one in values.get("skipped", ())),
            tuple(str(text) for text in values.get("warnings", ())),
        )
    except FileNotFoundError:
        raise OutputError("there are no results here", file=file, hint="start the evaluation again") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError("the results are damaged", file=file, hint="start the evaluation again") from error


def _row(values: Values, models: set[str], several: bool, seeds: Sequence[Values]) -> ResultRow:
    sequence = str(values.get("sequence") or "") if several else ""
    row = ResultRow(values, values["model"] not in models, sequence, _over_seeds(values, seeds))
    # Damage is found here, not in the window.
    _ = row.rule, row.chosen_by, row.tip, [column.cell(values) for column in COLUMNS]
    return row


def _over_seeds(row: Values, seeds: Sequence[Values]) -> str:
    """Return the averages over the seeds that a row's model is one of, in words; empty if it is of none."""
    base = str(row["model"]).rpartition(".seed")[0]
    own = [
        each
        for each in seeds
        if (each["model"], each["score"], each["rule"], each["sequence"])
        == (base, row.get("score") or "", row["rule"], row.get("sequence"))
        and each["average"] in [column.name for column in COLUMNS[:2]]
    ]
    figures = [
        f"{each['average']} {number(each['mean'])} ± {number(each['deviation'])} {span(each['interval'])}".strip()
        for each in own
    ]
    return f"over {own[0]['seeds']} seeds: {', '.join(figures)}" if own else ""


def _figure(column: Column, widest: str) -> RowColumn:
    def value(row: ResultRow) -> float:
        found = column.value(row.values)
        return -1.0 if found is None else float(found)  # an undefined figure comes below all others

    return RowColumn(
        column.narrow or column.title,
        lambda row: column.text(row.values),
        f"{column.title}: {column.tip}",
        value,
        widest,
        RIGHT,
    )


class _Rows(RowModel):
    def __init__(self) -> None:
        model = RowColumn("Model", lambda row: row.title, MODEL_TIP, lambda row: row.title)
        super().__init__((model, *map(_figure, COLUMNS, WIDEST)))

    def tip(self, row: ResultRow, column: RowColumn) -> str:
        return row.tip

    def italic(self, row: ResultRow) -> bool:
        return row.baseline


class ResultTable(RowTable):
    """The figures of an evaluation, one row per model; a click on a column's title sorts by it.

    Attributes:
        rule: Chooses the rule of the figures.
        score: Chooses the score of the figures.
        unable: Which rules could not choose, so that no model has figures under them, and why; empty without one.
    """

    def __init__(self) -> None:
        super().__init__(_Rows(), "Results of the evaluation")
        self._results: Results | None = None
        self.unable = ""
        self.rule, self.score = QComboBox(), QComboBox()
        for box, name in ((self.rule, "Rule"), (self.score, "Score")):
            box.setAccessibleName(name)
            box.currentIndexChanged.connect(self._show)
        self._unsorted()
        self.setSortingEnabled(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setMinimumHeight(240)

    def show_results(self, results: Results | None) -> None:
        """Show the rows of these results, in their order; None empties the table."""
        self._results = results
        rows = () if results is None else results.rows
        rules = dict.fromkeys(row.rule for row in rows if row.rule != "none")
        scores = dict.fromkeys(row.score for row in rows if row.score and not row.baseline)
        with QSignalBlocker(self.rule), QSignalBlocker(self.score):
            self.rule.clear()
            self.score.clear()
            for rule in rules:
                optimistic = all(row.optimistic for row in rows if row.rule == rule)
                self.rule.addItem(f"{rule} ({OPTIMISTIC})" if optimistic else rule, rule)
            figured = {row.rule for row in rows if row.measured and not row.baseline}
            best = most_trusted(figured, choosers(rows))
            self.rule.setCurrentIndex(max(0, self.rule.findData(best)))
            self.score.addItem(OWN, None)
            for score in scores:
                self.score.addItem(score, score)
        missing = [rule for rule in rules if rule not in figured and rule in RULES]
        self.unable = " ".join(f"No figures by {rule}: {RULES.find(rule).nothing}." for rule in missing)
        self._show()

    def _show(self, *_: Any) -> None:
        rows = () if self._results is None else self._results.rows
        rule, score = self.rule.currentData(), self.score.currentData()
        own: dict[str, str] = {}
        for row in rows:
            own.setdefault(
                row.model, row.score
            )  # an evaluation begins with the score that the model suggests
        shown = [
            row
            for row in rows
            if row.rule in (rule, "none") and (row.baseline or row.score == (score or own[row.model]))
        ]
        self._unsorted()
        self.show_rows(shown, [])

    def _unsorted(self) -> None:
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
