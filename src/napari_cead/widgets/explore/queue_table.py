"""The patients of a queue as a list that takes drops of folders and files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QPainter

from ...exploring.queue import QueueItem
from ...wording import number
from ..common.row_table import RIGHT, DropTable, RowColumn, RowModel

SHOWN = {"running": "running…"}
"""States that read otherwise in the list."""


def _state(item: QueueItem) -> str:
    return item.line if item.state == "failed" else SHOWN.get(item.state, item.state)


def _if_done(write: Any) -> Any:
    return lambda item: write(item) if item.state == "done" else ""


COLUMNS = (
    RowColumn("Patient", lambda item: item.name),
    # Not by content: a reason, which spans three columns, would make its own as wide as itself.
    RowColumn("State", _state, width="cancelled"),
    RowColumn("Dice", _if_done(lambda item: number(item.dice)), width="0.000", align=RIGHT),
    RowColumn("mL", _if_done(lambda item: f"{item.volume_ml:.2f}"), width="000.00", align=RIGHT),
)


class _Patients(RowModel):
    def __init__(self) -> None:
        super().__init__(COLUMNS, key=lambda item: item.path)

    def tip(self, row: QueueItem, column: RowColumn) -> str:
        return "\n".join([str(row.path), row.line, *row.warnings])


class QueueTable(DropTable):
    """The list of patients."""

    def __init__(self) -> None:
        super().__init__(_Patients(), "Queue of patients")
        self.setShowGrid(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)

    def show_items(self, items: Sequence[QueueItem]) -> None:
        """Show these items; rows that were selected stay so."""
        self.show_rows(items)
        for place in range(len(items)):
            self._span(place)

    def show_item(self, item: QueueItem) -> None:
        """Show the current state of an item."""
        if (place := self.content.update(item)) is not None:
            self._span(place)

    def follow(self, item: QueueItem) -> None:
        """Scroll to an item."""
        if (place := self.content.place_of(item.path)) is not None:
            self.scrollTo(self.cell(place))

    def _span(self, place: int) -> None:
        """Give a reason the room of the figures, which are not there."""
        span = len(COLUMNS) - 1 if self.content.rows[place].state == "failed" else 1
        if self.columnSpan(place, 1) != span:
            self.setSpan(place, 1, 1, span)

    def paintEvent(self, event: Any) -> None:
        """Show a hint in an empty list."""
        super().paintEvent(event)
        if not self.content.rows:
            painter = QPainter(self.viewport())
            painter.setPen(self.palette().color(self.foregroundRole()))
            area = self.viewport().rect().adjusted(8, 8, -8, -8)
            flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
            painter.drawText(area, flags, "Drop patients, or folders of patients, here")
            painter.end()
