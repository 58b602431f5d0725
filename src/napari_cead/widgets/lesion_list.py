"""The lesion list: lesions of the reference and detected components as tables, to step through and jump to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QStackedWidget,
    QTableView,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ..exploring.lesions import DetectionRow, LesionRow, LesionTable, Position
from .keyboard import leave_letters

Row = LesionRow | DetectionRow

NEAR = 5
"""Voxels: a component of another mask that is not further away is taken for the same one."""

_HEIGHT = 190
_LOOKED_AT = 60  # rows that tell how wide a column has to be
_SORT_ROLE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Name and unit, on two lines.
        tip: What it is.
        value: What to sort by.
        text: What to show.
        fixed: Whether it is just as wide as its texts.
    """

    title: str
    tip: str
    value: Callable[[Any], float]
    text: Callable[[Any], str]
    fixed: bool = False


def _found(row: LesionRow) -> str:
    return "✓ found" if row.found else "✗ missed"


def _true(row: DetectionRow) -> str:
    return "–" if row.true is None else "✓ true" if row.true else "✗ false"


_NUMBER = Column("#", "Number of the component", lambda row: row.id, lambda row: str(row.id), fixed=True)
_VOLUME = Column(
    "Volume\nmL", "Volume in mL", lambda row: row.volume_mm3, lambda row: f"{row.volume_mm3 / 1000:.3f}"
)

LESION_COLUMNS: tuple[Column, ...] = (
    _NUMBER,
    _VOLUME,
    Column(
        "Found",
        "Found if the detected mask touches the lesion, else missed",
        lambda row: row.found,
        _found,
        fixed=True,
    ),
    Column(
        "Overlap\nmL",
        "Detected volume of the lesion in mL",
        lambda row: row.overlap_mm3,
        lambda row: f"{row.overlap_mm3 / 1000:.3f}",
    ),
    Column(
        "Overlap\n%",
        "Share of the lesion that is detected",
        lambda row: row.overlap_percent,
        lambda row: f"{row.overlap_percent:.0f}",
    ),
)

DETECTION_COLUMNS: tuple[Column, ...] = (
    _NUMBER,
    _VOLUME,
    Column(
        "Mean\nscore",
        "Mean of the anomaly map over the component",
        lambda row: row.mean_score,
        lambda row: f"{row.mean_score:.3f}",
    ),
    Column(
        "True",
        "True if the component touches a lesion, else false; – without a lesion mask",
        lambda row: -1 if row.true is None else row.true,
        _true,
        fixed=True,
    ),
    Column(
        "Slice\nz",
        "The slice where it is largest",
        lambda row: row.position[0],
        lambda row: str(row.position[0]),
    ),
)

_BY_VOLUME = 1


class LesionList(QWidget):
    """Lesions of the reference and detected components, each a row that leads to it.

    A row is selected by mouse, arrow keys or `next` and `previous`; a click or Enter on the selected row jumps there
    once more. A click on a header sorts.

    Signals:
        jumped: z, y and x of the voxel to go to. `set_rows` never emits it.
    """

    jumped = Signal(int, int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.reference = _Table("Lesions of the reference", LESION_COLUMNS)
        self.detected = _Table("Detected components", DETECTION_COLUMNS)
        self.tabs = QTabWidget()
        for table in (self.reference, self.detected):
            self.tabs.addTab(table, "")
            table.jumped.connect(self.jumped)
        self.tabs.setMinimumHeight(_HEIGHT)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.tabs)
        self.set_rows(None)

    def set_rows(self, table: LesionTable | None) -> None:
        """Show the lesions and components of another mask, or none before a detection.

        What was selected stays selected: the row at the same place, or the nearest one if it is near.
        """
        reference = None if table is None else table.reference
        if table is None:
            self.reference.set_rows((), "nothing detected yet")
            self.detected.set_rows((), "nothing detected yet")
        else:
            self.reference.set_rows(
                reference or (), "no lesion mask" if reference is None else "the lesion mask is empty"
            )
            self.detected.set_rows(table.detected, "nothing detected")
        self.tabs.setTabText(0, "Reference –" if reference is None else f"Reference {len(reference)}")
        self.tabs.setTabText(1, "Detected –" if table is None else f"Detected {len(table.detected)}")

    def next(self) -> None:
        """Go to the next row of the table in front, after the last one to the first."""
        self._front.step(1)

    def previous(self) -> None:
        """Go to the row before, before the first one to the last."""
        self._front.step(-1)

    @property
    def selected(self) -> Row | None:
        """The selected row of the table in front."""
        return self._front.selected

    @property
    def _front(self) -> _Table:
        return self.reference if self.tabs.currentIndex() == 0 else self.detected


