"""Driving the Explore dock in tests as a user would: with clicks, drags and keys."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPoint, QPointF, QRect, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialogButtonBox,
    QLineEdit,
    QPlainTextEdit,
    QScrollBar,
    QSlider,
    QStyle,
    QStyleOptionSlider,
    QStyleOptionViewItem,
    QTabBar,
    QTextEdit,
    QWidget,
)

import napari_cead as cead
from napari_cead.contributions.layers import tag_of
from napari_cead.widgets.common.folder_dialog import FolderDialog
from scans import brain_of

LEFT = Qt.MouseButton.LeftButton

CONTROLS = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTabBar,
    QTextEdit,
)
"""What a user can press, move or type into."""


def controls_of(dock):
    """The visible controls of a dock, but for those that are a part of another one, and text that is only read."""
    found = [
        part
        for part in dock.findChildren(QWidget)
        if isinstance(part, CONTROLS)
        and part.isVisible()
        and not isinstance(part, QScrollBar)
        and not (isinstance(part, QPlainTextEdit | QTextEdit) and part.isReadOnly())
    ]
    return [part for part in found if not any(isinstance(above, CONTROLS) for above in _above(part, dock))]


def name_of(control):
    """What a control is called, for a message."""
    text = control.text() if isinstance(control, QAbstractButton) else ""
    return control.accessibleName() or text or type(control).__name__


def _above(part, dock):
    while (part := part.parent()) is not None and part is not dock:
        yield part


class Still:
    """Watches that no control of a dock moves on the screen, whatever appears.

    Args:
        dock: The dock.
    """

    def __init__(self, dock):
        self.dock, self.looks = dock, 0
        self.scrolled()

    def _places(self):
        QApplication.processEvents()
        corners = {part: part.mapToGlobal(QPoint(0, 0)) for part in controls_of(self.dock)}
        return {part: (corner.x(), corner.y()) for part, corner in corners.items()}

    def scrolled(self):
        """The user has scrolled or folded: from now on the places are these."""
        self.places = self._places()

    def look(self):
        """Compare the places of all controls with those that they had when they were first seen."""
        now = self._places()
        if self._moved(now):  # Qt may need a second pass for texts that wrap
            now = self._places()
        moved = self._moved(now)
        assert not moved, moved
        self.places = now | self.places
        self.looks += 1

    def _moved(self, now):
        return [
            (name_of(part), self.places[part], at)
            for part, at in now.items()
            if at != self.places.get(part, at)
        ]

    def while_waiting(self, qtbot, condition, timeout=20_000):
        """Look again and again until a condition holds."""
        moved = []

        def look():
            try:
                self.look()
            except AssertionError as error:  # the wait would go on for it
                moved.append(error)
            return condition()

        qtbot.waitUntil(look, timeout=timeout)
        if moved:
            raise moved[0]


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
            and not widget.form.comparison.laying_out
            and (widget.session.analysis is None or "…" not in widget.dice_label.value)
        )
    )


def export(qtbot, widget, folder):
    """Press Export, paste a folder that need not exist into the dialog, and press its button."""
    click(qtbot, widget.form.export.native)
    choose_folder(qtbot, widget, folder)


def choose_folder(qtbot, widget, folder):
    """Paste a folder into the open dialog of Export and press its button."""
    (dialog,) = [one for one in widget.findChildren(FolderDialog) if one.isVisible()]
    qtbot.waitExposed(dialog)
    name = dialog.findChild(QLineEdit, "fileNameEdit")
    dialog.activateWindow()
    name.setFocus()
    qtbot.waitUntil(name.hasFocus)  # without it, Qt replaces the text by the row that it selects
    name.clear()
    QApplication.clipboard().setText(str(folder))
    qtbot.keyClick(name, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert name.text() == str(folder)
    qtbot.mouseClick(dialog.findChild(QDialogButtonBox).buttons()[0], LEFT)
    qtbot.waitUntil(lambda: not dialog.isVisible())


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


def tip(cell):
    """Return the tooltip of a cell of a table."""
    return cell.data(Qt.ItemDataRole.ToolTipRole)


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
