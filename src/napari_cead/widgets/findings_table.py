"""The findings in a cohort, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from ..patients.integrity import CODES, Finding

COLUMNS = ("Patient", "What", "Sentence")

PADDING = 14
"""Pixels around the text of a cell."""


class FindingsTable(QTableWidget):
    """Findings of a check, one row each, in the order of the patients."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        # A code may be broken at its hyphens.
        words = {word for code in CODES for word in code.replace("-", "- ").split()}
        widest = max(self.fontMetrics().horizontalAdvance(word) for word in words)
        self.setColumnWidth(0, widest + PADDING)
        self.setColumnWidth(1, widest + PADDING)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setTabKeyNavigation(False)
        self.setWordWrap(True)
        self.setAccessibleName("What does not fit in the cohort")

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """Show these findings."""
        self.setRowCount(len(findings))
        for row, finding in enumerate(findings):
            for column, text in enumerate((finding.patient, finding.code, finding.sentence)):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
                cell.setToolTip(f"{finding.patient}\n{finding.file}\n{finding.sentence}")
                self.setItem(row, column, cell)
