"""The preview of a training: validation slices, reconstruction and residual, epoch by epoch."""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtGui import QPainter, QPixmap
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSlider, QWidget

from ..common.controls import Lines, stacked

ROWS = ("input", "recon-\nstruction", "residual")
"""The rows of a strip, as in ``training.preview.strip``."""

HEIGHT = 150
"""Pixels of the picture: six slices beside the names of the rows fit into the narrowest dock."""


class PreviewStrip(QWidget):
    """The newest strip of a run, and a slider through the older ones.

    Attributes:
        slider: Index of the displayed strip; at its end it follows the newest one.
        caption: The epoch of the strip.
        note: Why there is no strip, or none of the last epochs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._files: list[Path] = []
        self._shown: Path | None = None
        self._done = 0
        self.picture = Picture()
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
        self.caption, self.note = Lines(1), Lines(2)
        self.caption.setMinimumWidth(self.fontMetrics().horizontalAdvance("epoch 0000"))
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Epoch of the picture")
        self.slider.valueChanged.connect(lambda _: self._show())
        line = QHBoxLayout()
        line.addWidget(self.caption)
        line.addWidget(self.slider, 1)
        column = stacked(self)
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
        self.slider.setEnabled(len(files) > 1)
        self.setVisible(folder is not None)  # a training without a picture keeps the place of the first one
        self._show()

    def _show(self) -> None:
        if not self._files:
            self._shown, self.picture.pixmap = None, QPixmap()
            self.picture.update()
            self.caption.setText("")
            self._show_note()
            return
        file = self._files[min(self.slider.value(), len(self._files) - 1)]
        if file != self._shown:
            pixmap = QPixmap(str(file))
            if pixmap.isNull():  # being replaced this very moment: the next look finds it
                return
            self._shown, self.picture.pixmap = file, pixmap
            self.picture.update()
        self.caption.setText(f"epoch {_epoch(file)}")
        self._show_note()

    def _show_note(self) -> None:
        """Explain why the newest strip is not of the last epoch."""
        if not self._files:
            self.note.setText("No picture yet: the first one comes with the first epochs.")
            return
        newest = _epoch(self._files[-1])
        late = f"The newest picture is of epoch {newest}, {self._done} are done: drawing must not slow the training"
        self.note.setText(late if newest < self._done else "")


class Picture(QWidget):
    """A picture as high as its place, or as wide in a narrow dock; the place stays as it is.

    Attributes:
        pixmap: The picture.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pixmap = QPixmap()
        self.setFixedHeight(HEIGHT)
        self.setMinimumWidth(1)

    def shown_in(self) -> QRect:
        """Return where the picture is drawn."""
        size = self.pixmap.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        return QRect(QPoint(0, (self.height() - size.height()) // 2), size)

    def paintEvent(self, event: object) -> None:
        """Draw the picture."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(self.shown_in(), self.pixmap)
        painter.end()


def _epoch(file: Path) -> int:
    found = re.search(r"(\d+)$", file.stem)
    return int(found[1]) if found else 0
