"""The tables of the docks: any objects as rows under described columns, with one model and one view."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QEvent, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QFont, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QStyleOptionHeader, QTableView

from .controls import wrapped
from .keyboard import leave_letters

LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter

PADDING = 8
"""Pixels around the text of a cell."""

NARROWEST = 24
"""Pixels of the narrowest column."""


@dataclass(frozen=True)
class RowColumn:
    """A column of a table.

    Attributes:
        title: Its title, which may have two lines.
        text: Writes the cell of a row.
        tip: What it means, shown at its title.
        value: What to sort by; None: it cannot be sorted by.
        width: The widest text that has to fit beside the title; empty: as wide as its texts; None: it shares the room
            that is left.
        align: Where the text stands in a cell.
    """

    title: str
    text: Callable[[Any], str]
    tip: str = ""
    value: Callable[[Any], Any] | None = None
    width: str | None = None
    align: Qt.AlignmentFlag = LEFT


class RowModel(QAbstractTableModel):
    """Rows under columns, sorted by one of them or in the order given.

    Signals:
        ticked: A tick was changed.

    Attributes:
        rows: The rows in the order shown.

    Args:
        columns: The columns.
        key: Names a row: one with the same key takes its place.
    """

    ticked = Signal()

    def __init__(self, columns: Sequence[RowColumn], key: Callable[[Any], Hashable] = id) -> None:
        super().__init__()
        self.columns, self.key = tuple(columns), key
        self.rows: list[Any] = []
        self._sorted_by, self._descending = -1, False

    def tip(self, row: Any, column: RowColumn) -> str:
        """Return the tooltip of a cell."""
        return ""

    def tick(self, row: Any) -> bool | None:
        """Return whether a row is ticked; None: it has no box."""
        return None

    def can_tick(self, row: Any) -> bool:
        """Return whether the tick of a row can be changed."""
        return self.tick(row) is not None

    def set_tick(self, row: Any, on: bool) -> None:
        """Tick or untick a row."""

    def picture(self, row: Any) -> QPixmap | None:
        """Return the picture in the first cell of a row."""
        return None

    def italic(self, row: Any) -> bool:
        """Return whether a row is written in italics."""
        return False

    def set_rows(self, rows: Iterable[Any]) -> None:
        """Show other rows, in the order last asked for; if they are the same by their keys, what is selected stays."""
        wanted = self._in_order(rows)
        if list(map(self.key, wanted)) == list(map(self.key, self.rows)):
            self.rows = wanted
            if wanted:
                self.dataChanged.emit(self.index(0, 0), self.index(len(wanted) - 1, len(self.columns) - 1))
            return
        self.beginResetModel()
        self.rows = wanted
        self.endResetModel()

    def append(self, row: Any) -> None:
        """Add a row at the end."""
        place = len(self.rows)
        self.beginInsertRows(QModelIndex(), place, place)
        self.rows.append(row)
        self.endInsertRows()

    def update(self, row: Any) -> int | None:
        """Show a row in place of the one with the same key; return its place, None if there is none."""
        place = self.place_of(self.key(row))
        if place is not None:
            self.put(place, row)
        return place

    def put(self, place: int, row: Any) -> None:
        """Show another row at a place."""
        self.rows[place] = row
        self.dataChanged.emit(self.index(place, 0), self.index(place, len(self.columns) - 1))

    def place_of(self, key: Hashable) -> int | None:
        """Return the place of the row with a key; None if there is none."""
        return next((place for place, row in enumerate(self.rows) if self.key(row) == key), None)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Return what can be done with a cell."""
        flags = super().flags(index)
        boxed = index.column() == 0 and self.can_tick(self.rows[index.row()])
        return flags | Qt.ItemFlag.ItemIsUserCheckable if boxed else flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, or how it is shown."""
        row, column = self.rows[index.row()], self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.tip(row, column)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return column.align
        if role == Qt.ItemDataRole.FontRole and self.italic(row):
            font = QFont()
            font.setItalic(True)
            return font
        if index.column() == 0:
            if role == Qt.ItemDataRole.CheckStateRole and (ticked := self.tick(row)) is not None:
                return Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
            if role == Qt.ItemDataRole.DecorationRole:
                return self.picture(row)
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Tick or untick a row."""
        if role != Qt.ItemDataRole.CheckStateRole or not self.flags(index) & Qt.ItemFlag.ItemIsUserCheckable:
            return False
        self.set_tick(self.rows[index.row()], Qt.CheckState(value) == Qt.CheckState.Checked)
        self.dataChanged.emit(index, index)
        self.ticked.emit()
        return True

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return the title of a column, or what it means."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.ToolTipRole and column.tip:
            return wrapped(column.tip if column.value is None else f"{column.tip}. Click to sort.")
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by the values of a column; what is selected moves along. -1: as they are."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        held = [self.rows[index.row()] for index in before]
        self._sorted_by, self._descending = column, order == Qt.SortOrder.DescendingOrder
        self.rows = self._in_order(self.rows)
        place = {id(row): number for number, row in enumerate(self.rows)}
        self.changePersistentIndexList(
            before,
            [self.index(place[id(row)], index.column()) for row, index in zip(held, before, strict=True)],
        )
        self.layoutChanged.emit()

    def _in_order(self, rows: Iterable[Any]) -> list[Any]:
        value = self.columns[self._sorted_by].value if self._sorted_by >= 0 else None
        return list(rows) if value is None else sorted(rows, key=value, reverse=self._descending)


