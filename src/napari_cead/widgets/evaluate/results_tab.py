"""The results of an evaluation in the Evaluate dock: the table, what was skipped, and the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari.utils.notifications import show_warning
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QWidget

from ...contributions.failures import show_failure
from ...errors import CeadError
from ..common.controls import ElidedLines, keep_place, push_button, read_only, row, stacked, wrapping
from .evaluation_table import REPORT, RESULTS, ResultTable, read_results


class ResultsTab(QWidget):
    """Shows the results in a folder.

    Attributes:
        summary: How many patients were reported.
        table: The figures.
        details: Warnings, and the skipped patients with reasons.
        unable: Why models have no figures under a rule.
        open_report: Opens the report; ``open_folder`` the folder.
        folder: The folder of the displayed results, None without any.
        open_url: Opens an address in the desktop's application for it, and returns whether there is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.open_url: Callable[[QUrl], bool] = QDesktopServices.openUrl
        self.summary, self.table = wrapping("Nothing has been evaluated yet."), ResultTable()
        self.details = read_only("Warnings, and patients that were skipped", 90)
        keep_place(self.details).hide()
        self.open_report = push_button("Open the report", "Show report.html in the browser")
        self.open_folder = push_button("Open the folder", "Show the folder of the results")
        buttons = QHBoxLayout()
        for button, name in ((self.open_report, REPORT), (self.open_folder, "")):
            button.enabled = False
            button.changed.connect(lambda _=None, name=name: self._open(name))
            buttons.addWidget(button.native)
        choices = QGridLayout()
        choices.setColumnStretch(1, 1)
        for title, box, tip in (
            ("Settings by", self.table.rule, "The rule that chose the settings that the figures belong to"),
            ("Score", self.table.score, "What makes an anomaly map of a reconstruction"),
        ):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            row(choices, title, box, tip)
        column = stacked(self, self.summary, margin=4)
        column.addLayout(buttons)  # above what grows: no message moves them
        column.addLayout(choices)
        self.unable = ElidedLines(1, fewer=True)
        self.unable.hide()
        column.addWidget(self.unable)
        column.addWidget(self.table, 1)
        column.addWidget(self.details)

    def show_folder(self, folder: Path) -> None:
        """Show the results in a folder."""
        try:
            results = read_results(folder / RESULTS)
        except CeadError as error:
            show_failure(error)
            return
        self.folder = folder
        self.table.show_results(results)
        self.unable.setText(self.table.unable)
        self.unable.setVisible(bool(self.table.unable))
        self.summary.setText(results.summary)
        self.summary.setToolTip(results.details)
        self.details.setPlainText(results.details)
        self.details.setVisible(bool(results.details))
        self.open_folder.enabled = True
        self.open_report.enabled = (folder / REPORT).is_file()

    def _open(self, name: str) -> None:
        if self.folder is None:
            return
        place = self.folder / name
        if not self.open_url(QUrl.fromLocalFile(str(place))):
            show_warning(f"Nothing on this desktop opens {place}.")
