"""The controls of the Evaluate dock and their layout. ``evaluate.py`` has their behaviour."""

from __future__ import annotations

from magicgui.widgets import ComboBox, LineEdit, PushButton, SpinBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QListWidget, QProgressBar, QVBoxLayout, QWidget

from ...patients import SEQUENCES
from ..common.command_box import CommandBox
from ..common.controls import (
    Lines,
    beside,
    folded,
    keep_place,
    push_button,
    read_only,
    row,
    section,
    stacked,
    wrapping,
)
from ..common.preferences import DEVICES
from ..common.run_progress import RunProgress

AUTOMATIC = "automatic"
"""Entry of the list of sequences that leaves the choice to the command."""

MOST_MESSAGES = 500
"""Number of lines kept of the output of the process."""

MODELS_HEIGHT = 130
"""Least height of the list of models, in pixels."""


class EvaluateForm(QWidget):
    """What the user says about an evaluation, and its progress; without behaviour.

    Attributes:
        cohort: Folder of patients; ``choose_cohort`` asks for it.
        sequence: Sequence to use, or ``AUTOMATIC``.
        models: Models with a tick each; ``tick_all`` and ``tick_none`` set them.
        maps: Folder of the score maps of another method; ``choose_maps`` asks for it.
        maps_pattern: Place of a patient's map in that folder; empty: the file with the patient's name in it.
        split: Split file or slice store; ``choose_split`` and ``choose_store`` ask for it.
        out: Folder of the results; ``choose_out`` asks for it.
        device: Where the networks run.
        workers: Number of processes; 0: as the machine allows.
        scheduler: Address of a Dask scheduler, empty without one.
        start: Starts the evaluation; ``stop`` ends it.
        progress: What the process does and how far it is; ``run_progress`` writes it.
        command: The command that Start runs.
        messages: Output of the process.
    """

    def __init__(self) -> None:
        super().__init__()
        column = stacked(self, margin=4)
        self.cohort_grid = self._build_cohort(column)
        self._build_models(column)
        self._build_settings(column)
        self._build_start(column)
        column.addStretch(1)

    @property
    def chosen_models(self) -> list[str]:
        """Names of the ticked models."""
        items = (self.models.item(row) for row in range(self.models.count()))
        return [item.text() for item in items if item.checkState() == Qt.CheckState.Checked]

    def _build_cohort(self, column: QVBoxLayout) -> QGridLayout:
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
        return grid

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
        self.no_split = wrapping(
            "Without a split all patients are reported. The figures of a model are optimistic where it was "
            "trained on some of them."
        )
        grid.addWidget(keep_place(self.no_split), grid.rowCount(), 0, 1, 3)
        self.folds = SpinBox(value=0, min=0, max=100)
        none = beside(self.folds.native, QLabel("0: none"))
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
        at_once = beside(self.workers.native, QLabel("0: as the machine allows"))
        row(grid, "Workers", at_once, "Processes at the same time")
        rest = QWidget()
        column_of_rest = stacked(rest)
        self.scheduler = _path("tcp://host:8786")
        self.scheduler.native.setAccessibleName("Scheduler")
        title = wrapping("Address of a Dask scheduler: its workers do the work, and see the same folders.")
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
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Progress of the evaluation")
        self.run_progress = RunProgress(self.progress, at_once=True)
        keep_place(self.progress).hide()
        self.state = Lines(2)
        self.messages = read_only("What the evaluation says", 70)
        self.messages.setMaximumBlockCount(MOST_MESSAGES)
        keep_place(self.messages).hide()
        self.command = CommandBox("The command that Start runs")
        grid.addWidget(self.problem, grid.rowCount(), 0, 1, 3)
        grid.addLayout(buttons, grid.rowCount(), 0, 1, 3)
        for part in (self.progress, self.state, self.messages):
            grid.addWidget(part, grid.rowCount(), 0, 1, 3)
        grid.addWidget(folded("The command that Start runs", self.command), grid.rowCount(), 0, 1, 3)


def _path(placeholder: str) -> LineEdit:
    edit = LineEdit()
    edit.native.setPlaceholderText(placeholder)
    edit.native.setAcceptDrops(False)  # a folder that is dropped is for the dock, not a text to insert
    return edit


def _line(edit: LineEdit, *buttons: PushButton) -> QWidget:
    return beside(edit.native, *(button.native for button in buttons))
