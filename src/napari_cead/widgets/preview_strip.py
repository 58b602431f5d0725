"""The preview of a training: validation slices, reconstruction and residual, epoch by epoch."""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QSlider, QVBoxLayout, QWidget

ROWS = ("input", "recon-\nstruction", "residual")
"""The rows of a strip, as in ``training.preview.strip``."""


class PreviewStrip(QWidget):
    """The newest strip of a run, and a slider through the older ones.

    Attributes:
        slider: Index of the displayed strip; at its end it follows the newest one.
        caption: The epoch of the strip.
        note: Why there is no strip of the last epochs, if there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._files: list[Path] = []
        self._shown: Path | None = None
        self._pixmap = QPixmap()
        self._done = 0
        self.picture = QLabel()
        self.picture.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.picture.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.picture.setToolTip(
            "Validation slices: above what goes in, then what comes out, below what is left"
        )
        rows = QGridLayout()
        rows.setSpacing(4)
        rows.setColumnStretch(1, 1)
        for row, text in enumerate(ROWS):
            rows.addWidget(QLabel(text), row, 0)
            rows.setRowStretch(row, 1)
        rows.addWidget(self.picture, 0, 1, len(ROWS), 1)
        self.caption, self.note = QLabel(), QLabel()
        self.note.setWordWrap(True)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Epoch of the picture")
        self.slider.valueChanged.connect(lambda _: self._show())
        line = QHBoxLayout()
        line.addWidget(self.caption)
        line.addWidget(self.slider, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(rows)
        column.addLayout(line)
        column.addWidget(self.note)
        self.show_folder(None)

    def show_folder(self, folder: Path | None, done: int = 0) -> None:
        """Show the strips in a folder; None: there are none.

        Args:
            folder: Their folder.
            done: Finished epochs of the training.
        """
        self._done = done
        files = [] if folder is None else sorted(folder.glob("epoch-*.png"))
        if files == self._files and files:
            self._show_note()
            return
        newest = not self._files or self.slider.value() >= len(self._files) - 1
        same = bool(files) and bool(self._files) and files[0].parent == self._files[0].parent
        self._files = files
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, len(files) - 1))
        if newest or not same:
            self.slider.setValue(max(0, len(files) - 1))
        self.slider.blockSignals(False)
        self.setVisible(bool(files))
        self._show()

    def resizeEvent(self, event: object) -> None:
        """Fit the picture to the width."""
        self._fit()

    def _show(self) -> None:
        if not self._files:
            self._shown = None
            return
        file = self._files[min(self.slider.value(), len(self._files) - 1)]
        if file != self._shown:
            pixmap = QPixmap(str(file))
            if pixmap.isNull():  # being replaced this very moment: the next look finds it
                return
            self._shown, self._pixmap = file, pixmap
        self.caption.setText(f"epoch {_epoch(file)}")
        self._show_note()
        self._fit()

    def _show_note(self) -> None:
        """Explain why the newest strip is not of the last epoch."""
        newest = _epoch(self._files[-1])
        self.note.setVisible(newest < self._done)
        self.note.setText(
            f"The newest picture is of epoch {newest}, {self._done} are done: pictures are drawn every few seconds "
            "at most, so that training does not wait for them."
        )

    def _fit(self) -> None:
        if self._pixmap.isNull():
            return
        width = min(self.picture.width(), self._pixmap.width())
        size = QSize(width, round(width * self._pixmap.height() / self._pixmap.width()))
        self.picture.setPixmap(
            self._pixmap.scaled(
                size, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            )
        )
        self.picture.setMinimumHeight(size.height())


def _epoch(file: Path) -> int:
    found = re.search(r"(\d+)$", file.stem)
    return int(found[1]) if found else 0
