"""The command that a button of a dock runs, to read and to copy."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QApplication, QWidget

from ...training.launching import command_line
from .controls import push_button, read_only, stacked

HEIGHT = 84
"""Pixels of the text."""


class CommandBox(QWidget):
    """A command, and a button that copies it.

    Attributes:
        copy: The button.

    Args:
        name: Name for screen readers.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._shown = read_only(name, HEIGHT)
        self.copy = push_button("Copy", "Copy the command")
        self.copy.changed.connect(lambda: copy_text(self.text()))
        stacked(self, self._shown, self.copy.native)

    def text(self) -> str:
        """Return the command."""
        return str(self._shown.toPlainText())

    def show_words(self, words: Sequence[str]) -> None:
        """Show a command.

        Args:
            words: The arguments of ``napari-cead``.
        """
        self._shown.setPlainText(command_line(words))


def copy_text(text: str) -> None:
    """Put a text on the clipboard, if there is one."""
    clipboard = QApplication.clipboard()
    if clipboard is not None:
        clipboard.setText(text)
