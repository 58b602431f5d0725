"""The threshold's slider as the axis of the plot below it: the same range at the same positions."""

from __future__ import annotations

from magicgui.widgets import FloatSlider
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QStyle, QStyleOptionSlider, QWidget

from ...detection.settings import Parameter
from ..common.controls import SettingRow
from .threshold_plot import ThresholdPlot


class GrowingSlider(FloatSlider):
    """A slider whose range ends where the map does, and grows for larger values."""

    @property
    def value(self) -> float:
        """The value; one beyond the range makes the range larger."""
        return float(FloatSlider.value.fget(self))

    @value.setter
    def value(self, value: float) -> None:
        end: float = self.max  # type: ignore[has-type]
        if value > end:
            self.max = value
            value = min(value, self.max)  # magicgui cuts a limit off after six decimals
        FloatSlider.value.fset(self, value)


class AxisRow(SettingRow):
    """A setting whose slider has a row of its own, aligned with the axis of a plot.

    Attributes:
        position: Row of the title; the slider is in the next one.

    Args:
        parameter: The setting.
        grid: Where the row goes.
        row: Its place.
        plot: The plot whose axis the slider is.
    """

    slider_type = GrowingSlider

    def __init__(self, parameter: Parameter, grid: QGridLayout, row: int, plot: ThresholdPlot) -> None:
        super().__init__(parameter, grid, row)
        self.position, self._plot = row, plot
        grid.removeWidget(self.slider.native)
        self._around = QWidget()
        self._line = QHBoxLayout(self._around)
        self._line.setContentsMargins(0, 0, 0, 0)
        self._line.addWidget(self.slider.native)
        grid.addWidget(self._around, row + 1, 0, 1, 3)
        plot.axis_changed.connect(self._follow_axis)

    def _follow_axis(self) -> None:
        plot, option, handle = self._plot, QStyleOptionSlider(), self.handle
        if self.slider.max != plot.end:
            self.slider.max = max(plot.end, self.slider.value)
        handle.initStyleOption(option)
        control, grip = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
        half = handle.style().subControlRect(control, option, grip, handle).width() / 2
        left, right = plot.axis
        # The slider lies within a widget of magicgui's that has margins of its own.
        before = handle.mapTo(self.slider.native, handle.rect().topLeft()).x()
        behind = self.slider.native.width() - before - handle.width()
        self._line.setContentsMargins(
            max(0, round(left - half) - before), 0, max(0, round(plot.width() - right - half) - behind), 0
        )
