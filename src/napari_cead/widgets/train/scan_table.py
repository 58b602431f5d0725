"""The scans to train on: for each a picture, a description, any problems, and a tick."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from qtpy.QtCore import QSize
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHeaderView

from ...store.inspection import ScanReport
from ...store.scans import ScanSource
from ..common.row_table import DropTable, RowColumn, RowModel

HEIGHT = 56
"""Pixels of a picture."""
BOX = 34
"""Pixels of the box beside it."""
_UNTICKED = "QTableView::indicator:unchecked { border: 1px solid #8a8f98; width: 12px; height: 12px; }"


@dataclass(eq=False)
class _Scan:
    report: ScanReport
    ticked: bool
    picture: QPixmap = field(init=False)

    def __post_init__(self) -> None:
        self.picture = _picture(self.report)


COLUMNS = (RowColumn("Scan", lambda scan: ""), RowColumn("What it is", lambda scan: _text(scan.report)))


class ScanModel(RowModel):
    """Judged scans as rows; ticked scans are trained on."""

    def __init__(self) -> None:
        super().__init__(COLUMNS)

    @property
    def reports(self) -> tuple[ScanReport, ...]:
        """All judged scans."""
        return tuple(scan.report for scan in self.rows)

    @property
    def chosen(self) -> tuple[ScanReport, ...]:
        """The ticked scans."""
        return tuple(scan.report for scan in self.rows if scan.ticked)

    def add(self, report: ScanReport) -> None:
        """Add a scan, ticked if it has no problems."""
        self.append(_Scan(report, report.usable))
        self.ticked.emit()

    def replace(self, place: int, report: ScanReport) -> None:
        """Show a scan that was judged again, for instance with a brain mask. The tick stays if the verdict does."""
        old = self.rows[place]
        ticked = old.ticked if report.usable == old.report.usable else report.usable
        self.put(place, _Scan(report, ticked and report.choosable))
        self.ticked.emit()

    def remove(self, places: Iterable[int]) -> None:
        """Remove some scans."""
        gone = set(places)
        self.set_rows(scan for place, scan in enumerate(self.rows) if place not in gone)
        self.ticked.emit()

    def clear(self) -> None:
        """Remove all scans."""
        self.remove(range(len(self.rows)))

    def tip(self, row: _Scan, column: RowColumn) -> str:
        """Return the file of a scan and its problems."""
        report = row.report
        return "\n".join([str(report.source.scan), *(note.sentence for note in report.warnings)])

    def tick(self, row: _Scan) -> bool:
        """Return whether a scan is trained on."""
        return row.ticked

    def can_tick(self, row: _Scan) -> bool:
        """Return whether a scan can be trained on."""
        return row.report.choosable

    def set_tick(self, row: _Scan, on: bool) -> None:
        """Train on a scan or not."""
        row.ticked = on

    def picture(self, row: _Scan) -> QPixmap | None:
        """Return the picture of a scan."""
        return None if row.picture.isNull() else row.picture


class ScanTable(DropTable):
    """The table of scans."""

    def __init__(self) -> None:
        self.scans = ScanModel()
        super().__init__(self.scans, "Scans to train on", wrap=True)
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(0, HEIGHT + BOX)
        self.setIconSize(QSize(HEIGHT, HEIGHT))
        self.setStyleSheet(_UNTICKED)
        self.setMinimumHeight(120)


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
