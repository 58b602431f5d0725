"""The effect of fine-tuning: a model before and after it, on held-out slices and a patient."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QGroupBox,
    QLabel,
    QWidget,
)

from ...patients import Patient
from ...wording import UNDEFINED
from ...zoo import list_models
from ..common.controls import keep_place, plain_button, row, wrapping
from ..common.jobs import Job, spared_core
from ..common.run_progress import StepBar

if TYPE_CHECKING:
    from ...evaluation.fine_tuned import BeforeAfter, Example, Table

NOBODY = "healthy slices alone"
CHOOSE = "a patient's folder…"
THUMBNAIL = 64
"""Pixels of a slice: four and a caption fit into the narrowest dock."""

PICTURES = {
    "input": "input",
    "before": "before",
    "after": "after",
    "residual_before": "residual\nbefore",
    "residual_after": "residual\nafter",
}


class BeforeAfterView(QGroupBox):
    """Compares the model of a finished training with its base model, on request.

    Attributes:
        before: The model to compare with.
        patient: Whether to compare on a patient with a lesion mask too.
        compare: Starts; ``cancel`` stops.
        found: The result of the last comparison of this training; None: none yet.
        job: The running comparison.

    Args:
        patients: Returns the open patients of the viewer.
    """

    def __init__(self, patients: Callable[[], Sequence[Patient]]) -> None:
        super().__init__("Before and after")
        self._patients = patients
        self._run: Path | None = None
        self._store, self._after, self._device = Path(), "", "auto"
        self._kept: dict[Path, BeforeAfter] = {}
        self.job = Job(self)
        self.before, self.patient = QComboBox(), QComboBox()
        self.compare = plain_button(
            "Compare", "Run both models on the validation slices, and on the patient if one is chosen"
        )
        self.cancel = plain_button("Cancel", "")
        self.bar = keep_place(StepBar("Progress of the comparison", "%p%"))
        self.verdict, self.figures, self.remarks = (wrapping() for _ in range(3))
        for label in (self.verdict, self.figures, self.remarks):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.figures.setTextFormat(Qt.TextFormat.RichText)
        self.figures.setAccessibleName("Figures before and after")
        self.pictures = QWidget()
        self._grid = QGridLayout(self.pictures)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(2)
        grid = QGridLayout(self)
        grid.setColumnStretch(1, 1)
        for title, box, tip in (
            ("Model before", self.before, "The model to compare with: the one that was fine-tuned"),
            ("Patient", self.patient, "A patient with a lesion mask, for Dice before and after"),
        ):
            row(grid, title, box, tip)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        below = grid.rowCount()
        grid.addWidget(self.bar, below, 0, 1, 2)
        grid.addWidget(self.compare, below, 2)
        grid.addWidget(self.cancel, below, 2)
        for number, widget in enumerate((self.verdict, self.figures, self.pictures, self.remarks), start=1):
            grid.addWidget(widget, below + number, 0, 1, 3)
        self.compare.clicked.connect(self.start)
        self.cancel.clicked.connect(self.job.stop)
        self.patient.activated.connect(lambda _: self._patient_chosen())
        self.job.progressed.connect(self.bar.count)
        self.job.ended.connect(self._update_enabled)
        self._update_enabled()
        self._show(None)

    @property
    def found(self) -> BeforeAfter | None:
        """The result of the last comparison of this training."""
        return None if self._run is None else self._kept.get(self._run)

    def show_run(
        self, run: Path | None, after: str = "", store: Path | None = None, parent: str = ""
    ) -> None:
        """Offer the comparison of a finished training; None: there is nothing to compare.

        Args:
            run: Folder of the training.
            after: Its installed model.
            store: Its slice store.
            parent: Its base model; empty: it was trained from scratch.
        """
        new = run != self._run
        if new:
            self.job.stop()
        self._run, self._after, self._store = run, after, store or Path()
        self.setVisible(run is not None)
        if run is None:
            return
        if new:
            self._offer_models(parent)
            self.patient.clear()
            self._show(self.found)
        self.offer_patients()
        self._update_enabled()

    def offer_patients(self) -> None:
        """Offer the open patients with a lesion mask."""
        folders = [
            item for item in map(self.patient.itemData, range(self.patient.count())) if isinstance(item, Path)
        ]
        chosen = self.patient.currentText()
        self.patient.clear()
        self.patient.addItem(NOBODY)
        for person in self._patients():
            if person.lesion_mask is not None:
                self.patient.addItem(person.name, person)
        for folder in folders:
            self.patient.addItem(folder.name, folder)
        self.patient.addItem(CHOOSE)
        self.patient.setCurrentIndex(max(0, self.patient.findText(chosen)))

    def start(self) -> None:
        """Compare, behind the window."""
        if self._run is None:
            return
        run, before, after, store = self._run, self.before.currentText(), self._after, self._store
        person, device, job = self.patient.currentData(), self._device, self.job

        def work() -> BeforeAfter:
            from ...evaluation.before_after import compare

            with spared_core():
                return compare(
                    before,
                    after,
                    store,
                    patient=person,
                    device=device,
                    on_progress=job.report,
                    should_stop=job.stopping,
                )

        def done(found: BeforeAfter) -> None:
            self._kept[run] = found
            if run == self._run:
                self._show(found)

        if self.job.start(work, done):
            self.bar.begin()
        self._update_enabled()

    def use_device(self, device: str) -> None:
        """Say where to compute."""
        self._device = device

    def stop(self) -> None:
        """Request a stop."""
        self.job.stop()

    def add_folder(self, folder: Path) -> None:
        """Offer a patient's folder, and select it."""
        last = self.patient.count() - 1
        self.patient.insertItem(last, folder.name, folder)
        self.patient.setCurrentIndex(last)

    def _patient_chosen(self) -> None:
        if self.patient.currentText() != CHOOSE or self.patient.currentData() is not None:
            return
        folder = QFileDialog.getExistingDirectory(self, "A patient with a lesion mask")
        if folder:
            self.add_folder(Path(folder))
        else:
            self.patient.setCurrentIndex(0)

    def _offer_models(self, parent: str) -> None:
        names = [info.name for info in list_models() if info.name != self._after]
        self.before.clear()
        self.before.addItems(names)
        self.before.setCurrentIndex(max(0, self.before.findText(parent)))

    def _update_enabled(self) -> None:
        running = self.job.running
        self.bar.setVisible(running)
        self.compare.setVisible(not running)
        self.cancel.setVisible(running)
        self.compare.setEnabled(self.before.count() > 0)

    def _show(self, found: BeforeAfter | None) -> None:
        for widget in (self.verdict, self.figures, self.pictures, self.remarks):
            widget.setVisible(found is not None)
        if found is None:
            return
        from ...evaluation.fine_tuned import tables

        self.verdict.setText(found.verdict)
        self.figures.setText("".join(map(as_html, tables(found))))
        self.remarks.setText("\n".join(f"note: {note}" for note in found.notes))
        self.remarks.setVisible(bool(found.notes))
        self._show_pictures(found.examples)

    def _show_pictures(self, examples: Sequence[Example]) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        for line, (field, caption) in enumerate(PICTURES.items()):
            self._grid.addWidget(QLabel(caption), line, 0)
            for column, example in enumerate(examples, start=1):
                picture = QLabel()
                picture.setPixmap(_pixmap(getattr(example, field)))
                picture.setToolTip(
                    f"{example.patient}, slice {example.number}: mean residual in the brain {example.change:+.4f}"
                )
                self._grid.addWidget(picture, line, column)
        self._grid.setColumnStretch(len(examples) + 1, 1)
        self.pictures.setVisible(bool(examples))


