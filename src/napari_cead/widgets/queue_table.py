"""The patients of a queue as a list that takes drops of folders and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from ..exploring.queue import QueueItem
from ..wording import number
from .keyboard import leave_letters

COLUMNS = ("Patient", "State", "Dice", "mL")

WIDEST = {1: "cancelled", 2: "0.000", 3: "000.00"}
"""The widest texts of the narrow columns."""

PADDING = 14
"""Pixels around the text of a cell."""

SHOWN = {"running": "running…"}
"""States that read otherwise in the list."""

_PATH = Qt.ItemDataRole.UserRole


class QueueTable(QTableWidget):
    """The list of patients. Folders and files can be dropped onto it.

    Signals:
        dropped: Paths that were dropped.
        remove_wanted: The Delete key was pressed.
    """

    dropped = Signal(list)
    remove_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self._rows: dict[Path, int] = {}
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setMinimumSectionSize(30)
        header.setHighlightSections(False)  # bold headings would be wider
        # Not by content: a reason, which spans three columns, would make its own as wide as itself.
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column, widest in WIDEST.items():
            self.setColumnWidth(column, self.fontMetrics().horizontalAdvance(widest) + PADDING)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        leave_letters(self)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setAcceptDrops(True)
        self.setAccessibleName("Queue of patients")
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)

    def show_items(self, items: Sequence[QueueItem]) -> None:
        """Show these items; rows that were selected stay so."""
        chosen = set(self.chosen())
        self.setUpdatesEnabled(False)
        self.clearContents()
        self.clearSpans()
        self.setRowCount(len(items))
        self._rows = {item.path: row for row, item in enumerate(items)}
        for item in items:
            self.show_item(item)
        self.clearSelection()
        for row, item in enumerate(items):
            if item.path in chosen:
                for column in range(len(COLUMNS)):
                    self.item(row, column).setSelected(True)
        self.setUpdatesEnabled(True)

    def show_item(self, item: QueueItem) -> None:
        """Show the current state of an item."""
        row = self._rows.get(item.path)
        if row is None:
            return
        failed, done = item.state == "failed", item.state == "done"
        texts = (
            item.name,
            item.line if failed else SHOWN.get(item.state, item.state),
            number(item.dice) if done else "",
            f"{item.volume_ml:.2f}" if done else "",
        )
        tip = "\n".join([str(item.path), item.line, *item.warnings])
        for column, text in enumerate(texts):
            cell = self.item(row, column)
            if cell is None:
                cell = QTableWidgetItem()
                if column > 1:
                    cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(row, column, cell)
            cell.setText(text)
            cell.setToolTip(tip)
            cell.setData(_PATH, str(item.path))
        # A reason needs room: it takes that of the figures, which are not there.
        span = len(COLUMNS) - 1 if failed else 1
        if self.columnSpan(row, 1) != span:
            self.setSpan(row, 1, 1, span)

    def follow(self, item: QueueItem) -> None:
        """Scroll to an item."""
        if (row := self._rows.get(item.path)) is not None:
            self.scrollToItem(self.item(row, 0))

    def path_of(self, row: int) -> Path | None:
        """Return the patient in a row."""
        cell = self.item(row, 0)
        return None if cell is None else Path(cell.data(_PATH))

    def chosen(self) -> list[Path]:
        """Return the selected patients."""
        rows = sorted({index.row() for index in self.selectedIndexes()})
        return [path for row in rows if (path := self.path_of(row)) is not None]

    def paintEvent(self, event: Any) -> None:
        """Show a hint in an empty list."""
        super().paintEvent(event)
        if self.rowCount() == 0:
            painter = QPainter(self.viewport())
            painter.setPen(self.palette().color(self.foregroundRole()))
            area = self.viewport().rect().adjusted(8, 8, -8, -8)
            flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
            painter.drawText(area, flags, "Drop patients, or folders of patients, here")
            painter.end()

    def keyPressEvent(self, event: Any) -> None:
        """Remove the selected patients on Delete."""
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.remove_wanted.emit()
        else:
            super().keyPressEvent(event)

    def dragEnterEvent(self, event: Any) -> None:
        """Accept drags from a file manager."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    dragMoveEvent = dragEnterEvent

    def dropEvent(self, event: Any) -> None:
        """Signal the dropped paths."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        if paths:
            self.dropped.emit(paths)
