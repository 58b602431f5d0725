"""What a training sees: a strip of validation slices, their reconstruction and what is left, epoch by epoch."""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSlider, QVBoxLayout, QWidget


class PreviewStrip(QWidget):
    """The newest strip of a run, and a slider through the older ones.

    Attributes:
        slider: Index of the strip on show; at its end the newest one follows.
    """

    def __init__(self) -> None:
        super().__init__()
        self._files: list[Path] = []
        self._shown: Path | None = None
        self._pixmap = QPixmap()
        self.picture = QLabel()
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.picture.setToolTip(
            "Validation slices: above what goes in, then what comes out, below what is left"
        )
        self.caption = QLabel()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Epoch of the picture")
        self.slider.valueChanged.connect(lambda _: self._show())
        line = QHBoxLayout()
        line.addWidget(self.caption)
        line.addWidget(self.slider, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.picture)
        column.addLayout(line)
        self.show_folder(None)

    def show_folder(self, folder: Path | None) -> None:
        """Show the strips in a folder; None: there are none."""
        files = [] if folder is None else sorted(folder.glob("epoch-*.png"))
        if files == self._files and files:
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
        found = re.search(r"(\d+)$", file.stem)
        self.caption.setText(f"epoch {int(found[1])}" if found else file.stem)
        self._fit()

    def _fit(self) -> None:
        if self._pixmap.isNull():
            return
        width = min(self.width(), self._pixmap.width())
        size = QSize(width, round(width * self._pixmap.height() / self._pixmap.width()))
        self.picture.setPixmap(
            self._pixmap.scaled(
                size, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            )
        )
        self.picture.setMinimumHeight(size.height())
