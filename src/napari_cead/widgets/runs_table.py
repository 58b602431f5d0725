"""The list of trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from ..training.run_info import RunInfo
from .training_plots import number

COLUMNS = ("Training", "State", "Epochs", "Best loss")


class RunsTable(QTableWidget):
    """Trainings of this machine, the running ones first.

    Signals:
        chosen: The folder (a ``Path``) of the training that was selected.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self._runs: tuple[RunInfo, ...] = ()
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        header = self.horizontalHeader()
        header.setHighlightSections(False)  # bold headings would be wider
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setFixedHeight(150)  # what lies below it stays where it is
        self.setAccessibleName("Trainings")
        self.itemSelectionChanged.connect(self._selected)

    @property
    def runs(self) -> tuple[RunInfo, ...]:
        """The listed trainings."""
        return self._runs

    @property
    def current(self) -> Path | None:
        """The selected training."""
        rows = {index.row() for index in self.selectedIndexes()}
        return self._runs[min(rows)].path if rows else None

    def show_runs(self, runs: Sequence[RunInfo], current: Path | None = None) -> None:
        """Show these trainings.

        Args:
            runs: In the order to show.
            current: The one to select; None: the one that is selected.
        """
        wanted = current or self.current
        self.blockSignals(True)
        self._runs = tuple(runs)
        self.setRowCount(len(runs))
        for row, info in enumerate(runs):
            self._fill(row, info)
        self.clearSelection()
        for row, info in enumerate(runs):
            if info.path == wanted:
                self.selectRow(row)
        self.blockSignals(False)

    def update_run(self, info: RunInfo | None) -> None:
        """Show the current state of one training, like the view beside the table."""
        for row, listed in enumerate(self._runs):
            if info is not None and listed.path == info.path:
                self._runs = (*self._runs[:row], info, *self._runs[row + 1 :])
                self._fill(row, info)

    def _fill(self, row: int, info: RunInfo) -> None:
        texts = (
            info.name,
            info.phase or info.state if info.active else info.state,
            f"{info.epoch}/{info.epochs}" if info.epochs else "",
            number(info.best_loss) if info.best_epoch else "",
        )
        for column, text in enumerate(texts):
            item = self.item(row, column)
            if item is None:
                item = QTableWidgetItem()
                self.setItem(row, column, item)
            item.setText(text)
            item.setToolTip(f"{info.path}\n{info.error or ''}".strip())

    def _selected(self) -> None:
        if self.current is not None:
            self.chosen.emit(self.current)