def as_html(table: Table) -> str:
    """Return a table whose groups of rows stand under a line that says what they are about."""
    width = len(table.headers) - table.groups

    def cells(values: Sequence[str], kind: str) -> str:
        made = []
        for column, value in enumerate(values[table.groups :]):
            side = "right" if column else "left"
            made.append(f"<{kind} align='{side}' valign='bottom'>{html.escape(value)}</{kind}>")
        return f"<tr>{''.join(made)}</tr>"

    lines = [cells(table.headers, "th")]
    group: tuple[str, ...] = ()
    for values in table.rows:
        if values[: table.groups] != group:
            group = values[: table.groups]
            said = html.escape(" · ".join(part for part in group if part != UNDEFINED))
            lines.append(f"<tr><td colspan='{width}'><i>{said}</i></td></tr>")
        lines.append(cells(values, "td"))
    body = "".join(lines)
    return f"<p>{html.escape(table.title)}</p><table width='100%' cellspacing='3'>{body}</table>"


def _pixmap(picture: NDArray[np.uint8]) -> QPixmap:
    values = np.ascontiguousarray(picture)
    height, width = values.shape
    image = QImage(values.data, width, height, width, QImage.Format.Format_Grayscale8)
    return QPixmap.fromImage(image).scaled(  # copies: the array may go
        THUMBNAIL,
        THUMBNAIL,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
