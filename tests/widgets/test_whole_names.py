"""Closed lists that end in an ellipsis where they are too narrow, and open as wide as their longest entry."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox

from napari_cead.widgets.common.controls import whole_names

LONG = "smoothed-times-intensity"


@pytest.fixture
def box(qtbot):
    box = QComboBox()
    qtbot.addWidget(box)
    box.addItems([LONG, "fused"])
    box.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # no ring around it in one of two pictures
    whole_names(box)
    box.resize(110, 28)
    box.show()
    qtbot.waitExposed(box)
    return box


def test_an_entry_that_is_too_long_ends_in_an_ellipsis(box, qtbot):
    """The box looks as if the shortened text was the entry itself."""
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    control, field = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
    room = box.style().subControlRect(control, option, field, box).width()
    assert box.fontMetrics().horizontalAdvance(LONG) > room
    shown = box.grab().toImage()
    short = next(
        text
        for text in (f"{LONG[:length]}…" for length in range(len(LONG), 0, -1))
        if box.fontMetrics().horizontalAdvance(text) <= room - 4
    )
    box.setItemText(0, short)
    assert box.grab().toImage() == shown
    box.setItemText(0, LONG[:4])
    assert box.grab().toImage() != shown


@pytest.mark.parametrize("by_keyboard", [False, True])
def test_the_open_list_is_as_wide_as_its_longest_entry(box, qtbot, by_keyboard):
    if by_keyboard:
        qtbot.keyClick(box, Qt.Key.Key_F4)
    else:
        qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(box.view().isVisible)
    assert box.view().viewport().width() >= box.view().sizeHintForColumn(0) > box.width()
    box.hidePopup()
