"""What a scan needs before a run, said where it cannot be missed, with buttons that do it."""

from __future__ import annotations

from magicgui.widgets import PushButton
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout

from .texts import tip, title

NEEDED = "#e69f00"
"""Colour of the frame while something has to be done."""


class PreparationBanner(QFrame):
    """A few words and three buttons; hidden as long as there is nothing to say.

    Attributes:
        words: What the scan needs, or what was done.
        strip: Strips the skull.
        even: Takes the bias field out.
        use_brain: Takes the brain mask as it was repaired in the viewer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("preparation")
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        self.words = QLabel()
        self.words.setWordWrap(True)
        column.addWidget(self.words)
        self.strip, self.even, self.use_brain = (
            PushButton(text=title(name)) for name in ("strip", "even", "use_brain")
        )
        buttons = QHBoxLayout()
        for name, button in (("strip", self.strip), ("even", self.even), ("use_brain", self.use_brain)):
            button.native.setToolTip(tip(name))
            button.native.setVisible(False)
            buttons.addWidget(button.native)
        column.addLayout(buttons)
        self.setVisible(False)

    def show_needs(self, words: str, *, strip: bool, even: bool, use_brain: bool) -> None:
        """Say something and offer what helps.

        Args:
            words: What to say; empty hides the banner.
            strip: Whether to offer stripping.
            even: Whether to offer evening out.
            use_brain: Whether to offer the brain mask of the viewer.
        """
        self.words.setText(words)
        frame = NEEDED if strip or even else "palette(mid)"
        self.setStyleSheet(f"#preparation {{ border: 1px solid {frame}; border-radius: 3px; }}")
        for button, wanted in ((self.strip, strip), (self.even, even), (self.use_brain, use_brain)):
            button.native.setVisible(wanted)
        self.setVisible(bool(words))
