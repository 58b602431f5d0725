"""Finding in a window what its picture would show: text that is cut, controls that overlap, needless scroll bars."""

from __future__ import annotations

import itertools

from qtpy.QtCore import QPoint, QRect
from qtpy.QtWidgets import (
    QAbstractScrollArea,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QLabel,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QStyle,
    QStyleOptionButton,
    QStyleOptionComboBox,
    QStyleOptionSpinBox,
    QTabBar,
    QTableView,
    QToolButton,
    QWidget,
)
from superqt import QElidingLabel

from dock_driving import CONTROLS, controls_of, name_of
from napari_cead.widgets.common.controls import ElidedLines

SMALLEST, HIGHEST = 0.9, 3.2
"""Of a button or box, in lines of its text."""


def faults(dock: QWidget) -> list[str]:
    """Return what is wrong with what is on show in a dock, in words."""
    found = []
    for part in dock.findChildren(QWidget):
        if part.isVisible() and not part.visibleRegion().isEmpty():
            found += [f"{described(part)}: {fault}" for fault in _faults_of(part)]
    return found + _overlaps(dock) + _beyond(dock)


def described(part: QWidget) -> str:
    """Return what identifies a part for a reader."""
    text = part.text() if isinstance(part, QLabel) else ""
    return f"{type(part).__name__} “{text or name_of(part)}”"


def _faults_of(part: QWidget) -> list[str]:
    metrics, found = part.fontMetrics(), []
    if isinstance(part, (QPushButton, QToolButton, QCheckBox)):
        needed = max(map(metrics.horizontalAdvance, part.text().split("\n")))
        if part.text() and needed > part.width() - 4:
            found.append(f"cut: {needed} of {part.width()} pixels")
        if isinstance(part, QPushButton) and part.text():
            option = QStyleOptionButton()
            part.initStyleOption(option)
            inside = QStyle.SubElement.SE_PushButtonContents
            high = part.style().subElementRect(inside, option, part).height()
            if metrics.ascent() + metrics.descent() > high + 1:
                found.append(f"cut above or below: {metrics.ascent() + metrics.descent()} of {high} pixels")
    elif isinstance(part, QLabel) and not isinstance(part, (QElidingLabel, ElidedLines)) and part.text():
        if part.wordWrap():
            if part.heightForWidth(part.width()) > part.height() + 2:
                found.append(f"cut below: {part.heightForWidth(part.width())} of {part.height()} pixels")
        elif part.pixmap().isNull() and part.sizeHint().width() > part.width() + 1:
            found.append(f"cut: {part.sizeHint().width()} of {part.width()} pixels")
    elif isinstance(part, QComboBox):
        option = QStyleOptionComboBox()
        part.initStyleOption(option)
        control, field = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = part.style().subControlRect(control, option, field, part).width()
        if metrics.horizontalAdvance(part.currentText()) > room:
            found.append(f"cut: “{part.currentText()}” in {room} pixels")
    elif isinstance(part, QAbstractSpinBox):
        spin = QStyleOptionSpinBox()
        part.initStyleOption(spin)
        control, field = QStyle.ComplexControl.CC_SpinBox, QStyle.SubControl.SC_SpinBoxEditField
        room = part.style().subControlRect(control, spin, field, part).width() - 4
        if metrics.horizontalAdvance(part.text()) > room:
            found.append(f"cut: “{part.text()}” in {room} pixels")
    elif isinstance(part, QTabBar):
        found += [
            f"tab “{part.tabText(index)}” cut"
            for index in range(part.count())
            if metrics.horizontalAdvance(part.tabText(index)) > part.tabRect(index).width()
            or not part.rect().contains(part.tabRect(index).center())
        ]
    elif isinstance(part, QTableView):
        found += _faults_of_table(part)
    elif isinstance(part, QScrollArea):
        if part.horizontalScrollBar().maximum() > 0:
            found.append(f"scrolls sideways by {part.horizontalScrollBar().maximum()} pixels")
        if 0 < part.verticalScrollBar().maximum() < metrics.lineSpacing():
            found.append(f"scrolls by {part.verticalScrollBar().maximum()} pixels, which is no line")
    if isinstance(part, (QPushButton, QComboBox, QAbstractSpinBox)):
        lines = part.height() / metrics.lineSpacing()
        if not SMALLEST <= lines <= HIGHEST:
            found.append(f"{lines:.1f} lines high")
    return found


def _faults_of_table(table: QTableView) -> list[str]:
    header, found = table.horizontalHeader(), []
    if table.horizontalScrollBar().maximum() > 0:
        found.append(f"scrolls sideways by {table.horizontalScrollBar().maximum()} pixels")
    model = table.model()
    for column in range(model.columnCount()):
        heading = str(model.headerData(column, header.orientation()) or "")
        widest = max(map(header.fontMetrics().horizontalAdvance, heading.split("\n")), default=0)
        if widest > header.sectionSize(column):
            found.append(f"heading “{heading}” cut: {widest} of {header.sectionSize(column)} pixels")
    return found


def _overlaps(dock: QWidget) -> list[str]:
    """Controls, and labels beside them, of which two lie in one place."""
    shown = [
        part
        for part in (*controls_of(dock), *dock.findChildren(QLabel))
        if part.isVisible()
        and not part.visibleRegion().isEmpty()
        and not any(isinstance(above, (*CONTROLS, QAbstractScrollArea)) for above in _between(part, dock))
    ]
    found = []
    for one, other in itertools.combinations(dict.fromkeys(shown), 2):
        if one.isAncestorOf(other) or other.isAncestorOf(one):
            continue
        both = _place(one, dock).intersected(_place(other, dock))
        if both.width() > 2 and both.height() > 2:
            found.append(f"{described(one)} and {described(other)} overlap")
    return found


def _beyond(dock: QWidget) -> list[str]:
    """Controls whose right edge is cut off by what they lie in."""
    found = []
    for part in controls_of(dock):
        parent = part.parentWidget()
        if (
            parent is not None
            and part.geometry().right() > parent.width()
            and not part.visibleRegion().isEmpty()
        ):
            found.append(f"{described(part)} goes {part.geometry().right() - parent.width()} pixels beyond")
    return found


def _place(part: QWidget, dock: QWidget) -> QRect:
    """The part of a widget that is in sight but for what lies above it."""
    place, above = QRect(part.mapTo(dock, QPoint(0, 0)), part.size()), part.parentWidget()
    while above is not None and above is not dock:
        place = place.intersected(QRect(above.mapTo(dock, QPoint(0, 0)), above.size()))
        above = above.parentWidget()
    return place


def _between(part: QWidget, dock: QWidget):
    above = part.parentWidget()
    while above is not None and above is not dock:
        if isinstance(above, CONTROLS) and not isinstance(above, QScrollBar):
            yield above
        above = above.parentWidget()
