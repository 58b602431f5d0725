"""How a training goes: losses, learning rate, speed, used codes, drawn as events arrive."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ..contributions.layers import DETECTED_COLOR, LESION_COLOR

Epochs = Sequence[Mapping[str, Any]]

CURVES = {
    "loss": (("train_loss", "training", DETECTED_COLOR), ("validation_loss", "validation", LESION_COLOR)),
    "learning rate": (("learning_rate", "learning rate", DETECTED_COLOR),),
    "slices per second": (("slices_per_second", "slices per second", DETECTED_COLOR),),
    "divergence (VAE)": (("kl_per_dimension", "KL per latent dimension", LESION_COLOR),),
    "used codes (VQ-VAE)": (("used_codes", "used codes", LESION_COLOR),),
}
"""What can be drawn over the epochs: field, name in the legend, colour."""

SMOOTHING = 0.6
"""Weight of what came before in an exponential moving average."""


class TrainingPlots(QWidget):
    """One plot over the epochs, with a choice of what to draw.

    Attributes:
        what: What is drawn.
        log: Whether the vertical axis is logarithmic.
        smooth: Whether curves are smoothed; the raw ones stay visible, thin.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epochs: Epochs = ()
        self._step: Mapping[str, Any] | None = None
        self.what = QComboBox()
        self.what.addItems(list(CURVES))
        self.what.setAccessibleName("What to draw")
        self.log = QCheckBox("log")
        self.log.setChecked(True)
        self.log.setToolTip("Logarithmic vertical axis")
        self.smooth = QCheckBox("smooth")
        self.smooth.setToolTip("Exponential moving average over the epochs")
        line = QHBoxLayout()
        line.addWidget(self.what, 1)
        line.addWidget(self.log)
        line.addWidget(self.smooth)
        self.view = pg.PlotWidget()
        self.view.setMinimumHeight(150)
        self.view.setMaximumHeight(240)
        self.view.setMouseEnabled(False, False)
        self.view.setMenuEnabled(False)
        self.view.hideButtons()
        self.view.setLabel("bottom", "epoch")
        self.now = QLabel()
        self.now.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(line)
        column.addWidget(self.view)
        column.addWidget(self.now)
        for signal in (self.what.currentIndexChanged, self.log.toggled, self.smooth.toggled):
            signal.connect(lambda *_: self.draw())
        self.set_theme(dark=True)

    def set_theme(self, *, dark: bool) -> None:
        """Draw for a dark or a light window."""
        self._ground = "#1b1c22" if dark else "#f7f6f5"
        self.view.setBackground(self._ground)
        self._ink = "#d5d7db" if dark else "#303030"
        for side in ("left", "bottom"):
            self.view.getAxis(side).setPen(self._ink)
            self.view.getAxis(side).setTextPen(self._ink)
        self.draw()

    def show_epochs(self, epochs: Epochs) -> None:
        """Show a training so far.

        Args:
            epochs: Its epochs in order, as in its log or its events.
        """
        self._epochs = tuple(epochs)
        self.draw()

    def show_step(self, step: Mapping[str, Any] | None) -> None:
        """Show how far the epoch under way is; None: none is."""
        self._step = step
        if step is None:
            self.now.setText("")
            return
        share = f"step {step['step']} of {step['steps']}"
        left = duration(step.get("seconds_left"))
        self.now.setText(
            f"Epoch {step['epoch']}, {share} · training loss {number(step.get('train_loss'))} · "
            f"{number(step.get('slices_per_second'), 3)} slices/s" + (f" · {left} left" if left else "")
        )

    def draw(self) -> None:
        """Draw what is chosen."""
        self.view.clear()
        legend = self.view.plotItem.legend
        if legend is None:
            legend = self.view.addLegend(offset=(-5, 5), labelTextColor=self._ink)
        legend.clear()
        legend.setBrush(pg.mkBrush(self._ground))  # curves pass behind it
        self.view.setLogMode(y=self.log.isChecked() and self.what.currentText() != "used codes (VQ-VAE)")
        for field, name, color in CURVES[self.what.currentText()]:
            x, y = self._values(field)
            if self.log.isChecked():
                x, y = x[y > 0], y[y > 0]
            if not x.size:
                continue
            if self.smooth.isChecked():
                self.view.plot(x, y, pen=pg.mkPen(color, width=1, style=pg.QtCore.Qt.PenStyle.DotLine))
                y = smoothed(y)
            symbol = "o" if x.size == 1 else None
            self.view.plot(x, y, pen=pg.mkPen(color, width=2), name=name, symbol=symbol, symbolBrush=color)

    def _values(self, field: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        pairs = [
            (float(entry["epoch"]), float(entry[field]))
            for entry in self._epochs
            if entry.get(field) is not None and math.isfinite(float(entry[field]))
        ]
        values = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        return values[:, 0], values[:, 1]


def smoothed(values: NDArray[np.float64], weight: float = SMOOTHING) -> NDArray[np.float64]:
    """Return the exponential moving average, corrected for its start.

    Args:
        values: (n,).
        weight: Of what came before.
    """
    result = np.empty_like(values)
    mean = total = 0.0
    for index, value in enumerate(values):
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        result[index] = mean / total
    return result


def number(value: Any, digits: int = 4) -> str:
    """Return a number as text, – where there is none."""
    return "–" if value is None or not math.isfinite(float(value)) else f"{float(value):.{digits}g}"


def duration(seconds: Any) -> str:
    """Return a time as text: ``"2 h 05 min"``; empty where there is none."""
    if seconds is None or not math.isfinite(float(seconds)):
        return ""
    whole = round(float(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
