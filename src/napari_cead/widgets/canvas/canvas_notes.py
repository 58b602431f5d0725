"""Texts on the canvas: Dice of slice and volume, and the colour bar of the anomaly map."""

from __future__ import annotations

from typing import Any

from napari.components.overlays import TextOverlay
from napari.layers import Image
from qtpy.QtWidgets import QWidget

from ..common.dock_lifetime import when_gone

_KEY = "napari_cead_dice"


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
