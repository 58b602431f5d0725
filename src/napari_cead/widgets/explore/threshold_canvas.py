"""The canvas and the axes of the plot under the threshold slider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtWidgets import QToolTip

DICE_RANGES = (0.2, 0.4, 0.6, 1.0)
"""Possible ends of the axis of Dice."""

_MAX_COUNT = 9  # powers of ten: more voxels than any scan has


class Canvas(pg.GraphicsLayoutWidget):
    """A canvas on which the mouse chooses; it never pans, zooms or opens a menu.

    Args:
        tell: Returns the text for a place under the mouse.

    Signals:
        pressed: Where the left button went down, in scene coordinates.
        dragged: Where the mouse was moved to with the left button down.
    """

    pressed = Signal(QPointF)
    dragged = Signal(QPointF)

    def __init__(self, tell: Callable[[QPointF], str]) -> None:
        super().__init__()
        self._tell = tell
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.CrossCursor)

    def mousePressEvent(self, event: Any) -> None:
        """Choose the threshold under the mouse."""
        if event.button() == Qt.MouseButton.LeftButton:
            QToolTip.hideText()
            self.pressed.emit(self.mapToScene(event.position().toPoint()))

    def mouseMoveEvent(self, event: Any) -> None:
        """Keep choosing while the button is down, else show the text of the place."""
        where = self.mapToScene(event.position().toPoint())
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.dragged.emit(where)
        elif not event.buttons():
            QToolTip.showText(event.globalPosition().toPoint(), self._tell(where), self)

    def mouseReleaseEvent(self, event: Any) -> None:
        """Do nothing: the threshold was chosen."""

    def mouseDoubleClickEvent(self, event: Any) -> None:
        """Take two quick clicks for two clicks."""
        self.mousePressEvent(event)

    def contextMenuEvent(self, event: Any) -> None:
        """Open no menu."""

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the scroll area around."""
        event.ignore()


class CountAxis(pg.AxisItem):
    """Numbers of voxels, of which the logarithm of one more is plotted."""

    def tickValues(self, minimum: float, maximum: float, size: float) -> list[tuple[float, list[float]]]:
        """Put a tick at every power of ten, or at every other if they are many."""
        step = 1 if maximum < 4 else 2
        powers = [power for power in range(step, _MAX_COUNT, step) if np.log10(1 + 10**power) <= maximum]
        return [(float(step), [float(np.log10(1 + 10**power)) for power in powers])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        """Write 1k for a thousand."""
        return [_short(round(10**value - 1)) for value in values]


class DiceAxis(pg.AxisItem):
    """Dice from 0 to 1."""

    def tickValues(self, minimum: float, maximum: float, size: float) -> list[tuple[float, list[float]]]:
        """Put ticks at 0, at the end and between."""
        end = max(end for end in DICE_RANGES if end <= maximum)
        return [(end / 2, [0.0, end / 2, end])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        """Write no more digits than needed."""
        return [f"{value:.3g}" for value in values]


def _short(count: int) -> str:
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count // size}{letter}"
    return str(count)
