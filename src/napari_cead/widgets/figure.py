"""The canvas as a figure for a paper: with letters, scale bar and colour bar, and a caption below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QMarginsF, QRectF, QSizeF, Qt
from qtpy.QtGui import QFont, QImage, QPageSize, QPainter, QPdfWriter

from ..atomic import atomic_path
from ..errors import OutputError
from ..exploring import Analysis

DPI = 150
"""Resolution of the file, which sets its size on paper. Words on the canvas have about 10 pixels."""

_TEXT_PT = 7.0
_MARGIN = 12


def caption(analysis: Analysis, z: int | None, dice: str) -> str:
    """Return the caption of a figure; it does not name the patient.

    Args:
        analysis: The displayed analysis.
        z: The axial slice; None for any other view.
        dice: Dice as the dock shows it, or empty.
    """
    params = analysis.params
    parts = [
        f"{analysis.key[0]}, score {analysis.key[1]}",
        f"threshold {params.threshold:.3f}",
        f"closing {params.closing_radius} px",
        f"area opening {params.area_fraction:.0%}",
        f"dilation {params.dilation_radius} px",
        "" if z is None else f"slice {z}",
        f"Dice {dice}" if dice else "",
        "outline: reference; fill: detected; colours: anomaly map",
    ]
    return "; ".join(part for part in parts if part) + "."


def save_figure(viewer: Any, path: Path, words: str) -> None:
    """Save the canvas with a caption.

    Args:
        viewer: The napari viewer.
        path: A ``.pdf``, whose caption stays text, or any picture that Qt writes.
        words: The caption.

    Raises:
        OutputError: If the file cannot be written.
    """
    pixels = np.ascontiguousarray(viewer.screenshot(canvas_only=True, flash=False))
    height, width, _ = pixels.shape
    picture = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    font = QFont("sans-serif")
    font.setPixelSize(round(_TEXT_PT / 72 * DPI))
    room = _height_of(words, font, width) + 2 * _MARGIN
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".pdf":
            size = QSizeF(width * 72 / DPI, (height + room) * 72 / DPI)
            target: Any = QPdfWriter(str(temporary))
            target.setResolution(DPI)
            target.setPageSize(QPageSize(size, QPageSize.Unit.Point))
            target.setPageMargins(QMarginsF())
            _paint(target, picture, words, font, room)
            return
        target = QImage(width, height + room, QImage.Format.Format_RGB32)
        target.setDotsPerMeterX(round(DPI / 0.0254))
        target.setDotsPerMeterY(round(DPI / 0.0254))
        target.fill(Qt.GlobalColor.white)
        _paint(target, picture, words, font, room)
        if not target.save(str(temporary)):
            raise OutputError(
                "a picture of this kind cannot be written", file=path, hint="end the name with .png or .pdf"
            )


_FLAGS = int(Qt.TextFlag.TextWordWrap | Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)


def _height_of(words: str, font: QFont, width: int) -> int:
    scratch = QImage(1, 1, QImage.Format.Format_RGB32)
    painter = QPainter(scratch)
    painter.setFont(font)
    room = painter.boundingRect(QRectF(_MARGIN, 0, width - 2 * _MARGIN, 10_000), _FLAGS, words)
    painter.end()
    return round(room.height())


def _paint(target: Any, picture: QImage, words: str, font: QFont, room: int) -> None:
    painter = QPainter(target)
    painter.drawImage(QRectF(0, 0, picture.width(), picture.height()), picture)
    painter.setFont(font)
    painter.setPen(Qt.GlobalColor.black)
    where = QRectF(_MARGIN, picture.height() + _MARGIN, picture.width() - 2 * _MARGIN, room)
    painter.drawText(where, _FLAGS, words)
    painter.end()
