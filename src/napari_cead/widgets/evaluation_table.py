"""The results of an evaluation, read from ``results.json`` and shown as a table that fits into a dock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QHeaderView, QTableWidget, QTableWidgetItem

from ..errors import OutputError
from ..evaluation.results import chosen_by
from ..json_files import read_json, version_of

RESULTS = "results.json"
REPORT = "report.html"
LARGEST_RESULTS = 1 << 29
SCHEMA_VERSIONS = (1, 2)

COLUMNS = ("Model", "Dice\npatient", "Dice\npooled", "Lesions\nfound", "F1", "FP per\npatient")
TIPS = (
    "One row a model, in italics a baseline without a network; the tooltip of a row has score, rule and intervals",
    "dice_patient: mean over patients of the Dice of the volume, with the 95 % bootstrap interval",
    "dice_pooled: Dice of all voxels of all patients",
    "Lesion sensitivity: share of all lesions with at least one detected voxel",
    "Lesion-wise F1: the harmonic mean of lesion sensitivity and the share of the detections that are true",
    "Mean number of false positive detections of a patient",
)
WIDEST = {1: "patient", 2: "pooled", 3: "Lesions", 4: "0.00", 5: "patient"}
"""The widest texts of the narrow columns."""

PADDING = 10
"""Pixels around the text of a cell."""

NONE = "–"

OWN = "suggested by each model"
"""Entry of the list of scores that shows each model's own."""

OPTIMISTIC = "optimistic: chosen on the very patients that are reported"


@dataclass(frozen=True)
class ResultRow:
    """One model under one score and one rule.

    Attributes:
        model: Its name, or that of a baseline.
        score: Anomaly score; empty without one.
        rule: Rule that chose the settings.
        sequence: Sequence, if several were evaluated; else empty.
        baseline: Whether it is a baseline without a network.
        optimistic: Whether its settings were chosen on the reported patients.
        note: A caveat for the row.
        chosen_on: The data that chose its settings; empty without a choice.
        chosen_by: Number of patients that chose them; None if unknown.
        edge: The end of the thresholds tried at which the chosen one lies; empty inside.
        dice_patient: Mean Dice of a patient, and its ``patient_interval``; None where undefined.
        dice_pooled: Dice of all voxels, and its ``pooled_interval``.
        sensitivity: Share of the lesions that were found.
        lesion_f1: Lesion-wise F1.
        false_positives: False detections of a patient.
        trained_on: Number of reported patients that the model was trained on; None: unknown.
    """

    model: str
    score: str
    rule: str
    sequence: str
    baseline: bool
    optimistic: bool
    note: str
    dice_patient: float | None
    patient_interval: tuple[float, float] | None
    dice_pooled: float | None
    pooled_interval: tuple[float, float] | None
    sensitivity: float | None
    lesion_f1: float | None
    false_positives: float | None
    chosen_on: str = ""
    chosen_by: int | None = None
    edge: str = ""
    trained_on: int | None = None

    @property
    def title(self) -> str:
        """Its title, in one line."""
        seen = f"trained on {self.trained_on}" if self.trained_on else ""
        return " · ".join(part for part in (self.model, self.sequence, seen) if part)

    @property
    def made_by(self) -> str:
        """Its score and rule; a baseline has only one score."""
        kind = "baseline" if self.baseline else f"score {self.score}"
        return kind if self.rule == "none" else f"{kind}, rule {self._rule}"

    @property
    def _rule(self) -> str:
        """The rule, with the number of patients that chose, and a mark if at the edge of the thresholds tried."""
        patients = "" if self.chosen_by is None else f"{self.chosen_by} patient{'s' * (self.chosen_by != 1)}"
        words = ", ".join(word for word in (patients, "edge" if self.edge else "") if word)
        return f"{self.rule} ({words})" if words else self.rule


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
        patients = f"{self.reported} patient{'s' * (self.reported != 1)} reported"
        return f"{patients}, {len(self.skipped)} skipped."

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
            raise OutputError("the results are of another version", file=file, mend="update napari-cead")
        models = {str(model["name"]) for model in values["models"]}
        several = len({row.get("sequence") for row in values["rows"]}) > 1
        rows = tuple(_row(row, models, several) for row in values["rows"])
        return Results(
            rows,
            max((int(row.get("patients") or 0) for row in values["rows"]), default=0),
            tuple((str(one["name"]), str(one["reason"])) for one in values.get("skipped", ())),
            tuple(str(text) for text in values.get("warnings", ())),
        )
    except FileNotFoundError:
        raise OutputError("there are no results here", file=file, mend="start the evaluation again") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError("the results are damaged", file=file, mend="start the evaluation again") from error


