"""Texts on the canvas: Dice of slice and volume, and the colour bar of the anomaly map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.components.overlays import TextOverlay
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QFont, QFontMetricsF
from qtpy.QtWidgets import QWidget

from ..common.dock_lifetime import when_gone

_KEY = "napari_cead_dice"

_FACE, _ENLARGED = "Open Sans", 96 / 72
"""napari's font on the canvas, and how much larger it is there than Qt's own text of so many points."""

_APART = " · "


class CanvasNotes:
    """Writes onto a canvas.

    Args:
        viewer: The napari viewer.
        owner: The dock's widget. When its dock is closed, the canvas is cleaned.
    """

    def __init__(self, viewer: Any, owner: QWidget) -> None:
        self._viewer = viewer
        self._overlay: TextOverlay | None = None
        when_gone(owner, self.stop)

    @property
    def text(self) -> str:
        """The text; empty if there is none."""
        return self._overlay.text if self._overlay is not None and self._overlay.visible else ""

    def write(self, text: str) -> None:
        """Write short lines into a corner of the canvas, or nothing."""
        if self._overlay is None:
            if not text:
                return
            # White on black is legible on every picture and in every theme.
            self._overlay = TextOverlay(
                position="top_left", color="white", box=True, box_color=(0, 0, 0, 0.7), font_size=10
            )
            self._viewer.canvas.overlays[_KEY] = self._overlay
        if text != self._overlay.text:
            self._overlay.text = text
        self._overlay.visible = bool(text)

    def stop(self) -> None:
        """Stop writing."""
        if self._overlay is not None:
            self._viewer.canvas.overlays.pop(_KEY, None)
        self._overlay = None


def show_color_bar(layer: Image) -> None:
    """Show the colour bar of a map, in the corner away from everything else."""
    bar = layer.colorbar
    bar.size, bar.font_size, bar.color = (12, 110), 9, "white"
    bar.box, bar.box_color = True, (0, 0, 0, 0.7)  # legible in the light theme as well
    bar.visible = True


def bar_width(layer: Image) -> float:
    """Return the pixels that the colour bar of a map takes, with two decimals beside it."""
    bar = layer.colorbar
    return float(bar.size[0] + 2 * bar.tick_length) + _width_of("0.00", bar.font_size)


def in_lines(parts: Sequence[str], room: float, points: float) -> str:
    """Return words for the canvas beside each other where they fit, else below; too long a line is cut with an ….

    Args:
        parts: The words.
        room: Pixels that a line may take.
        points: Size of the letters.
    """
    lines: list[str] = []
    for part in parts:
        if lines and _width_of(f"{lines[-1]}{_APART}{part}", points) <= room:
            lines[-1] += f"{_APART}{part}"
        else:
            lines.append(part)
    metrics = _metrics(points)
    return "\n".join(
        metrics.elidedText(line, Qt.TextElideMode.ElideRight, room / _ENLARGED) for line in lines
    )


def _width_of(text: str, points: float) -> float:
    return float(_metrics(points).horizontalAdvance(text)) * _ENLARGED


def _metrics(points: float) -> QFontMetricsF:
    return QFontMetricsF(QFont(_FACE, int(points)))
