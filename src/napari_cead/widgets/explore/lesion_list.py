"""The lesion list: lesions of the reference and detected components as tables, to step through and jump to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QLabel, QStackedWidget, QTabWidget, QWidget

from ...exploring.lesions import DetectionRow, LesionRow, LesionTable, Position
from ..common.controls import stacked
from ..common.row_table import RowColumn, RowModel, RowTable

Row = LesionRow | DetectionRow

NEAR = 5
"""Voxels: a component of another mask that is not further away is taken for the same one."""

_HEIGHT = 190
_LOOKED_AT = 60  # rows that tell how wide a column has to be
_CENTER = Qt.AlignmentFlag.AlignCenter


def _found(row: LesionRow) -> str:
    return "✓ found" if row.found else "✗ missed"


def _true(row: DetectionRow) -> str:
    return "–" if row.true is None else "✓ true" if row.true else "✗ false"


def _column(title: str, tip: str, value: Any, text: Any, *, fixed: bool = False) -> RowColumn:
    return RowColumn(title, text, tip, value, "" if fixed else None, _CENTER)


_NUMBER = _column(
    "#",
    "Number of the component, from the first slice to the last: a name, no rank",
    lambda row: row.id,
    lambda row: str(row.id),
    fixed=True,
)
_VOLUME = _column(
    "Volume\nmL", "Volume in mL", lambda row: row.volume_mm3, lambda row: f"{row.volume_mm3 / 1000:.3f}"
)

LESION_COLUMNS: tuple[RowColumn, ...] = (
    _NUMBER,
    _VOLUME,
    _column(
        "Found",
        "Found if the detected mask touches the lesion, else missed",
        lambda row: row.found,
        _found,
        fixed=True,
    ),
    _column(
        "Overlap\nmL",
        "Detected volume of the lesion in mL",
        lambda row: row.overlap_mm3,
        lambda row: f"{row.overlap_mm3 / 1000:.3f}",
    ),
    _column(
        "Overlap\n%",
        "Share of the lesion that is detected",
        lambda row: row.overlap_percent,
        lambda row: f"{row.overlap_percent:.0f}",
    ),
)

DETECTION_COLUMNS: tuple[RowColumn, ...] = (
    _NUMBER,
    _VOLUME,
    _column(
        "Mean\nscore",
        "Mean of the anomaly map over the component",
        lambda row: row.mean_score,
        lambda row: f"{row.mean_score:.3f}",
    ),
    _column(
        "True",
        "True if the component touches a lesion, else false; – without a lesion mask",
        lambda row: -1 if row.true is None else row.true,
        _true,
        fixed=True,
    ),
    _column(
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
        stacked(self, self.tabs)
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


class _Components(RowModel):
    def tip(self, row: Row, column: RowColumn) -> str:
        z, y, x = row.position
        return f"{column.tip}; at z {z}, y {y}, x {x}"


class _Table(QStackedWidget):
    """One table, or a word on why there is none.

    Signals:
        jumped: z, y and x of the row that was selected or asked for.
    """

    jumped = Signal(int, int, int)

    def __init__(self, name: str, columns: Sequence[RowColumn]) -> None:
        super().__init__()
        self.model = _Components(columns)
        self.view = _View(self.model, name)
        self.empty = QLabel()
        self.empty.setAlignment(_CENTER)
        self.addWidget(self.empty)
        self.addWidget(self.view)
        self.view.picked.connect(self._jump)
        self.view.asked.connect(self._jump)

    @property
    def selected(self) -> Row | None:
        """The selected row."""
        return next(iter(self.view.selected_rows), None)

    def set_rows(self, rows: Sequence[Row], why_empty: str) -> None:
        """Show other rows."""
        again = None if self.selected is None else nearest(rows, self.selected.position)
        self.view.show_rows(rows, [] if again is None else [id(rows[again])])
        self.empty.setText(why_empty)
        self.setCurrentWidget(self.view if rows else self.empty)

    def step(self, by: int) -> None:
        """Select the row so many further, around the ends."""
        count = len(self.model.rows)
        if not count:
            return
        places = self.view.places
        here = places[0] if places else -1 if by > 0 else 0
        there = (here + by) % count
        if places and there == here:
            self._jump()
        else:
            self.view.select(there)

    def _jump(self) -> None:
        if self.selected is not None:
            self.jumped.emit(*self.selected.position)


class _View(RowTable):
    """A table whose selected row can be asked for once more.

    Signals:
        asked: The selected row was clicked or Enter was pressed on it.
    """

    asked = Signal()

    def __init__(self, content: RowModel, name: str) -> None:
        super().__init__(content, name, several=False)
        self.setShowGrid(False)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.horizontalHeader().setResizeContentsPrecision(_LOOKED_AT)
        self.sortByColumn(_BY_VOLUME, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Tell of a press on the row that is selected already; any other press selects."""
        before = self.places
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


def nearest(rows: Sequence[Row], position: Position) -> int | None:
    """Return the number of the row that lies nearest to a place; None if none is near."""

    def distance(index: int) -> int:
        return max(abs(a - b) for a, b in zip(rows[index].position, position, strict=True))

    best = min(range(len(rows)), key=distance, default=None)
    return best if best is not None and distance(best) <= NEAR else None
