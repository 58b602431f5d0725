"""The list of trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Signal

from ...runs.run_info import RunInfo
from ..common.row_table import RowColumn, RowModel, RowTable
from .training_plots import number

COLUMNS = (
    RowColumn("Training", lambda run: run.name),
    RowColumn("State", lambda run: run.phase or run.state if run.active else run.state, width=""),
    RowColumn("Epochs", lambda run: f"{run.epoch}/{run.epochs}" if run.epochs else "", width=""),
    RowColumn("Best loss", lambda run: number(run.best_loss) if run.best_epoch else "", width=""),
)


class _Trainings(RowModel):
    def __init__(self) -> None:
        super().__init__(COLUMNS, key=lambda run: run.path)

    def tip(self, row: RunInfo, column: RowColumn) -> str:
        return f"{row.path}\n{row.error or ''}".strip()


class RunsTable(RowTable):
    """Trainings of this machine, the running ones first.

    Signals:
        chosen: The folder (a ``Path``) of the training that was selected.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__(_Trainings(), "Trainings", several=False)
        self.setFixedHeight(150)  # what lies below it stays where it is
        self.picked.connect(self._picked)

    @property
    def runs(self) -> tuple[RunInfo, ...]:
        """The listed trainings."""
        return tuple(self.content.rows)

    def show_runs(self, runs: Sequence[RunInfo], current: Path | None = None) -> None:
        """Show these trainings.

        Args:
            runs: In the order to show.
            current: The one to select; None: the one that is selected.
        """
        self.show_rows(runs, None if current is None else [current])

    def update_run(self, info: RunInfo | None) -> None:
        """Show the current state of one training, like the view beside the table."""
        if info is not None:
            self.content.update(info)

    def _picked(self) -> None:
        for run in self.selected_rows:
            self.chosen.emit(run.path)
