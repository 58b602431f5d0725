"""The scans to train on: for each a picture, a description, any problems, and a tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from ..training.inspection import ScanReport
from ..training.scans import ScanSource

COLUMNS = ("Scan", "What it is")
HEIGHT = 56
"""Pixels of a picture."""
BOX = 34
"""Pixels of the box beside it."""
_UNTICKED = "QTableView::indicator:unchecked { border: 1px solid #8a8f98; width: 12px; height: 12px; }"


class ScanModel(QAbstractTableModel):
    """Judged scans as rows; ticked scans are trained on.

    Signals:
        ticked: A tick was changed.
    """

    ticked = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._reports: list[ScanReport] = []
        self._ticks: list[bool] = []
        self._pictures: list[QPixmap] = []

    @property
    def reports(self) -> tuple[ScanReport, ...]:
        """All judged scans."""
        return tuple(self._reports)

    @property
    def chosen(self) -> tuple[ScanReport, ...]:
        """The ticked scans."""
        pairs = zip(self._reports, self._ticks, strict=True)
        return tuple(report for report, tick in pairs if tick)

    def add(self, report: ScanReport) -> None:
        """Add a scan, ticked if it has no problems."""
        row = len(self._reports)
        self.beginInsertRows(QModelIndex(), row, row)
        self._reports.append(report)
        self._ticks.append(report.usable)
        self._pictures.append(_picture(report))
        self.endInsertRows()
        self.ticked.emit()

    def replace(self, row: int, report: ScanReport) -> None:
        """Show a scan that was judged again, for instance with a brain mask. The tick stays if the verdict does."""
        if report.usable != self._reports[row].usable:
            self._ticks[row] = report.usable
        self._ticks[row] &= report.choosable
        self._reports[row] = report
        self._pictures[row] = _picture(report)
        self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))
        self.ticked.emit()

    def remove(self, rows: Sequence[int]) -> None:
        """Remove some scans."""
        self.beginResetModel()
        for row in sorted(rows, reverse=True):
            del self._reports[row], self._ticks[row], self._pictures[row]
        self.endResetModel()
        self.ticked.emit()

    def clear(self) -> None:
        """Remove all scans."""
        self.beginResetModel()
        self._reports, self._ticks, self._pictures = [], [], []
        self.endResetModel()
        self.ticked.emit()

    def rowCount(self, parent: Any = None) -> int:
        """Return the number of scans."""
        return 0 if parent is not None and parent.isValid() else len(self._reports)

    def columnCount(self, parent: Any = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return a column's title."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return COLUMNS[section]
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """The first column can be ticked, unless the scan cannot be trained on."""
        flags = super().flags(index)
        if index.column() == 0 and self._reports[index.row()].choosable:
            return flags | Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text, picture, tick or tooltip of a cell."""
        row, column = index.row(), index.column()
        report = self._reports[row]
        if column == 0:
            if role == Qt.ItemDataRole.CheckStateRole:
                return Qt.CheckState.Checked if self._ticks[row] else Qt.CheckState.Unchecked
            if role == Qt.ItemDataRole.DecorationRole and not self._pictures[row].isNull():
                return self._pictures[row]
        if column == 1 and role == Qt.ItemDataRole.DisplayRole:
            return _text(report)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join([str(report.source.scan), *(note.sentence for note in report.warnings)])
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Tick or untick a scan."""
        if role != Qt.ItemDataRole.CheckStateRole or not self.flags(index) & Qt.ItemFlag.ItemIsUserCheckable:
            return False
        self._ticks[index.row()] = Qt.CheckState(value) == Qt.CheckState.Checked
        self.dataChanged.emit(index, index)
        self.ticked.emit()
        return True


class ScanTable(QTableView):
    """The table of scans. Folders and files can be dropped onto it.

    Signals:
        dropped: Paths that were dropped.
        remove_wanted: The Delete key was pressed.
    """

    dropped = Signal(list)
    remove_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.scans = ScanModel(self)
        self.setModel(self.scans)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header = self.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.setColumnWidth(0, HEIGHT + BOX)
        self.setIconSize(QSize(HEIGHT, HEIGHT))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setStyleSheet(_UNTICKED)
        self.setWordWrap(True)
        self.setMinimumHeight(120)
        self.setAcceptDrops(True)
        self.setAccessibleName("Scans to train on")

    @property
    def rows(self) -> list[int]:
        """The selected rows."""
        return sorted({index.row() for index in self.selectionModel().selectedRows()})

    def keyPressEvent(self, event: Any) -> None:
        """Remove the selected scans on Delete."""
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


def sources(reports: Sequence[ScanReport], *, healthy: bool) -> list[ScanSource]:
    """Return the scans of a scan list.

    Args:
        reports: The chosen scans.
        healthy: Whether scans without a lesion mask are declared healthy.
    """
    return [
        replace(report.source, healthy=healthy and report.source.lesion_mask is None) for report in reports
    ]


def _text(report: ScanReport) -> str:
    """Return name, shape, spacing, usable slices and notes, one line each."""
    z, y, x = report.shape
    lines = [report.source.name]
    if z:
        voxel = " × ".join(f"{value:.3g}" for value in reversed(report.spacing))
        lines.append(f"{x} × {y} × {z}, {voxel} mm, {report.slices} usable slice{'s' * (report.slices != 1)}")
    lines += [f"– {note.sentence}" for note in report.warnings]
    return "\n".join(lines)


def _picture(report: ScanReport) -> QPixmap:
    height, width = report.thumbnail.shape
    if not height:
        return QPixmap()
    image = QImage(report.thumbnail.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
    return QPixmap.fromImage(image).scaledToHeight(HEIGHT - 6)
