"""The figures of the slice and of the volume, side by side."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from ...exploring import Figures
from ...wording import UNDEFINED, number
from ..common.texts import tip, title
from .compare_panel import found

ROWS = ("precision", "recall", "lesions_found", "false_components")
PENDING = "…"


class FiguresView(QWidget):
    """Precision, recall, lesions found and false components of slice and volume."""

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(2, 1)
        for column, text in enumerate(("slice", "volume"), start=1):
            head = QLabel(text)
            head.setAlignment(Qt.AlignmentFlag.AlignRight)
            head.setEnabled(False)
            grid.addWidget(head, 0, column)
        self._labels: dict[tuple[str, str], QLabel] = {}
        for row, name in enumerate(ROWS, start=1):
            label = QLabel(title(name))
            label.setToolTip(tip(name))
            grid.addWidget(label, row, 0)
            for column, which in enumerate(("slice", "volume"), start=1):
                value = QLabel(UNDEFINED)
                value.setAlignment(Qt.AlignmentFlag.AlignRight)
                value.setToolTip(tip(name))
                value.setAccessibleName(f"{title(name)}, {which}")
                self._labels[name, which] = value
                grid.addWidget(value, row, column)

    def text(self, name: str, which: str) -> str:
        """Return the displayed text: ``name`` as in ``ROWS``, ``which`` is ``"slice"`` or ``"volume"``."""
        return self._labels[name, which].text()

    def show_slice(self, figures: Figures | None) -> None:
        """Show the figures of the slice; – without any."""
        self._show("slice", figures, UNDEFINED)

    def show_volume(self, figures: Figures | None, pending: bool = False) -> None:
        """Show the figures of the volume; … while they are being computed, – without any."""
        self._show("volume", figures, PENDING if pending else UNDEFINED)

    def _show(self, which: str, figures: Figures | None, otherwise: str) -> None:
        texts = (
            (otherwise,) * len(ROWS)
            if figures is None
            else (
                number(figures.precision),
                number(figures.recall),
                found(figures),
                number(figures.false_components, 0),
            )
        )
        for name, text in zip(ROWS, texts, strict=True):
            label = self._labels[name, which]
            if label.text() != text:
                label.setText(text)
