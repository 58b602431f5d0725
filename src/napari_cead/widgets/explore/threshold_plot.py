"""The plot under the threshold slider: a histogram of the anomaly map, and the Dice at each threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from numpy.typing import ArrayLike, NDArray
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QWidget

from ...contributions.layers import DETECTED_COLOR, LESION_COLOR
from ...detection.rules import ORACLE as BEST
from ...detection.rules import RULES
from ...exploring.curves import NOW, ORACLE, DiceCurve, MapHistogram, Mark
from ..common.controls import FINEST, stacked
from .threshold_canvas import DICE_RANGES, Canvas, CountAxis, DiceAxis

_HEIGHT = 150
_LEGEND_ROWS = 3  # that have their place whatever is known: two suggestions and the best one
_AXIS_WIDTH = 38
_RIGHT = 20  # room for half of the slider's handle above
_AXIS_HEIGHT = 30
_LEEWAY = 12  # pixels that the text of a tick may stand out at the end of its axis
_FLAG_HEIGHT = 0.9  # of the histogram's height: where the marks are repeated, above most of the bars
_NEAR = 7  # pixels: how near to a mark the mouse has to be
_HISTOGRAM_SHARE = 2, 3  # heights of histogram and Dice

_ENDS = (0.1, 0.2, 0.5, 1.0)
_ROOM = 3.0  # times the largest suggested threshold: what the axis shows at least

_CHOOSE = "Choose one of these thresholds"
_UNCORRECTED = "Their Dice, as that of the curves, is without your corrections"

_NOW_SYMBOL, _OTHER_SYMBOL = ("o", "●"), ("s", "■")


@dataclass(frozen=True)
class _Colors:
    """Colours of everything without a meaning of its own."""

    background: str
    text: str
    axis: str
    healthy: str


_DARK = _Colors("#1f2329", "#f0f1f2", "#868e93", "#9aa0a6")
_LIGHT = _Colors("#faf8f7", "#2f2e2d", "#6b6a69", "#8a8987")


def is_dark(theme: str) -> bool:
    """Return whether a theme of napari, such as ``viewer.theme``, has a dark background."""
    color = QColor(str(get_theme(theme).background))
    return color.lightness() < 128


def axis_end(suggested: Iterable[float]) -> float:
    """Return where the axis of thresholds ends for a model and a score, whatever the map: it is known before a run.

    Args:
        suggested: Thresholds that the model suggests for the score.
    """
    needed = _ROOM * max(suggested, default=1.0)
    return next((end for end in _ENDS if end >= needed), 1.0)


class ThresholdPlot(QWidget):
    """Histogram of the anomaly map and Dice over the threshold, with marks at notable thresholds.

    A click or a drag chooses a threshold; a click on a mark chooses exactly that one. The wheel goes to the scroll
    area around. Everything shown is set from outside, on the main thread; nothing here computes.

    Signals:
        threshold_chosen: The threshold clicked on, a multiple of the slider's step or that of a mark. It is not
            shown until `set_current`.
        axis_changed: ``axis`` or ``end`` has changed.
    """

    threshold_chosen = Signal(float)
    axis_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colors = _DARK
        self._histogram: MapHistogram | None = None
        self._marks: tuple[Mark, ...] = ()
        self._corrected = False
        self._chosen: float | None = None
        self._current = 0.0
        self._top = self._dice_top = self._end = self._least_end = 1.0
        self._build()
        self.set_theme(dark=True)
        self.set_raw_curve(None)
        self.set_histogram(None)

    # -- what is shown -------------------------------------------------------------------------------------

    @property
    def current(self) -> float:
        """The threshold of the vertical line."""
        return self._current

    @property
    def end(self) -> float:
        """Where the axis of thresholds ends; it starts at 0."""
        return self._end

    @property
    def axis(self) -> tuple[float, float]:
        """Where the axis of thresholds begins and ends, in pixels from the left edge of this widget."""
        rect = self._counts.getViewBox().sceneBoundingRect()
        inset = self._view.x()
        left, right = (self._view.mapFromScene(x, 0.0).x() for x in (rect.left(), rect.right()))
        return inset + left, inset + right

    @property
    def has_dice(self) -> bool:
        """Whether Dice curves are shown: there is a reference to compare with."""
        return self._dice.isVisible()

    def set_end(self, end: float, *, anew: bool = False) -> None:
        """End the axis of thresholds here; it becomes longer for a threshold beyond.

        Args:
            end: See `axis_end`.
            anew: Also take back what was added for a threshold.
        """
        if anew or end != self._least_end:
            self._least_end = end
            self._fit_range(anew=True)

    def set_histogram(self, histogram: MapHistogram | None) -> None:
        """Show another map's histogram; None shows an empty plot."""
        self._histogram = histogram
        for curve, counts in (
            (self._healthy, None if histogram is None else histogram.healthy),
            (self._lesion, None if histogram is None else histogram.lesion),
        ):
            if histogram is None or counts is None:
                curve.clear()
            else:
                steps = np.repeat(histogram.edges, 2)[1:-1]
                curve.setData(steps, np.repeat(np.log10(counts + 1.0), 2))
        if histogram is not None:
            counts = histogram.healthy + (0 if histogram.lesion is None else histogram.lesion)
            self._top = float(np.log10(counts.max() + 1.0)) * 1.04 + 0.05
            self._counts.setYRange(0, self._top, padding=0)
        self._show_flags()
        self._write_key()

    def set_raw_curve(self, curve: DiceCurve | None) -> None:
        """Show the Dice of the raw threshold; None, without a lesion to compare with, hides all of Dice."""
        if curve is None:
            self._raw.clear()
            self.clear_points()
        else:
            known = np.isfinite(curve.dice)
            self._raw.setData(curve.thresholds[known], curve.dice[known])
            self._dice_top = 0.0
            self._fit_dice(curve.dice[known])
        self._show_dice(curve is not None)

    def _show_dice(self, shown: bool) -> None:
        self._dice.setVisible(shown)
        layout = self._view.ci.layout
        layout.setRowStretchFactor(1, _HISTOGRAM_SHARE[1] if shown else 0)
        layout.setRowMaximumHeight(1, 10_000 if shown else 0)
        self._counts.getAxis("bottom").setStyle(showValues=not shown)
        self._counts.getAxis("bottom").setHeight(4 if shown else _AXIS_HEIGHT)
        self._counts.setLabel("bottom", None if shown else "threshold")
        self._write_key()
        self._write_legend()

    def set_points(self, thresholds: ArrayLike, dice: ArrayLike, *, finished: bool = True) -> None:
        """Show the Dice after post-processing at the thresholds known so far.

        Args:
            thresholds: (n,) ascending.
            dice: (n,).
            finished: Whether the curve is complete. Until then it is dots: a line between distant ones would mislead.
        """
        x, y = np.asarray(thresholds, dtype=np.float64), np.asarray(dice, dtype=np.float64)
        known = np.isfinite(y)
        shown, other = self._processed, self._unfinished
        if not finished:
            shown, other = other, shown
        shown.setData(x[known], y[known])
        other.clear()
        self._fit_dice(y[known])

    def clear_points(self) -> None:
        """Show no Dice after post-processing: the settings have changed."""
        self._processed.clear()
        self._unfinished.clear()

    def set_current(self, threshold: float) -> None:
        """Move the line of the current threshold. Cheap: nothing else is laid out or painted again."""
        if threshold == self._current:
            return
        self._current = threshold
        if threshold > self._end:
            self._fit_range()
        for line in self._lines:
            line.setValue(threshold)
        if self._now.isVisible():
            self._now.setVisible(False)  # its Dice was that of another threshold

    def set_marks(self, marks: Sequence[Mark], *, corrected: bool = False) -> None:
        """Mark thresholds, each named by its rule below the plot; a mark of rule ``now`` lies on the line.

        Args:
            marks: The marks.
            corrected: Whether the mask on show has corrections, which the Dice of no mark has.
        """
        self._marks, self._corrected = tuple(marks), corrected
        self._legend.setToolTip(f"{_CHOOSE}. {_UNCORRECTED}" if corrected else _CHOOSE)
        spots: list[dict[str, Any]] = []
        now: list[dict[str, Any]] = []
        for mark in self._marks:
            if mark.rule == NOW:
                self.set_current(mark.threshold)
            if mark.dice is not None and np.isfinite(mark.dice):
                spot = {"pos": (mark.threshold, mark.dice), "symbol": _symbol(mark.rule)[0]}
                (now if mark.rule == NOW else spots).append(spot)
        self._spots.setData(spots)
        self._now.setData(now)
        self._now.setVisible(bool(now))
        self._show_flags()
        self._write_legend()

    def clear(self, *, dice: bool = False) -> None:
        """Show the axis alone, as before a detection.

        Args:
            dice: Whether there will be a Dice, whose place is kept.
        """
        self.set_marks(())
        self.await_map(dice=dice)

    def await_map(self, *, dice: bool) -> None:
        """Show nothing of the map before, until that of another one is known.

        Args:
            dice: See `clear`.
        """
        self._raw.clear()
        self.clear_points()
        self.set_histogram(None)
        self._show_dice(dice)

    def set_theme(self, dark: bool) -> None:
        """Take the colours of a dark or a light theme; see `is_dark`."""
        self._colors = colors = _DARK if dark else _LIGHT
        self._view.setBackground(colors.background)
        for plot in (self._counts, self._dice):
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(pg.mkPen(colors.axis))
                axis.setTextPen(pg.mkPen(colors.text))
        self._healthy.setPen(pg.mkPen(colors.healthy, width=1))
        self._healthy.setBrush(_translucent(colors.healthy, 110))
        self._lesion.setPen(pg.mkPen(LESION_COLOR, width=1))
        self._lesion.setBrush(_translucent(LESION_COLOR, 130))
        self._raw.setPen(pg.mkPen(colors.text, width=1, style=Qt.PenStyle.DashLine))
        self._processed.setPen(pg.mkPen(DETECTED_COLOR, width=2))
        self._unfinished.setBrush(pg.mkBrush(DETECTED_COLOR))
        for line in self._lines:
            line.setPen(pg.mkPen(colors.text, width=1))
        outline = pg.mkPen(colors.background, width=1)
        for item in (self._spots, self._flags, self._now):
            item.setPen(outline)
        self._spots.setBrush(pg.mkBrush(colors.text))
        self._flags.setBrush(pg.mkBrush(colors.text))
        self._now.setBrush(pg.mkBrush(DETECTED_COLOR))
        self._write_key()
        self._write_legend()

    # -- how it is built -----------------------------------------------------------------------------------

    def _build(self) -> None:
        self._view = Canvas(self._hovered)
        self._view.pressed.connect(self._pressed)
        self._view.dragged.connect(self._dragged)
        self._view.setFixedHeight(_HEIGHT)
        self._view.setMinimumWidth(200)
        self._view.setAccessibleName("Anomaly and Dice over the threshold")
        self._view.setAccessibleDescription(
            "Histogram of the anomaly map inside the brain and Dice over the threshold; "
            "the slider above sets the same threshold by keyboard"
        )
        self._view.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the slider above is the keyboard's way
        layout = self._view.ci.layout
        self._view.ci.setContentsMargins(0, 2, _RIGHT, 0)
        layout.setVerticalSpacing(4)
        self._counts = self._plot(0, CountAxis(orientation="left"), "voxels")
        self._dice = self._plot(1, DiceAxis(orientation="left"), "Dice")
        self._dice.setLabel("bottom", "threshold")
        self._dice.getAxis("bottom").setHeight(_AXIS_HEIGHT)
        self._dice.setXLink(self._counts)
        self._counts.setXRange(0.0, self._end, padding=0)
        self._counts.getViewBox().sigResized.connect(lambda *_: self.axis_changed.emit())
        for row, share in enumerate(_HISTOGRAM_SHARE):
            layout.setRowStretchFactor(row, share)

        self._healthy, self._lesion = pg.PlotCurveItem(fillLevel=0), pg.PlotCurveItem(fillLevel=0)
        self._raw, self._processed = pg.PlotCurveItem(antialias=True), pg.PlotCurveItem(antialias=True)
        self._unfinished = pg.ScatterPlotItem(size=3, pen=None)
        self._flags = pg.ScatterPlotItem(size=9)
        self._spots = pg.ScatterPlotItem(size=11)
        self._now = pg.ScatterPlotItem(size=9)
        self._lines = (pg.InfiniteLine(angle=90), pg.InfiniteLine(angle=90))
        for plot, items in (
            (self._counts, (self._healthy, self._lesion, self._lines[0], self._flags)),
            (
                self._dice,
                (self._raw, self._processed, self._unfinished, self._lines[1], self._spots, self._now),
            ),
        ):
            for item in items:
                plot.addItem(item, ignoreBounds=True)

        self._key, self._legend = QLabel(), QLabel()
        self._legend.setTextInteractionFlags(
            Qt.TextInteractionFlag.LinksAccessibleByMouse | Qt.TextInteractionFlag.LinksAccessibleByKeyboard
        )
        self._legend.setToolTip(_CHOOSE)
        self._legend.linkActivated.connect(self._link_clicked)
        for label in (self._key, self._legend):
            label.setTextFormat(Qt.TextFormat.RichText)
            label.setWordWrap(True)
            label.setMinimumWidth(1)  # a narrow dock does not scroll sideways for it
        column = stacked(self)
        column.setSpacing(2)
        for widget in (self._view, self._key, self._legend):
            column.addWidget(widget)
        column.addStretch(1)

    def _plot(self, row: int, axis: pg.AxisItem, title: str) -> pg.PlotItem:
        plot = self._view.addPlot(row=row, col=0, axisItems={"left": axis})
        plot.hideButtons()
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.disableAutoRange()
        plot.getViewBox().setDefaultPadding(0)
        plot.setLabel("left", title)
        font = self.font()
        font.setPixelSize(10)
        for side in ("left", "bottom"):
            item = plot.getAxis(side)
            item.setStyle(
                tickFont=font, tickLength=-3, autoReduceTextSpace=False, hideOverlappingLabels=_LEEWAY
            )
            item.enableAutoSIPrefix(False)
            item.label.setFont(font)
        axis.setWidth(_AXIS_WIDTH)
        return plot

    def _show_flags(self) -> None:
        """Repeat the marks above the histogram."""
        height = self._top * _FLAG_HEIGHT
        shown = [mark for mark in self._marks if mark.rule != NOW]
        self._flags.setData(
            [{"pos": (mark.threshold, height), "symbol": _symbol(mark.rule)[0]} for mark in shown]
        )

    def _fit_dice(self, dice: NDArray[np.float64]) -> None:
        """Grow the axis of Dice in a few steps, so that it does not move with every new point."""
        needed = max(float(dice.max(initial=0.0)), self._dice_top)
        top = next(end for end in DICE_RANGES if needed <= end)
        if top != self._dice_top:
            self._dice_top = top
            self._dice.setYRange(0, 1.04 * top, padding=0)

    def _fit_range(self, *, anew: bool = False) -> None:
        """Show from 0 to where the axis is to end, or to the current threshold if it lies beyond.

        For a mark beyond, which comes by itself, nothing moves: it is named below the plot.

        Args:
            anew: Whether the axis may become shorter.
        """
        end = min(max(self._least_end, self._current), 1.0)
        if not anew:
            end = max(end, self._end)
        if end != self._end:
            self._end = end
            self._counts.setXRange(0.0, end, padding=0)
            self.axis_changed.emit()

    def _write_key(self) -> None:
        """Name the colours, also while nothing has them yet: in a narrow dock they need two lines."""
        healthy = f'<span style="color:{self._colors.healthy}">■</span>&nbsp;'
        if not self.has_dice and (self._histogram is None or self._histogram.lesion is None):
            parts = [f"{healthy}brain"]
        else:
            parts = [f"{healthy}healthy", f'<span style="color:{LESION_COLOR}">■</span>&nbsp;lesion']
        if self.has_dice:
            parts += [
                "<b>┅</b>&nbsp;raw&nbsp;threshold",
                f'<span style="color:{DETECTED_COLOR}"><b>━</b></span>&nbsp;after&nbsp;post‑processing',
            ]
        self._key.setText(" &nbsp; ".join(parts))

    def _write_legend(self) -> None:
        """Name the marks, the best one last. All rows exist from the start, so that nothing moves."""
        rows = []
        for index, mark in enumerate(self._marks):
            if mark.rule == NOW:
                continue
            dice = "" if mark.dice is None else f"Dice&nbsp;{mark.dice:.3f}"
            if dice and self._corrected:
                dice += " uncorrected"
            name = f'<a style="color:{self._colors.text}" href="{index}">{_unbroken(mark.rule)}</a>'
            rows.append((mark.rule, name, f"{mark.threshold:.3f}", dice))
        if self.has_dice and self._marks and all(rule != ORACLE for rule, *_ in rows):
            rows.append((ORACLE, _unbroken(ORACLE), "…", ""))
        lines = "".join(
            f"<tr><td>{_symbol(rule)[1]}&nbsp;</td><td>{name}</td><td>&nbsp;{threshold}</td>"
            f"<td>&nbsp;{dice}</td></tr>"
            for rule, name, threshold, dice in rows
        )
        free = (_LEGEND_ROWS - len(rows)) * f'<tr><td style="color:transparent">{_OTHER_SYMBOL[1]}</td></tr>'
        self._legend.setText(f"<table cellspacing=0 cellpadding=0>{lines}{free}</table>")

    # -- the mouse -----------------------------------------------------------------------------------------

    def _choose(self, threshold: float) -> None:
        if threshold != self._chosen:
            self._chosen = threshold
            self.threshold_chosen.emit(threshold)

    def _pressed(self, where: QPointF) -> None:
        self._chosen = None
        mark = self._mark_at(where)
        self._choose(self._threshold_at(where) if mark is None else mark.threshold)

    def _dragged(self, where: QPointF) -> None:
        self._choose(self._threshold_at(where))

    def _link_clicked(self, number: str) -> None:
        self._chosen = None
        self._choose(self._marks[int(number)].threshold)

    def _hovered(self, where: QPointF) -> str:
        """Return the text for the place under the mouse."""
        mark = self._mark_at(where)
        if mark is not None:
            dice = "" if mark.dice is None else f", Dice {mark.dice:.3f} after post-processing"
            dice += ", without your corrections" if dice and self._corrected else ""
            note = "; chosen on this very data, hence optimistic" if mark.rule == ORACLE else ""
            return f"{mark.rule}: threshold {mark.threshold:.3f}{dice}{note}"
        return f"Click to set the threshold to {self._threshold_at(where):.3f}"

    def _threshold_at(self, where: QPointF) -> float:
        x = self._counts.getViewBox().mapSceneToView(where).x()
        steps = round(1 / FINEST)
        return round(min(max(x, 0.0), 1.0) * steps) / steps

    def _mark_at(self, where: QPointF) -> Mark | None:
        """Return the nearest mark whose symbol is under the mouse."""
        found: list[tuple[float, int]] = []
        for index, mark in enumerate(self._marks):
            for plot, height in ((self._counts, self._top * _FLAG_HEIGHT), (self._dice, mark.dice)):
                if height is None or not plot.isVisible() or (mark.rule == NOW and plot is self._counts):
                    continue
                spot = plot.getViewBox().mapViewToScene(QPointF(mark.threshold, height))
                distance = float(np.hypot(spot.x() - where.x(), spot.y() - where.y()))
                if distance <= _NEAR:
                    found.append((distance, index))
        return self._marks[min(found)[1]] if found else None


def _unbroken(text: str) -> str:
    return escape(text).replace(" ", "&nbsp;")


def _symbol(rule: str) -> tuple[str, str]:
    """Return the plot's symbol of a rule and the same as a character."""
    if rule == NOW:
        return _NOW_SYMBOL
    name = BEST if rule == ORACLE else rule
    found = RULES.find(name) if name in RULES else None
    return _OTHER_SYMBOL if found is None else (found.symbol, found.character)


def _translucent(color: str, alpha: int) -> Any:
    shade = QColor(color)
    shade.setAlpha(alpha)
    return pg.mkBrush(shade)