class _Table(QStackedWidget):
    """One table, or a word on why there is none.

    Signals:
        jumped: z, y and x of the row that was selected or asked for.
    """

    jumped = Signal(int, int, int)

    def __init__(self, name: str, columns: Sequence[Column]) -> None:
        super().__init__()
        self._quiet = False
        self.model = RowModel(columns)
        self.view = _View()
        self.view.setModel(self.model)
        self.view.fit([index for index, column in enumerate(columns) if column.fixed])
        self.view.setAccessibleName(name)
        self.empty = QLabel()
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.addWidget(self.empty)
        self.addWidget(self.view)
        self.view.sortByColumn(_BY_VOLUME, Qt.SortOrder.DescendingOrder)
        self.view.setSortingEnabled(True)
        self.view.selectionModel().selectionChanged.connect(self._jump)
        self.view.asked.connect(self._jump)

    @property
    def selected(self) -> Row | None:
        """The selected row."""
        rows = self.view.selectionModel().selectedRows()
        return self.model.rows[rows[0].row()] if rows else None

    def set_rows(self, rows: Sequence[Row], why_empty: str) -> None:
        """Show other rows."""
        before = self.selected
        self._quiet = True
        self.model.set_rows(rows)
        again = None if before is None else nearest(self.model.rows, before.position)
        if again is not None:
            self._select(again)
        self._quiet = False
        self.empty.setText(why_empty)
        self.setCurrentWidget(self.view if rows else self.empty)

    def step(self, by: int) -> None:
        """Select the row so many further, around the ends."""
        count = len(self.model.rows)
        if not count:
            return
        rows = self.view.selectionModel().selectedRows()
        here = rows[0].row() if rows else -1 if by > 0 else 0
        there = (here + by) % count
        if rows and there == here:
            self._jump()
        else:
            self._select(there)

    def _select(self, row: int) -> None:
        flags = QItemSelectionModel.SelectionFlag
        self.view.selectionModel().setCurrentIndex(
            self.model.index(row, 0), flags.ClearAndSelect | flags.Rows
        )

    def _jump(self, *_: Any) -> None:
        row = self.selected
        if row is not None and not self._quiet:
            self.jumped.emit(*row.position)


class _View(QTableView):
    """A table of rows, not of cells.

    Signals:
        asked: The selected row was clicked or Enter was pressed on it.
    """

    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)  # Tab goes on to the next control
        leave_letters(self)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        header.setResizeContentsPrecision(_LOOKED_AT)

    def fit(self, sections: Sequence[int]) -> None:
        """Make these columns as wide as they need; the others share the rest."""
        for section in sections:
            self.horizontalHeader().setSectionResizeMode(section, QHeaderView.ResizeMode.ResizeToContents)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Tell of a press on the row that is selected already; any other press selects."""
        before = {index.row() for index in self.selectionModel().selectedRows()}
        super().mousePressEvent(event)
        row = self.indexAt(event.position().toPoint()).row()
        if event.button() == Qt.MouseButton.LeftButton and row in before:
            self.asked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Jump with Enter."""
        if event.key() not in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            super().keyPressEvent(event)
            return
        current = self.currentIndex()
        if self.selectionModel().isRowSelected(current.row(), QModelIndex()):
            self.asked.emit()
        elif current.isValid():  # the keyboard came here and nothing was chosen yet
            self.selectRow(current.row())


class RowModel(QAbstractTableModel):
    """Rows under columns, sorted by one of them.

    Attributes:
        rows: The rows in the order shown.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.rows: list[Row] = []
        self._sorted_by, self._descending = _BY_VOLUME, True

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show other rows, in the order last asked for."""
        self.beginResetModel()
        self.rows = self._in_order(rows)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, or the number behind it."""
        column = self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(self.rows[index.row()])
        if role == _SORT_ROLE:
            return column.value(self.rows[index.row()])
        if role == Qt.ItemDataRole.ToolTipRole:
            z, y, x = self.rows[index.row()].position
            return f"{column.tip}; at z {z}, y {y}, x {x}"
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignCenter
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return title and unit of a column."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.columns[section].title
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{self.columns[section].tip}. Click to sort."
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by the numbers behind a column; the selection moves along."""
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

    def _in_order(self, rows: Sequence[Row]) -> list[Row]:
        if not 0 <= self._sorted_by < len(self.columns):
            return list(rows)
        value = self.columns[self._sorted_by].value
        return sorted(rows, key=value, reverse=self._descending)


def nearest(rows: Sequence[Row], position: Position) -> int | None:
    """Return the number of the row that lies nearest to a place; None if none is near."""

    def distance(index: int) -> int:
        return max(abs(a - b) for a, b in zip(rows[index].position, position, strict=True))

    best = min(range(len(rows)), key=distance, default=None)
    return best if best is not None and distance(best) <= NEAR else None
