"""The banner with the needs of a scan before a run, and buttons for them."""

from __future__ import annotations

from collections.abc import Sequence

from magicgui.widgets import ComboBox, PushButton
from qtpy.QtWidgets import QFrame, QHBoxLayout

from .controls import ElidedLines, stacked
from .texts import tip, title

NEEDED = "#e69f00"
"""Colour of the frame while something is needed."""

LINES = 4
"""Largest number of lines: the dock above gives the room for them. The tooltip has all."""


class PreparationBanner(QFrame):
    """A few words and four buttons; hidden if there is nothing to say.

    Attributes:
        words: The needs of the scan, or what was done.
        strip: Strips the skull.
        strip_from: The sequence in which to find the brain; shown only if there are several.
        register: Moves the other sequences onto the displayed one.
        even: Corrects the bias field.
        use_brain: Uses the brain mask corrected in the viewer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("preparation")
        column = stacked(self, margin=6)
        self.words = ElidedLines(LINES, fewer=True)
        column.addWidget(self.words)
        names = ("strip", "register", "even", "use_brain")
        self.strip, self.register, self.even, self.use_brain = (
            PushButton(text=title(name)) for name in names
        )
        self.strip_from = ComboBox(choices=[])
        self.strip_from.native.setAccessibleName(title("strip_from"))
        buttons = QHBoxLayout()
        parts = (self.strip, self.strip_from, self.register, self.even, self.use_brain)
        for name, part in zip((names[0], "strip_from", *names[1:]), parts, strict=True):
            part.native.setToolTip(tip(name))
            part.native.setVisible(False)
            buttons.addWidget(part.native)
        column.addLayout(buttons)
        self.setVisible(False)

    @property
    def buttons(self) -> tuple[PushButton, ...]:
        """All buttons."""
        return (self.strip, self.register, self.even, self.use_brain)

    def offer_sequences(self, names: Sequence[str], chosen: str) -> None:
        """Offer the sequences in which the brain can be found.

        Args:
            names: The sequences.
            chosen: The initial one, if the list has changed.
        """
        if list(self.strip_from.choices) != list(names):
            self.strip_from.choices = list(names)
            self.strip_from.value = chosen

    def show_needs(
        self, words: str, *, strip: bool, even: bool, use_brain: bool = False, register: bool = False
    ) -> None:
        """Show a text and offer buttons.

        Args:
            words: The text; empty hides the banner.
            strip: Whether to offer stripping.
            even: Whether to offer evening out.
            use_brain: Whether to offer the brain mask in the viewer.
            register: Whether to offer registration.
        """
        self.words.setText(words)
        frame = NEEDED if strip or even else "palette(mid)"
        self.setStyleSheet(f"#preparation {{ border: 1px solid {frame}; border-radius: 3px; }}")
        for button, wanted in zip(self.buttons, (strip, register, even, use_brain), strict=True):
            button.native.setVisible(wanted)
        self.strip_from.native.setVisible(strip and len(self.strip_from.choices) > 1)
        self.setVisible(bool(words))
