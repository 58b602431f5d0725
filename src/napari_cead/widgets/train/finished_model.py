"""Actions on the model of a finished training: rename, annotate, export, delete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QTextEdit,
)

from ...contributions.failures import show_failure
from ...errors import CeadError
from ...zoo import export_model, find_model, load_card
from ...zoo.managing import note_model, remove_model, rename_model
from ...zoo.privacy import withheld
from ..common.controls import plain_button
from ..common.jobs import Job

FORMATS = "Model archive (*.zip);;Model folder (*)"


class FinishedModel(QGroupBox):
    """The installed model of a finished training.

    Signals:
        changed: It has another name, or is gone.

    Attributes:
        title: Its name, to be changed; ``rename`` does it.
        notes: The user's notes on it; ``save_notes`` keeps them.
        with_names: Whether an export may name people, places and machines.
        job: The running export.

    Args:
        confirm: Asks a question and returns whether the answer is yes.
    """

    changed = Signal()

    def __init__(self, confirm: Callable[[str], bool]) -> None:
        super().__init__("The new model")
        self._confirm = confirm
        self._name = ""
        self._notes = ""
        self.job = Job(self)
        self.title = QLineEdit()
        self.title.setAccessibleName("Name of the model")
        self.rename = plain_button("Rename", "Give the model another name")
        self.notes = QTextEdit()
        self.notes.setMaximumHeight(64)
        self.notes.setPlaceholderText("Scanner, protocol, purpose…")
        self.notes.setAccessibleName("Notes on the model")
        self.notes.setTabChangesFocus(True)
        self.save_notes = plain_button("Save notes", "Keep the notes with the model, on this computer")
        self.export = plain_button("Export…", "Write the model to a file or folder, to give it to others")
        self.with_names = QCheckBox("with notes and names")
        self.delete = plain_button(
            "Delete model…", "Remove the model from this computer, for good; its training stays"
        )
        grid = QGridLayout(self)
        grid.setColumnStretch(1, 1)
        grid.addWidget(QLabel("Name"), 0, 0)
        grid.addWidget(self.title, 0, 1)
        grid.addWidget(self.rename, 0, 2)
        grid.addWidget(QLabel("Notes"), 1, 0)
        grid.addWidget(self.notes, 1, 1)
        grid.addWidget(self.save_notes, 1, 2)
        self.notes.setAcceptRichText(False)
        line = QHBoxLayout()
        for widget in (self.export, self.with_names):
            line.addWidget(widget)
        line.addStretch(1)
        grid.addLayout(line, 2, 0, 1, 3)
        grid.addWidget(self.delete, 3, 1, 1, 2, Qt.AlignmentFlag.AlignRight)
        self.title.textChanged.connect(lambda _: self._update_enabled())
        self.title.returnPressed.connect(self._rename)
        self.notes.textChanged.connect(self._update_enabled)
        self.rename.clicked.connect(self._rename)
        self.save_notes.clicked.connect(self._save_notes)
        self.export.clicked.connect(self._ask_for_target)
        self.delete.clicked.connect(self._delete)
        self.job.ended.connect(self._update_enabled)
        self.show_model(None)

    @property
    def name(self) -> str:
        """Name of the displayed model, empty without one."""
        return self._name

    def show_model(self, name: str | None) -> None:
        """Show an installed model; None: there is none."""
        if name == self._name:  # what is being typed stays
            return
        self._name, self._notes = name or "", ""
        self.setVisible(bool(name))
        left_out: tuple[str, ...] = ()
        if name:
            try:
                card = load_card(find_model(name))
                self._notes, left_out = card.notes, withheld(card)
            except CeadError as error:
                show_failure(error)
        self.title.setText(self._name)
        self.notes.setPlainText(self._notes)
        self.with_names.setChecked(False)
        self.with_names.setToolTip(
            "Without the tick these stay out of what is exported: " + (", ".join(left_out) or "nothing")
        )
        self._update_enabled()

    def export_to(self, target: Path) -> None:
        """Write the model to a file or folder, behind the window."""
        name, private = self._name, not self.with_names.isChecked()

        def told(written: Path) -> None:
            show_info(f"{name} is exported to {written}.")

        self.job.start(lambda: export_model(name, target, private=private), told)
        self._update_enabled()

    def _update_enabled(self) -> None:
        there = bool(self._name)
        wanted = self.title.text().strip()
        self.rename.setEnabled(there and bool(wanted) and wanted != self._name)
        self.save_notes.setEnabled(there and self.notes.toPlainText().strip() != self._notes)
        self.export.setEnabled(there and not self.job.running)
        self.export.setText("Exporting…" if self.job.running else "Export…")

    def _rename(self) -> None:
        if not self.rename.isEnabled():
            return
        try:
            done = rename_model(self._name, self.title.text().strip())
        except CeadError as error:
            show_failure(error)
            return
        assert done.folder is not None
        self._name = done.folder.name
        self._update_enabled()
        self.changed.emit()

    def _save_notes(self) -> None:
        try:
            self._notes = note_model(self._name, self.notes.toPlainText()).notes
        except CeadError as error:
            show_failure(error)
        self._update_enabled()

    def _ask_for_target(self) -> None:
        target, _ = QFileDialog.getSaveFileName(self, f"Export {self._name}", f"{self._name}.zip", FORMATS)
        if target:
            self.export_to(Path(target))

    def _delete(self) -> None:
        if not self._confirm(f"Delete the model {self._name} for good? The training that made it stays."):
            return
        try:
            remove_model(self._name)
        except CeadError as error:
            show_failure(error)
            return
        self.show_model(None)
        self.changed.emit()
