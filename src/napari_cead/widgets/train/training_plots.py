"""The curves of a training: losses, learning rate, speed, used codes, drawn as events arrive."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QWidget

from ...contributions.layers import DETECTED_COLOR, LESION_COLOR
from ...models import NETWORKS
from ..common.controls import Lines, stacked

Epochs = Sequence[Mapping[str, Any]]

CURVES = {
    "loss": (("train_loss", "training", DETECTED_COLOR), ("validation_loss", "validation", LESION_COLOR)),
    "learning rate": (("learning_rate", "learning rate", DETECTED_COLOR),),
    "slices per second": (("slices_per_second", "slices per second", DETECTED_COLOR),),
}
"""The curves of any training over its epochs: field, name in the legend, colour."""

LOGARITHMIC = ("loss", "learning rate")
"""Curves on a logarithmic axis unless the user chooses otherwise."""

AXES = {"slices per second": "slices/s"}
"""Titles of vertical axes that are not called as what is drawn."""

SMOOTHING = 0.6
"""Weight of what came before in an exponential moving average."""

NUDGE = 5
"""Pixels that pyqtgraph moves the title of an axis out of the plot: room that it is given back."""


HALF_LINE = 8
"""Pixels around the plot for the number of a tick at the very end of an axis."""


class PlainAxis(pg.AxisItem):
    """An axis with plain numbers, also where it is logarithmic: 700 and 1000, not 7·10² and 10³."""

    def tickValues(self, low: float, high: float, size: float) -> Any:
        """Return where ticks are; within less than a decade, at round numbers as on a linear axis."""
        if not self.logMode or high - low >= 1:
            return super().tickValues(low, high, size)
        spacing = self.tickSpacing(10**low, 10**high, size)[0][0]
        first, last = math.ceil(10**low / spacing), math.floor(10**high / spacing)
        return [(spacing, [math.log10(count * spacing) for count in range(max(1, first), last + 1)])]

    def logTickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        """Return the numbers at ticks, given their logarithms."""
        return [f"{10.0**value * scale:.6g}" for value in values]


class EpochAxis(pg.AxisItem):
    """An axis of epochs: there is none between two."""

    def tickValues(self, low: float, high: float, size: float) -> Any:
        """Return where ticks are, at whole numbers."""
        whole = [level for level in super().tickValues(low, high, size) if level[0] >= 1]
        return whole or [(1, list(range(math.ceil(low), math.floor(high) + 1)))]


class TrainingPlots(QWidget):
    """One plot over the epochs, with a choice of what to draw.

    Attributes:
        what: The displayed curve.
        log: Whether the vertical axis is logarithmic; remembered for each thing to draw.
        smooth: Whether curves are smoothed; the raw ones stay visible, thin.
        legend: The curves' names in their colours, above the axes, where they hide nothing.
        now: The current epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epochs: Epochs = ()
        self._step: Mapping[str, Any] | None = None
        # What only some families of networks have is offered when a run has it.
        self._figures = {figure.plot: figure for family in NETWORKS for figure in family.figures}
        self._curves = CURVES | {
            what: ((figure.name, figure.label, LESION_COLOR),) for what, figure in self._figures.items()
        }
        self._axes = AXES | {what: figure.axis for what, figure in self._figures.items()}
        self._log = {what: what in LOGARITHMIC for what in self._curves}
        self.what = QComboBox()
        self.what.addItems(self._offered())
        self.what.setAccessibleName("What to draw")
        self.log = QCheckBox("log")
        self.log.setToolTip("Logarithmic vertical axis")
        self.smooth = QCheckBox("smooth")
        self.smooth.setToolTip("Exponential moving average over the epochs")
        line = QHBoxLayout()
        line.addWidget(self.what, 1)
        line.addWidget(self.log)
        line.addWidget(self.smooth)
        self.legend = Lines(1)
        self.legend.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.legend.setToolTip(
            "With context encoding, the training loss has a second term, of the slices with squares cut out: it lies "
            "above the validation loss, which has not"
        )
        self.view = pg.PlotWidget(axisItems={"left": PlainAxis("left"), "bottom": EpochAxis("bottom")})
        self.view.setMinimumHeight(150)
        self.view.setMaximumHeight(240)
        self.view.setMouseEnabled(False, False)
        self.view.setMenuEnabled(False)
        self.view.hideButtons()
        self.view.setLabel("bottom", "epoch")
        for side in ("left", "bottom"):
            self.view.getAxis(side).enableAutoSIPrefix(False)
        self.view.plotItem.layout.setContentsMargins(NUDGE, HALF_LINE, HALF_LINE, NUDGE)
        self.now = Lines(2)
        column = stacked(self)
        column.addLayout(line)
        column.addWidget(self.legend)
        column.addWidget(self.view)
        column.addWidget(self.now)
        self.what.currentIndexChanged.connect(lambda _: self.draw())
        self.log.toggled.connect(self._log_chosen)
        self.smooth.toggled.connect(lambda _: self.draw())
        self.set_theme(dark=True)
        self.show_step(None)

    def set_theme(self, *, dark: bool) -> None:
        """Draw for a dark or a light window."""
        self.view.setBackground("#1b1c22" if dark else "#f7f6f5")
        ink = "#d5d7db" if dark else "#303030"
        for side in ("left", "bottom"):
            self.view.getAxis(side).setPen(ink)
            self.view.getAxis(side).setTextPen(ink)
        self.draw()

    def show_epochs(self, epochs: Epochs) -> None:
        """Show a training so far.

        Args:
            epochs: Its epochs in order, as in its log or its events.
        """
        self._epochs = tuple(epochs)
        self._offer()
        self.draw()
        self.show_step(self._step)

    def show_step(self, step: Mapping[str, Any] | None) -> None:
        """Show the progress of the current epoch; None: there is none.

        A step is told about once a second: epochs that take less are over by then, and it says nothing any more.
        """
        self._step = step
        done = int(self._epochs[-1]["epoch"]) if self._epochs else 0
        under_way = step is not None and int(step["epoch"]) > done
        if step is None:
            text = ""
        elif under_way:
            text = (
                f"Epoch {step['epoch']} under way: step {step['step']} of {step['steps']} in all, "
                f"training loss {number(step.get('train_loss'))}"
            )
        else:
            losses = [number(self._epochs[-1].get(field)) for field in ("train_loss", "validation_loss")]
            text = f"Epoch {done} done: training loss {losses[0]}, validation loss {losses[1]}"
        self.now.setText(text)

    def draw(self) -> None:
        """Draw the selected curve."""
        what = self.what.currentText()
        with QSignalBlocker(self.log):
            self.log.setChecked(self._log[what])
        log, names, drawn = self._log[what], [], np.empty(0)
        self.view.clear()
        self.view.setLabel("left", self._axes.get(what, what))
        self.view.setLogMode(y=log)
        for field, name, color in self._curves[what]:
            x, y = self._values(field)
            if log:
                x, y = x[y > 0], y[y > 0]
            if not x.size:
                continue
            drawn = np.append(drawn, y)
            names.append(f"<span style='color:{color}'>━ {name}</span>")
            if self.smooth.isChecked():
                self.view.plot(x, y, pen=pg.mkPen(color, width=1, style=Qt.PenStyle.DotLine))
                y = smoothed(y)
            symbol = "o" if x.size == 1 else None
            self.view.plot(x, y, pen=pg.mkPen(color, width=2), name=name, symbol=symbol, symbolBrush=color)
        if not drawn.size:  # the axes would stay those of another run
            self.view.setRange(xRange=(0, 1), yRange=(0, 1), padding=0)
        elif not log and drawn.min() == drawn.max() > 0:  # by itself it would be ± 0.2 around 0.0002
            self.view.enableAutoRange(axis="x")
            self.view.setYRange(0, 2 * drawn[0], padding=0)
        else:
            self.view.enableAutoRange()
        self.legend.setText(" &nbsp; ".join(names))

    def _log_chosen(self, log: bool) -> None:
        self._log[self.what.currentText()] = log
        self.draw()

    def _offer(self) -> None:
        """Offer the curves of this run."""
        offered = self._offered()
        if offered == [self.what.itemText(index) for index in range(self.what.count())]:
            return
        chosen = self.what.currentText()
        with QSignalBlocker(self.what):
            self.what.clear()
            self.what.addItems(offered)
            self.what.setCurrentIndex(max(0, self.what.findText(chosen)))

    def _offered(self) -> list[str]:
        return [
            what
            for what, ((field, *_), *_) in self._curves.items()
            if what not in self._figures or any(entry.get(field) is not None for entry in self._epochs)
        ]

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
