"""The table of the analyses of a patient, and the switch that shows them side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from qtpy.QtCore import (
    QAbstractItemModel,
    QAbstractTableModel,
    QEvent,
    QModelIndex,
    QObject,
    QSignalBlocker,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from ..exploring import Analysis, Figures, Key
from ..wording import UNDEFINED, number
from .controls import wrapped
from .keyboard import leave_letters
from .texts import tip, title


class Column(NamedTuple):
    """A column: its heading, which is short, its tooltip, and the widest text that it has to hold."""

    heading: str
    tip: str
    widest: str = "0.000"


COLUMNS = (
    Column("Model, score", tip("compare"), ""),
    Column("Thr.", "Threshold"),
    Column("Dice", tip("dice")),
    Column("Prec.", f"Precision: {tip('precision')}"),
    Column("Recall", tip("recall")),
    Column("Found", f"{title('lesions_found')}: {tip('lesions_found')}", "00/00"),
    Column("False", f"{title('false_components')}: {tip('false_components')}", "000"),
    Column("mL", tip("volume"), "000.00"),
)
"""All of them fit into a dock of 480 pixels."""

PADDING = 8
"""Pixels around the text of a cell."""

EMPTY = "Run two models, or one with two scores: their results stand here and can be shown side by side."
LAYING_OUT = "Making the layers…"


class ComparisonTable(QAbstractTableModel):
    """Analyses as rows; those ticked in the first column are shown side by side.

    Signals:
        ticked: Emitted when the user ticks or unticks a row.
    """

    ticked = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._analyses: tuple[Analysis, ...] = ()
        self._figures: Mapping[Key, Figures] = {}
        self._left_out: set[Key] = set()
        self._current: Key | None = None

    @property
    def chosen(self) -> tuple[Analysis, ...]:
        """The analyses whose box is ticked."""
        return tuple(analysis for analysis in self._analyses if analysis.key not in self._left_out)

    def key(self, row: int) -> Key:
        """Return the analysis of a row."""
        return self._analyses[row].key

    def row(self, key: Key) -> int | None:
        """Return the row of an analysis, or None."""
        return next((row for row, analysis in enumerate(self._analyses) if analysis.key == key), None)

    def set_rows(
        self, analyses: Sequence[Analysis], figures: Mapping[Key, Figures], current: Key | None
    ) -> None:
        """Show these analyses.

        Args:
            analyses: One row each.
            figures: Figures of the volume, of those that are known yet.
            current: The one that the sliders belong to.
        """
        same = [analysis.key for analysis in analyses] == [analysis.key for analysis in self._analyses]
        if not same:
            self.beginResetModel()
        self._analyses, self._figures, self._current = tuple(analyses), dict(figures), current
        if same:
            if analyses:
                self.dataChanged.emit(self.index(0, 0), self.index(len(analyses) - 1, len(COLUMNS) - 1))
        else:
            self.endResetModel()

    def rowCount(self, parent: Any = None) -> int:
        """Return the number of analyses."""
        return 0 if parent is not None and parent.isValid() else len(self._analyses)

    def columnCount(self, parent: Any = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return a column's heading, or its tooltip."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return COLUMNS[section].heading
            if role == Qt.ItemDataRole.ToolTipRole:
                return wrapped(COLUMNS[section].tip)
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """The first column can be ticked."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == 0 else flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text, tick, weight or alignment of a cell."""
        analysis = self._analyses[index.row()]
        first = index.column() == 0
        if role == Qt.ItemDataRole.CheckStateRole and first:
            shown = analysis.key not in self._left_out
            return Qt.CheckState.Checked if shown else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.DisplayRole:
            return self._texts(analysis)[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            current = " (the sliders belong to it)" if analysis.key == self._current else ""
            return f"{' · '.join(analysis.key)}, settings: {analysis.rule}{current}"
        if role == Qt.ItemDataRole.TextAlignmentRole and not first:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Tick or untick an analysis."""
        if role != Qt.ItemDataRole.CheckStateRole or index.column() != 0:
            return False
        key = self._analyses[index.row()].key
        if Qt.CheckState(value) == Qt.CheckState.Checked:
            self._left_out.discard(key)
        else:
            self._left_out.add(key)
        self.dataChanged.emit(index, index)
        self.ticked.emit()
        return True

    def _texts(self, analysis: Analysis) -> tuple[str, ...]:
        mark = "▸ " if analysis.key == self._current else ""
        painted = " ✎" if analysis.corrections is not None else ""
        name = "\n".join(analysis.key)  # in two lines: none of the figures is pushed out of sight
        start = (f"{mark}{name}{painted}", f"{analysis.params.threshold:.3f}")
        figures = self._figures.get(analysis.key)
        if figures is None:
            return (*start, *("…",) * (len(COLUMNS) - 2))
        return (
            *start,
            number(figures.dice),
            number(figures.precision),
            number(figures.recall),
            found(figures).replace(" of ", "/"),
            number(figures.false_components, 0),
            f"{figures.volume_ml:.2f}",
        )


class _View(QTableView):
    """Gives each figure the room of its widest text, and the names the rest: no figure that comes moves another."""

    def setModel(self, model: QAbstractItemModel | None) -> None:
        """Show a table."""
        super().setModel(model)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        """Fit the columns to another font."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and self.model() is not None:
            self._fit()

    def _fit(self) -> None:
        metrics, header = self.fontMetrics(), self.horizontalHeader()
        header.setMinimumSectionSize(24)
        header.setHighlightSections(False)  # bold headings would be wider
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for place, column in enumerate(COLUMNS[1:], start=1):
            widest = max(map(metrics.horizontalAdvance, (column.heading, column.widest)))
            header.resizeSection(place, widest + PADDING)
        self.verticalHeader().setSectionResizeMode(
            QHeaderView.ResizeMode.ResizeToContents
        )  # a long name is broken


class ComparePanel(QWidget):
    """Analyses of the patient in a table: choose which one the sliders belong to, and which to see side by side.

    Signals:
        selected: (model, score) of the row that was chosen.
        forgotten: (model, score) of the row to remove.
        shown: Whether the analyses are to be shown side by side, and again when the ticked ones changed.
    """

    selected = Signal(object)
    forgotten = Signal(object)
    shown = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.table = ComparisonTable(self)
        self.view = _View()
        self.view.setModel(self.table)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        leave_letters(self.view)
        self.view.verticalHeader().setVisible(False)
        self.view.setMinimumHeight(110)
        self.view.setAccessibleName("Analyses of this patient")
        self.view.setToolTip(tip("compare"))
        self.empty = QLabel(EMPTY)
        self.empty.setWordWrap(True)
        self.side_by_side = QPushButton(title("side_by_side"))
        self.side_by_side.setCheckable(True)
        self.side_by_side.setToolTip(tip("side_by_side"))
        self.forget = QPushButton(title("forget"))
        self.forget.setToolTip(tip("forget"))
        buttons = QHBoxLayout()
        buttons.addWidget(self.side_by_side, 2)
        buttons.addWidget(self.forget, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.addWidget(self.view)
        column.addWidget(self.empty)  # below the table, which stays where it is when this goes
        column.addLayout(buttons)
        self.view.selectionModel().currentRowChanged.connect(self._row_chosen)
        self.table.ticked.connect(self._ticked)
        self.side_by_side.toggled.connect(self.shown)
        self.forget.clicked.connect(self._forget_clicked)
        self._deaf = _Deaf(self.side_by_side)
        self._hears_again = QTimer(self, singleShot=True, interval=0)
        self._hears_again.timeout.connect(self._hear_again)
        self.set_rows((), {}, None)

    @property
    def laying_out(self) -> bool:
        """Whether the layers are being made."""
        return self._deaf.working

    def set_rows(
        self, analyses: Sequence[Analysis], figures: Mapping[Key, Figures], current: Key | None
    ) -> None:
        """Show these analyses; see ``ComparisonTable.set_rows``."""
        blocker = QSignalBlocker(self.view.selectionModel())
        self.table.set_rows(analyses, figures, current)
        row = None if current is None else self.table.row(current)
        if row is not None:
            self.view.selectRow(row)
        blocker.unblock()
        self.empty.setVisible(len(analyses) < 2)
        self.view.setVisible(bool(analyses))
        self.side_by_side.setEnabled(self.side_by_side.isChecked() or len(self.table.chosen) > 1)
        self.forget.setEnabled(len(analyses) > 1)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Show on the button and by the pointer that the window makes layers, which can take seconds.

        What is pressed on the button meanwhile reaches it afterwards, and does not count.
        """
        button = self.side_by_side
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        button.setText(LAYING_OUT)
        button.repaint()
        self._deaf.working = True
        try:
            yield
        finally:
            QApplication.restoreOverrideCursor()
            self._hears_again.start()

    def _hear_again(self) -> None:
        QApplication.processEvents()  # what was pressed meanwhile
        self._deaf.working = False
        self.side_by_side.setText(title("side_by_side"))

    def _row_chosen(self, now: QModelIndex, before: QModelIndex) -> None:
        if now.isValid():
            self.selected.emit(self.table.key(now.row()))

    def _ticked(self) -> None:
        enough = len(self.table.chosen) > 1
        self.side_by_side.setEnabled(enough or self.side_by_side.isChecked())
        if self.side_by_side.isChecked():
            if enough:
                self.shown.emit(True)
            else:
                self.side_by_side.setChecked(False)
                self.side_by_side.setEnabled(False)

    def _forget_clicked(self) -> None:
        index = self.view.currentIndex()
        if index.isValid():
            self.forgotten.emit(self.table.key(index.row()))


class _Deaf(QObject):
    """Keeps presses from a button while its work is done."""

    pressed = (
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonRelease,
        QEvent.Type.MouseButtonDblClick,
        QEvent.Type.KeyPress,
        QEvent.Type.KeyRelease,
    )

    def __init__(self, button: QPushButton) -> None:
        super().__init__(button)
        self.working = False
        button.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Drop them."""
        return self.working and event.type() in self.pressed


def found(figures: Figures) -> str:
    """Return the number of found lesions out of all, – without lesions."""
    return UNDEFINED if figures.found is None else f"{figures.found} of {figures.lesions}"
