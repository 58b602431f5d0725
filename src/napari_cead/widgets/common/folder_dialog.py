"""Asking for a folder to write to, which need not exist yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QLineEdit, QWidget


class FolderDialog(QFileDialog):
    """Asks for a folder; the name of a new one can be typed. The folder is not made here.

    It is Qt's own dialog: those of most systems, and Qt's by default, refuse a folder that is not there.

    Args:
        parent: Owner.
        title: Title of the window.
        accept: Text of the button that chooses.
    """

    def __init__(self, parent: QWidget, title: str, accept: str) -> None:
        super().__init__(parent, title)
        self.setOption(QFileDialog.Option.DontUseNativeDialog)
        self.setOption(QFileDialog.Option.ShowDirsOnly)
        self.setFileMode(QFileDialog.FileMode.Directory)
        self.setLabelText(QFileDialog.DialogLabel.Accept, accept)
        self._name = self.findChild(QLineEdit, "fileNameEdit")
        self._buttons = self.findChild(QDialogButtonBox)
        self._name.textChanged.connect(self._allow)

    @property
    def folder(self) -> Path:
        """The folder as the box has it; Qt's own answer can be a row that is still selected in the list."""
        return Path(self.directory().absolutePath()) / Path(self._name.text()).expanduser()

    def accept(self) -> None:
        """Take the folder, whether it exists or not; Qt says what is wrong with a name that cannot be one."""
        if self.folder.exists() and not self.folder.is_dir():
            super().accept()
        else:
            QDialog.accept(self)

    def _allow(self, _: str) -> None:
        """Enable the button again, which Qt disables while the typed folder does not exist."""
        self._buttons.button(QDialogButtonBox.StandardButton.Open).setEnabled(True)


def ask_for_folder(
    parent: QWidget, title: str, accept: str, then: Callable[[Path | None], object], start: Path | None = None
) -> None:
    """Ask for a folder to write to, while the window stays usable.

    Args:
        parent: Owner.
        title: Title of the window.
        accept: Text of the button that chooses.
        then: Called with the folder, or with None if none was chosen.
        start: The folder to begin with, which need not exist.
    """
    dialog = FolderDialog(parent, title, accept)
    if start is not None:
        there = next((place for place in start.absolute().parents if place.is_dir()), start)
        dialog.setDirectory(str(there))
        dialog._name.setText(str(start.absolute().relative_to(there)))
    dialog.finished.connect(lambda result: then(dialog.folder if result else None))
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()
