"""Driving the Explore dock in tests as a user would: with clicks, drags and keys."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPoint, QPointF, QRect, Qt
from qtpy.QtWidgets import QSlider, QStyle, QStyleOptionSlider, QStyleOptionViewItem

import napari_cead as cead
from napari_cead.contributions.layers import tag_of
from scans import brain_of

LEFT = Qt.MouseButton.LeftButton


def layers_of(widget, role, key=None):
    """Layers with a role, of one analysis if a key is given, in the order of the viewer."""
    found = [(layer, tag_of(layer)) for layer in widget.viewer.layers]
    return [
        layer for layer, tag in found if tag and tag.role == role and (key is None or tag.analysis == key)
    ]


def settle(qtbot, widget):
    """Wait until everything has followed."""
    qtbot.waitUntil(
        lambda: (
            not widget.running
            and not widget.live.busy
            and not widget.insight.busy
            and not widget.runner.options_waiting
            and (widget.session.analysis is None or "…" not in widget.dice_label.value)
        )
    )


def run(qtbot, widget, model=None, score=None):
    """Choose model and score in their boxes, press Run, wait."""
    if model is not None:
        widget.model.value = model
        settle(qtbot, widget)
    if score is not None:
        widget.score.value = score
        settle(qtbot, widget)
    click(qtbot, widget.run.native)
    assert widget.running
    settle(qtbot, widget)


def click(qtbot, button):
    """Click a button that is enabled and on screen."""
    assert button.isEnabled()
    scroll_to(qtbot, button)
    qtbot.mouseClick(button, LEFT)


def scroll_to(qtbot, inside):
    """Bring a part of the dock into view."""
    area = inside.parent()
    while area is not None and not hasattr(area, "ensureWidgetVisible"):
        area = area.parent()
    if area is not None:
        area.ensureWidgetVisible(inside)
        qtbot.wait(1)


def click_cell(qtbot, view, row, column):
    """Click a cell of a table."""
    index = view.model().index(row, column)
    view.scrollTo(index)
    qtbot.mouseClick(view.viewport(), LEFT, pos=view.visualRect(index).center())


def click_tick(qtbot, view, row):
    """Click the box in front of a row."""
    index = view.model().index(row, 0)
    view.scrollTo(index)
    option = QStyleOptionViewItem()
    option.initFrom(view)
    option.rect = QRect(view.visualRect(index))
    option.features |= QStyleOptionViewItem.ViewItemFeature.HasCheckIndicator
    box = view.style().subElementRect(QStyle.SubElement.SE_ItemViewItemCheckIndicator, option, view)
    qtbot.mouseClick(view.viewport(), LEFT, pos=box.center())


def press(qtbot, widget, key, shift=False):
    """Press a key on the canvas."""
    canvas = widget.viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    modifier = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
    qtbot.keyClick(canvas, key, modifier)


def drag(qtbot, slider, to, steps=8):
    """Drag the handle of a slider with the mouse to a fraction of its range."""
    inner = slider.native.findChild(QSlider)
    scroll_to(qtbot, inner)
    option = QStyleOptionSlider()
    inner.initStyleOption(option)
    control, handle = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
    grip = inner.style().subControlRect(control, option, handle, inner)
    start = grip.center()
    end = QPoint(round(grip.width() / 2 + to * (inner.width() - grip.width())), start.y())
    qtbot.mousePress(inner, LEFT, pos=start)
    assert inner.isSliderDown()
    for step in range(1, steps + 1):
        qtbot.mouseMove(inner, start + (end - start) * (step / steps))
        qtbot.wait(12)
    qtbot.mouseRelease(inner, LEFT, pos=end)


def plot_place(plot, threshold):
    """Where a threshold lies on the canvas of the plot, low in the histogram where no mark is."""
    box = plot._counts.getViewBox()
    height = 0.2 * box.viewRange()[1][1]
    return plot._view.mapFromScene(box.mapViewToScene(QPointF(threshold, height)))


def expected_mask(widget, analysis=None):
    """The mask of an analysis by the public functions, from the sliders if it is the current one."""
    if analysis is not None:
        params, values = analysis.params, analysis.anomaly_map
    else:
        names = ("threshold", "closing_radius", "area_fraction", "dilation_radius")
        chosen = {name: getattr(widget, name).value for name in names}
        params, values = widget.session.params.replace(**chosen), widget.session.anomaly_map
    patient = widget.session.patient
    return cead.postprocess(values, params, patient.spacing, brain_of(patient))


def shown_mask(layer):
    """What a labels layer shows, as bool."""
    return np.asarray(layer.data) > 0
