"""The canvas as a figure for a paper: with letters, scale bar and colour bar, and a caption below."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QMarginsF, QRectF, QSizeF, Qt
from qtpy.QtGui import QFont, QImage, QPageSize, QPainter, QPdfWriter

from ...atomic import atomic_path
from ...errors import OutputError
from ...exploring import Analysis
from ..common.docks import bare

RESOLUTIONS = (150, 300, 600)
"""Dots per inch that are offered."""

DPI = 300
WIDTH_MM = 170
"""Width on paper: a page of most journals; their columns have about 85."""

WIDTHS_MM = (40, 250)
"""The least and the largest width."""

_TEXT_PT = 7.0
_MARGIN_PT = 6.0

_PRINTED = 0.8
"""Size of a letter on paper, of its size on screen: napari's 9 points become 7."""


def caption(analysis: Analysis, z: int | None, dice: str) -> str:
    """Return the caption of a figure; it does not name the patient.

    Args:
        analysis: The displayed analysis.
        z: The axial slice; None for any other view.
        dice: Dice as the dock shows it, or empty.
    """
    params, by_hand = analysis.params, "" if analysis.corrections is None else ", corrected by hand"
    parts = [
        f"{analysis.key[0]}, score {analysis.key[1]}",
        f"threshold {params.threshold:.3f}",
        f"closing {params.closing_radius} px",
        f"area opening {params.area_fraction:.0%}",
        f"dilation {params.dilation_radius} px",
        "" if z is None else f"slice {z}",
        f"Dice {dice}" if dice else "",
        f"outline: reference; fill: detected{by_hand}; colours: anomaly map",
    ]
    return "; ".join(part for part in parts if part) + "."


def save_figure(viewer: Any, path: Path, words: str, *, width_mm: float = WIDTH_MM, dpi: int = DPI) -> None:
    """Save the canvas with a caption, drawn anew in the resolution of the paper.

    Args:
        viewer: The napari viewer.
        path: A ``.pdf``, whose caption stays text, or any picture that Qt writes.
        words: The caption.
        width_mm: Width on paper.
        dpi: Dots per inch.

    Raises:
        OutputError: If the file cannot be written.
    """
    pixels = _drawn(viewer, round(width_mm / 25.4 * dpi), dpi)
    height, width, _ = pixels.shape
    picture = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    font, margin = QFont("sans-serif"), round(_MARGIN_PT / 72 * dpi)
    font.setPixelSize(round(_TEXT_PT / 72 * dpi))
    room = _height_of(words, font, width - 2 * margin) + 2 * margin
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".pdf":
            size = QSizeF(width * 72 / dpi, (height + room) * 72 / dpi)
            target: Any = QPdfWriter(str(temporary))
            target.setResolution(dpi)
            target.setPageSize(QPageSize(size, QPageSize.Unit.Point))
            target.setPageMargins(QMarginsF())
            _paint(target, picture, words, font, margin)
            return
        target = QImage(width, height + room, QImage.Format.Format_RGB32)
        target.setDotsPerMeterX(round(dpi / 0.0254))
        target.setDotsPerMeterY(round(dpi / 0.0254))
        target.fill(Qt.GlobalColor.white)
        _paint(target, picture, words, font, margin)
        if not target.save(str(temporary)):
            raise OutputError(
                "a picture of this kind cannot be written", file=path, hint="end the name with .png or .pdf"
            )


def _drawn(viewer: Any, width: int, dpi: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the canvas (Y, X, RGBA), drawn so many pixels wide: voxels, outlines and letters are as sharp as that."""
    viewer = bare(viewer)
    rows, columns = viewer.canvas.size
    ratio = viewer.window._qt_viewer.devicePixelRatio()
    with _sized_for_paper(viewer, _PRINTED * dpi / 96 / ratio, width / ratio / columns):
        size = (round(width * rows / columns), width)
        return np.ascontiguousarray(viewer.screenshot(size=size, canvas_only=True, flash=False))


@contextmanager
def _sized_for_paper(viewer: Any, words: float, zoom: float) -> Iterator[None]:
    """Enlarge the scene by a factor, and words and bars by another: napari measures them in pixels of any canvas."""
    before: list[tuple[Any, str, Any]] = []

    def change(part: Any, name: str, value: Any) -> None:
        before.append((part, name, getattr(part, name)))
        setattr(part, name, value)

    overlays = list(viewer.canvas.overlays.values())
    for layer in viewer.layers:
        overlays += layer._overlays.values()
    try:
        # In this order: napari measures its scale bar anew with the zoom and the letters, not with the length.
        change(viewer.scene.camera, "zoom", viewer.scene.camera.zoom * zoom)
        bar = viewer.canvas.overlays.scale_bar
        if bar.length is None:
            fifth = viewer.canvas.size[1] / 5 / before[0][2]
            change(bar, "length", _round_length(fifth))
        for overlay in overlays:
            if not overlay.visible or not hasattr(overlay, "font_size"):
                continue
            change(overlay, "font_size", overlay.font_size * words)
            if hasattr(overlay, "tick_length"):  # a colour bar
                change(overlay, "tick_length", overlay.tick_length * words)
                change(overlay, "size", tuple(side * words for side in overlay.size))
        yield
    finally:
        for part, name, value in reversed(before):
            setattr(part, name, value)


def _round_length(most: float) -> float:
    """Return the longest of 1, 2, 5, 10, 20… that is not longer."""
    unit = 10.0 ** math.floor(math.log10(most))
    return max(step * unit for step in (1, 2, 5) if step * unit <= most)


_FLAGS = int(Qt.TextFlag.TextWordWrap | Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)


def _height_of(words: str, font: QFont, width: int) -> int:
    scratch = QImage(1, 1, QImage.Format.Format_RGB32)
    painter = QPainter(scratch)
    painter.setFont(font)
    room = painter.boundingRect(QRectF(0, 0, width, 100_000), _FLAGS, words)
    painter.end()
    return math.ceil(room.height())


def _paint(target: Any, picture: QImage, words: str, font: QFont, margin: int) -> None:
    painter = QPainter(target)
    painter.setRenderHint(QPainter.RenderHint.LosslessImageRendering)  # a PDF would get a JPEG
    painter.drawImage(QRectF(0, 0, picture.width(), picture.height()), picture)
    painter.setFont(font)
    painter.setPen(Qt.GlobalColor.black)
    width = picture.width() - 2 * margin
    painter.drawText(QRectF(margin, picture.height() + margin, width, 100_000), _FLAGS, words)
    painter.end()