def _row(values: Mapping[str, Any], models: set[str], several: bool) -> ResultRow:
    intervals = values.get("intervals") or {}
    return ResultRow(
        model=str(values["model"]),
        score=str(values.get("score") or ""),
        rule=str(values["rule"]),
        sequence=str(values.get("sequence") or "") if several else "",
        baseline=values["model"] not in models,
        optimistic=bool(values.get("optimistic")),
        note=str(values.get("note") or ""),
        dice_patient=_figure(values.get("dice_patient")),
        patient_interval=_interval(intervals.get("dice_patient")),
        dice_pooled=_figure(values.get("dice_pooled")),
        pooled_interval=_interval(intervals.get("dice_pooled")),
        sensitivity=_figure(values.get("lesion_sensitivity")),
        lesion_f1=_figure(values.get("lesion_f1")),
        false_positives=_figure(values.get("false_positives_per_patient")),
        chosen_on=str(values.get("chosen_on") or ""),
        chosen_by=values.get("chosen_by"),
        edge=str(values.get("edge") or ""),
        trained_on=None if (seen := values.get("trained_on_patients")) is None else int(seen),
    )


def _figure(value: Any) -> float | None:
    return None if value is None else float(value)


def _interval(value: Any) -> tuple[float, float] | None:
    return None if value is None or None in value else (float(value[0]), float(value[1]))


class _Cell(QTableWidgetItem):
    """A figure, sorted as a number; undefined ones come below all others."""

    def __init__(self, text: str, value: float | None) -> None:
        super().__init__(text)
        self.value = -1.0 if value is None else value
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        """Compare the figures."""
        return isinstance(other, _Cell) and self.value < other.value


class ResultTable(QTableWidget):
    """The figures of an evaluation, one row per model; a click on a column's title sorts by it.

    Attributes:
        rule: Chooses the rule of the figures.
        score: Chooses the score of the figures.
    """

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self._results: Results | None = None
        self.rule, self.score = QComboBox(), QComboBox()
        for box, name in ((self.rule, "Rule"), (self.score, "Score")):
            box.setAccessibleName(name)
            box.currentIndexChanged.connect(self._show)
        self.setHorizontalHeaderLabels(list(COLUMNS))
        for column, tip in enumerate(TIPS):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(30)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column, widest in WIDEST.items():
            self.setColumnWidth(column, self.fontMetrics().horizontalAdvance(widest) + PADDING)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setMinimumHeight(240)
        self.setAccessibleName("Results of the evaluation")

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
            self.rule.setCurrentIndex(max(0, self.rule.findData("validation")))
            self.score.addItem(OWN, None)
            for score in scores:
                self.score.addItem(score, score)
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
        self.setSortingEnabled(False)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
        self.setRowCount(len(shown))
        for number, row in enumerate(shown):
            self._fill(number, row)
        self.setSortingEnabled(True)

    def _fill(self, number: int, row: ResultRow) -> None:
        title = QTableWidgetItem(row.title)
        cells = [
            title,
            _Cell(_text(row.dice_patient, 3), row.dice_patient),
            _Cell(_text(row.dice_pooled, 3), row.dice_pooled),
            _Cell(NONE if row.sensitivity is None else f"{row.sensitivity:.0%}", row.sensitivity),
            _Cell(_text(row.lesion_f1, 2), row.lesion_f1),
            _Cell(_text(row.false_positives, 1), row.false_positives),
        ]
        chosen = chosen_by(row.chosen_on, row.chosen_by, row.edge)
        seen = (
            f"Too good: the model was trained on {row.trained_on} of these patients."
            if row.trained_on
            else ""
        )
        lines = (
            row.title,
            row.made_by,
            f"dice_patient {_text(row.dice_patient, 3, row.patient_interval)}",
            f"dice_pooled {_text(row.dice_pooled, 3, row.pooled_interval)}",
            f"settings chosen by {chosen}" if chosen else "",
            f"{OPTIMISTIC.capitalize()}." if row.optimistic else "",
            seen,
            row.note,
        )
        tip = "\n".join(line for line in lines if line)
        for column, cell in enumerate(cells):
            cell.setToolTip(tip)
            font = cell.font()
            font.setItalic(row.baseline)
            cell.setFont(font)
            self.setItem(number, column, cell)


def _text(value: float | None, digits: int, interval: tuple[float, float] | None = None) -> str:
    if value is None:
        return NONE
    return f"{value:.{digits}f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")
