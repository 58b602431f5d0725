"""The controls of the Evaluate dock and their layout. ``evaluate.py`` has their behaviour."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, LineEdit, PushButton, SpinBox
from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent, QTextOption
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QPlainTextEdit,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ..patients import SEQUENCES
from .controls import Lines, folded, keep_place, list_height, push_button, row, scrolled, section
from .evaluation_table import ResultTable
from .findings_table import FindingsTable
from .keyboard import KeyboardDock
from .messages import Messages
from .preferences import DEVICES
from .run_progress import StepBar

AUTOMATIC = "automatic"
"""Entry of the list of sequences that leaves the choice to the command."""

MOST_MESSAGES = 500
"""Number of lines kept of the output of the process."""

MODELS_HEIGHT = 130
"""Least height of the list of models, in pixels."""


class EvaluateForm(KeyboardDock):
    """Every control of the Evaluate dock, without behaviour.

    Attributes:
        viewer: The napari viewer.
        cohort: Folder of patients; ``choose_cohort`` asks for it.
        sequence: Sequence to use, or ``AUTOMATIC``.
        check: Checks the cohort; ``checked`` sums up, and ``findings``, a tab of their own, list the result.
        models: Models with a tick each; ``tick_all`` and ``tick_none`` set them.
        maps: Folder of the score maps of another method; ``choose_maps`` asks for it.
        maps_pattern: Place of a patient's map in that folder; empty: the file with the patient's name in it.
        split: Split file or slice store; ``choose_split`` and ``choose_store`` ask for it.
        out: Folder of the results; ``choose_out`` asks for it.
        device: Where the networks run.
        workers: Number of processes; 0: as the machine allows.
        scheduler: Address of a Dask scheduler, empty without one.
        start: Starts the evaluation; ``stop`` ends it.
        command: The command that Start runs; ``copy`` copies it.
        messages: Output of the process; ``notice`` shows napari's notifications.
        results: The tab with the results; ``table`` has them, and ``details`` lists the skipped patients with reasons.
        open_report: Opens the report; ``open_folder`` the folder.
    """

    viewer: Any

    def __init__(self) -> None:
        super().__init__()
        self.tabs = QTabWidget()
        self.tabs.addTab(scrolled(self._build_evaluation()), "Evaluation")
        self.findings = FindingsTable()
        self.tabs.addTab(self.findings, "Findings")
        self.results = self._build_results()
        self.tabs.addTab(self.results, "Results")
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.tabs)
        self.notice = Messages()
        outer.addWidget(self.notice)
        self.setMinimumWidth(400)
        self.setAcceptDrops(True)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the list of models its share of the dock's height."""
        super().resizeEvent(event)
        self.models.setFixedHeight(list_height(MODELS_HEIGHT, self))

    def _build_evaluation(self) -> QWidget:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        self._build_cohort(column)
        self._build_models(column)
        self._build_settings(column)
        self._build_start(column)
        column.addStretch(1)
        return inner

    def _build_cohort(self, column: QVBoxLayout) -> None:
        grid = section("Cohort", column)
        self.cohort = _path("drop a folder here")
        self.choose_cohort = push_button("Folder…", "Choose the folder of the patients")
        row(
            grid,
            "Patients",
            _line(self.cohort, self.choose_cohort),
            "Folder of patients with lesion masks; it can be dropped here",
        )
        self.sequence = ComboBox(choices=[AUTOMATIC, *SEQUENCES], value=AUTOMATIC)
        row(
            grid,
            "Sequence",
            self.sequence.native,
            "What to measure on; automatic takes that of the store given as split, else flair",
        )
        self.check = push_button(
            "Check the cohort", "Read every file and list what is missing, broken or does not fit together"
        )
        self.checking = StepBar("Patients checked")
        keep_place(self.checking).hide()
        self.checked = Lines(2)
        for part in (self.check.native, self.checking, self.checked):
            grid.addWidget(part, grid.rowCount(), 0, 1, 3)

    def _build_models(self, column: QVBoxLayout) -> None:
        grid = section("Models", column)
        self.models = QListWidget()
        self.models.setAccessibleName("Models to evaluate")
        self.models.setStyleSheet(
            "QListWidget::indicator:unchecked { border: 1px solid #8a8f98; width: 12px; height: 12px; }"
        )
        self.tick_all = push_button("All", "Tick all models")
        self.tick_none = push_button("None", "Untick all models")
        line = QHBoxLayout()
        for button in (self.tick_all, self.tick_none):
            line.addWidget(button.native)
        grid.addWidget(self.models, grid.rowCount(), 0, 1, 3)
        grid.addLayout(line, grid.rowCount(), 0, 1, 3)
        self.maps = _path("none")
        self.choose_maps = push_button("Folder…", "Choose the folder of the score maps")
        row(
            grid,
            "Score maps",
            _line(self.maps, self.choose_maps),
            "Anomaly maps of another method to rank beside the models: one NIfTI file per patient, with its name in it",
        )
        self.maps_pattern = _path("{patient}_anomaly.nii.gz")
        row(
            grid,
            "Named",
            self.maps_pattern.native,
            "Where a patient's map lies in that folder, with {patient} for the name and * for any letters; empty: the "
            "file with the name in it",
        )

    def _build_settings(self, column: QVBoxLayout) -> None:
        grid = section("Settings", column)
        self.split = _path("none")
        self.choose_split = push_button("File…", "A split file (JSON)")
        self.choose_store = push_button("Store…", "A slice store: the split of a training")
        row(
            grid,
            "Split",
            _line(self.split, self.choose_split, self.choose_store),
            "Validation patients choose the settings, test patients are reported",
        )
        self.no_split = _label(
            "Without a split all patients are reported. The figures of a model are optimistic where it was "
            "trained on some of them."
        )
        grid.addWidget(keep_place(self.no_split), grid.rowCount(), 0, 1, 3)
        self.folds = SpinBox(value=0, min=0, max=100)
        none = _beside(self.folds.native, QLabel("0: none"))
        row(
            grid,
            "Folds",
            none,
            "Without a split: the settings for each of so many folds of the patients are chosen on the others",
        )
        self.out = _path("a new folder")
        self.choose_out = push_button("Folder…", "Choose the folder of the results")
        row(grid, "Results", _line(self.out, self.choose_out), "Folder for the tables and the report")
        self.device = ComboBox(choices=list(DEVICES), value="auto")
        row(grid, "Device", self.device.native, "auto takes a GPU if there is one")
        self.workers = SpinBox(value=0, min=0, max=1024)
        at_once = _beside(self.workers.native, QLabel("0: as the machine allows"))
        row(grid, "Workers", at_once, "Processes at the same time")
        rest = QWidget()
        column_of_rest = QVBoxLayout(rest)
        column_of_rest.setContentsMargins(0, 0, 0, 0)
        self.scheduler = _path("tcp://host:8786")
        self.scheduler.native.setAccessibleName("Scheduler")
        title = _label("Address of a Dask scheduler: its workers do the work, and see the same folders.")
        title.setBuddy(self.scheduler.native)
        column_of_rest.addWidget(title)
        column_of_rest.addWidget(self.scheduler.native)
        grid.addWidget(folded("More", rest), grid.rowCount(), 0, 1, 3)

    def _build_start(self, column: QVBoxLayout) -> None:
        grid = section("Start", column)
        self.problem = Lines(2)
        self.start = push_button("Start", "Evaluate in a process of its own; napari stays free")
        self.stop = push_button("Stop", "End the process; Start goes on where it stopped")
        buttons = QHBoxLayout()
        for button in (self.start, self.stop):
            buttons.addWidget(button.native)
        self.progress = StepBar("Progress of the evaluation")
        keep_place(self.progress).hide()
        self.state = Lines(2)
        self.messages = _text("What the evaluation says", 70)
        self.messages.setMaximumBlockCount(MOST_MESSAGES)
        keep_place(self.messages).hide()
        self.command = _text("The command that Start runs", 84)
        self.copy = push_button("Copy", "Copy the command")
        shown = QWidget()
        shown_column = QVBoxLayout(shown)
        shown_column.setContentsMargins(0, 0, 0, 0)
        shown_column.addWidget(self.command)
        shown_column.addWidget(self.copy.native)
        grid.addWidget(self.problem, grid.rowCount(), 0, 1, 3)
        grid.addLayout(buttons, grid.rowCount(), 0, 1, 3)
        for part in (self.progress, self.state, self.messages):
            grid.addWidget(part, grid.rowCount(), 0, 1, 3)
        grid.addWidget(folded("The command that Start runs", shown), grid.rowCount(), 0, 1, 3)

    def _build_results(self) -> QWidget:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        self.summary = _label("Nothing has been evaluated yet.")
        self.table = ResultTable()
        self.details = _text("Warnings, and patients that were skipped", 90)
        keep_place(self.details).hide()
        self.open_report = push_button("Open the report", "Show report.html in the browser")
        self.open_folder = push_button("Open the folder", "Show the folder of the results")
        buttons = QHBoxLayout()
        for button in (self.open_report, self.open_folder):
            button.enabled = False
            buttons.addWidget(button.native)
        column.addWidget(self.summary)
        column.addLayout(buttons)  # above what grows: no message moves them
        choices = QGridLayout()
        choices.setColumnStretch(1, 1)
        for title, box, tip in (
            ("Settings by", self.table.rule, "The rule that chose the settings that the figures belong to"),
            ("Score", self.table.score, "What makes an anomaly map of a reconstruction"),
        ):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            row(choices, title, box, tip)
        column.addLayout(choices)
        column.addWidget(self.table, 1)
        column.addWidget(self.details)
        return inner


def _path(placeholder: str) -> LineEdit:
    edit = LineEdit()
    edit.native.setPlaceholderText(placeholder)
    edit.native.setAcceptDrops(False)  # a folder that is dropped is for the dock, not a text to insert
    return edit


def _line(edit: LineEdit, *buttons: PushButton) -> QWidget:
    return _beside(edit.native, *(button.native for button in buttons))


def _beside(first: QWidget, *others: QWidget) -> QWidget:
    """Return a control, which gets the room, with others beside it."""
    line = QWidget()
    inside = QHBoxLayout(line)
    inside.setContentsMargins(0, 0, 0, 0)
    inside.addWidget(first, 1)
    for other in others:
        inside.addWidget(other)
    line.setFocusProxy(first)
    return line


def _label(text: str = "") -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setMinimumWidth(1)  # a long word must not widen the dock
    return label


def _text(name: str, height: int) -> QPlainTextEdit:
    """Return text to read and copy in which the longest path finds room."""
    text = QPlainTextEdit()
    text.setReadOnly(True)
    text.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    text.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    text.setTabChangesFocus(True)
    text.setFixedHeight(height)
    text.setAccessibleName(name)
    return text