class _Header(QHeaderView):
    """The titles; the arrow points to the smaller values, where Qt's own points up while the largest comes first."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setSectionsClickable(True)

    def initStyleOptionForIndex(self, option: QStyleOptionHeader, section: int) -> None:
        """Turn the arrow."""
        super().initStyleOptionForIndex(option, section)
        arrows = QStyleOptionHeader.SortIndicator
        turned = {arrows.SortUp: arrows.SortDown, arrows.SortDown: arrows.SortUp}
        option.sortIndicator = turned.get(option.sortIndicator, option.sortIndicator)


class RowTable(QTableView):
    """A table in which whole rows are selected and nothing is edited.

    Signals:
        picked: Other rows were selected, but not by `show_rows`.

    Attributes:
        content: The rows.

    Args:
        content: The rows.
        name: Name for screen readers.
        several: Whether several rows can be selected.
        wrap: Whether long texts take several lines, in rows of different heights.
    """

    picked = Signal()

    def __init__(self, content: RowModel, name: str, *, several: bool = True, wrap: bool = False) -> None:
        super().__init__()
        self.content, self._quiet = content, False
        self.setHorizontalHeader(_Header())
        self.setModel(content)
        self.setAccessibleName(name)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        if not several:
            self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)  # Tab goes on to the next control
        leave_letters(self)
        self.setWordWrap(wrap)
        lines, header = self.verticalHeader(), self.horizontalHeader()
        lines.hide()
        if wrap:
            lines.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(NARROWEST)
        for place, column in enumerate(content.columns):
            mode = QHeaderView.ResizeMode.Fixed if column.width else QHeaderView.ResizeMode.ResizeToContents
            header.setSectionResizeMode(
                place, QHeaderView.ResizeMode.Stretch if column.width is None else mode
            )
        self._fit()
        self.selectionModel().selectionChanged.connect(self._selection_changed)

    def changeEvent(self, event: QEvent) -> None:
        """Fit the columns to another font."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and self.model() is not None:
            self._fit()

    def _fit(self) -> None:
        width = self.fontMetrics().horizontalAdvance
        for place, column in enumerate(self.content.columns):
            if column.width:
                self.setColumnWidth(
                    place, max(map(width, (column.width, *column.title.split("\n")))) + PADDING
                )

    @property
    def places(self) -> list[int]:
        """The selected rows by their places."""
        return sorted(index.row() for index in self.selectionModel().selectedRows())

    @property
    def selected_rows(self) -> list[Any]:
        """The selected rows."""
        return [self.content.rows[place] for place in self.places]

    def cell(self, row: int, column: int = 0) -> QModelIndex:
        """Return a cell."""
        return self.content.index(row, column)

    def show_rows(self, rows: Iterable[Any], select: Iterable[Hashable] | None = None) -> None:
        """Show other rows.

        Args:
            rows: The rows.
            select: Keys of those to select; None: what was selected.
        """
        key = self.content.key
        wanted = set(map(key, self.selected_rows) if select is None else select)
        self._quiet = True
        self.content.set_rows(rows)
        if set(map(key, self.selected_rows)) != wanted:
            self.clearSelection()
            for place, row in enumerate(self.content.rows):
                if key(row) in wanted:
                    self.select(place)
        self._quiet = False

    def select(self, place: int) -> None:
        """Select a row, beside others if several can be."""
        flags = QItemSelectionModel.SelectionFlag
        alone = self.selectionMode() == QAbstractItemView.SelectionMode.SingleSelection
        how = flags.ClearAndSelect if alone else flags.Select
        self.selectionModel().setCurrentIndex(self.cell(place), how | flags.Rows)

    def _selection_changed(self) -> None:
        if not self._quiet:
            self.picked.emit()


class DropTable(RowTable):
    """A table onto which folders and files can be dropped, and from which rows can be removed.

    Signals:
        dropped: Paths that were dropped.
        remove_wanted: The Delete key was pressed.
    """

    dropped = Signal(list)
    remove_wanted = Signal()

    def __init__(self, content: RowModel, name: str, *, wrap: bool = False) -> None:
        super().__init__(content, name, wrap=wrap)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAcceptDrops(True)

    def keyPressEvent(self, event: Any) -> None:
        """Ask to remove the selected rows on Delete."""
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
