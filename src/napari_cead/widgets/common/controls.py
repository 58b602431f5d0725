"""Controls shared by the widgets: a labelled slider with a number box, and titled sections."""

from __future__ import annotations

from html import escape
from typing import Any

from magicgui.widgets import CheckBox, FloatSlider, PushButton, Slider
from qtpy.QtCore import QEvent, QLocale, QObject, QPointF, QRect, QSignalBlocker, QSize, Qt
from qtpy.QtGui import QIcon, QMouseEvent, QPixmap, QTextOption
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyleOptionComboBox,
    QStyleOptionSlider,
    QStyleOptionSpinBox,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible, QElidingLabel

from ...detection.settings import Parameter
from .keyboard import can_hold_focus

FINEST = 0.001
"""Step of sliders of fractions: fine enough for a suggested threshold."""


_AROUND_VALUE = 8
"""Pixels around the value in a number box, within its buttons."""

_IN_BOX = 4
"""Pixels of the room for the text in a closed list that the style leaves empty."""

_REST = 640
"""Height of a dock, in pixels, of which a list gets no part."""

_LEEWAY = 12
"""Pixels by which a line is shorter than its label, so that Qt breaks it no further."""


class NumberBox(QDoubleSpinBox):
    """A number box that takes a decimal comma as well as a point."""

    def __init__(self) -> None:
        super().__init__()
        self.setLocale(QLocale.c())

    def sizeHint(self) -> QSize:
        """Return the size: room for the longest value between napari's buttons, in the window's font, and no more."""
        self.ensurePolished()
        ends = (f"{self.textFromValue(end)}{self.suffix()}" for end in (self.minimum(), self.maximum()))
        option = QStyleOptionSpinBox()
        self.initStyleOption(option)
        field = self.style().subControlRect(
            QStyle.ComplexControl.CC_SpinBox, option, QStyle.SubControl.SC_SpinBoxEditField, self
        )
        buttons = self.width() - field.width()
        longest = max(map(self.fontMetrics().horizontalAdvance, ends))
        return QSize(longest + buttons + _AROUND_VALUE, super().sizeHint().height())

    minimumSizeHint = sizeHint

    def validate(self, text: str, position: int) -> Any:
        """Validate the input, with a comma read as a point."""
        state, _, position = super().validate(text.replace(",", "."), position)
        return state, text, position

    def valueFromText(self, text: str) -> float:
        """Parse the input, with a comma read as a point."""
        return float(super().valueFromText(text.replace(",", ".")))


class SettingRow:
    """A slider with its title and a number box in the usual unit, kept equal.

    Attributes:
        slider: The magicgui slider; ``.value`` is in the parameter's own unit (fractions are 0–1).
        handle: The Qt slider inside it.
    """

    slider_type: type[FloatSlider] = FloatSlider
    """What shows a fraction."""

    def __init__(self, parameter: Parameter, grid: QGridLayout, row: int) -> None:
        whole = parameter.kind is int
        self._factor = 100.0 if parameter.percent else 1.0
        limits = {"min": parameter.minimum, "max": parameter.maximum or 1000.0}
        self.slider = (
            Slider(value=int(parameter.default), readout=False, **{key: int(v) for key, v in limits.items()})
            if whole
            else self.slider_type(value=parameter.default, step=FINEST, readout=False, **limits)
        )
        self.handle: QSlider = self.slider.native.findChild(QSlider)
        span = self.handle.maximum() - self.handle.minimum()
        self.handle.setPageStep(max(1, span // 10))  # by Page Up: seen, and not too far
        _GoesThere(self.handle)
        self.title = QLabel(parameter.title)
        self.box = NumberBox()
        self.box.setDecimals(0 if whole else 1 if parameter.percent else 2 if parameter.unit else 3)
        self.box.setRange(limits["min"] * self._factor, limits["max"] * self._factor)
        self.box.setSingleStep(parameter.step * self._factor)
        self.box.setSuffix(f" {parameter.unit}" if parameter.unit else "")
        self.box.setKeyboardTracking(False)
        self.box.setAlignment(Qt.AlignmentFlag.AlignRight)
        tip = f"{parameter.description} ({parameter.range})"
        for widget in (self.title, self.slider.native, self.box):
            widget.setToolTip(tip)
        self.title.setBuddy(self.box)
        self.slider.native.setAccessibleName(parameter.title)
        self.handle.setAccessibleName(parameter.title)
        self.box.setAccessibleName(parameter.title)
        grid.addWidget(self.title, row, 0)
        grid.addWidget(self.slider.native, row, 1)
        grid.addWidget(self.box, row, 2)
        self._show(self.slider.value)
        self.slider.changed.connect(self._show)
        self.box.valueChanged.connect(self._typed)

    @property
    def held(self) -> bool:
        """Whether the mouse holds the handle of the slider."""
        # A slider that was hidden meanwhile never hears that the mouse let go.
        return bool(self.handle.isSliderDown() and self.handle.isVisible())

    def set_quietly(self, value: float) -> None:
        """Show a value without signalling a change."""
        with self.slider.changed.blocked():
            self.slider.value = value
        self._show(value)

    def _show(self, value: float) -> None:
        blocker = QSignalBlocker(self.box)
        self.box.setValue(value * self._factor)
        blocker.unblock()

    def _typed(self, shown: float) -> None:
        value = shown / self._factor
        self.slider.value = int(value) if isinstance(self.slider, Slider) else value


class _GoesThere(QObject):
    """Moves the handle of a slider to where its groove is pressed; Qt's own way is one page in that direction.

    Qt's `SH_Slider_AbsoluteSetButtons` would also move a handle that is pressed beside its middle.
    """

    def __init__(self, slider: QSlider) -> None:
        super().__init__(slider)
        slider.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Move the handle below the mouse, which then drags it."""
        if (
            event.type() != QEvent.Type.MouseButtonPress
            or not isinstance(event, QMouseEvent)
            or event.button() != Qt.MouseButton.LeftButton
            or not isinstance(watched, QSlider)
        ):
            return False
        option, style = QStyleOptionSlider(), watched.style()
        watched.initStyleOption(option)
        control = QStyle.ComplexControl.CC_Slider

        def part(name: QStyle.SubControl) -> QRect:
            return style.subControlRect(control, option, name, watched)

        groove, grip = part(QStyle.SubControl.SC_SliderGroove), part(QStyle.SubControl.SC_SliderHandle)
        place = event.position().toPoint()
        if grip.contains(place):
            return False
        value = QStyle.sliderValueFromPosition(
            watched.minimum(),
            watched.maximum(),
            place.x() - groove.left() - grip.width() // 2,
            groove.width() - grip.width(),
            option.upsideDown,
        )
        watched.setSliderDown(True)  # first: this begins a gesture, which is undone in one step
        watched.setSliderPosition(value)
        watched.initStyleOption(option)
        # Whole numbers may leave the handle beside the mouse: Qt takes it as if it was pressed.
        centre = QPointF(part(QStyle.SubControl.SC_SliderHandle).center())
        pressed = QMouseEvent(
            event.type(),
            centre,
            QPointF(watched.mapToGlobal(centre.toPoint())),
            event.button(),
            event.buttons(),
            event.modifiers(),
        )
        QApplication.sendEvent(watched, pressed)
        return True


class SwitchRow:
    """A check box for a setting that is on or off, with what `SettingRow` offers of a slider.

    Attributes:
        slider: The magicgui check box; ``.value`` is True or False.
    """

    held = False

    def __init__(self, parameter: Parameter, grid: QGridLayout, row: int) -> None:
        self.slider = CheckBox(value=bool(parameter.default), text=parameter.title)
        self.slider.native.setToolTip(parameter.description)
        self.slider.native.setAccessibleName(parameter.title)
        grid.addWidget(self.slider.native, row, 0, 1, 3)

    def set_quietly(self, value: bool) -> None:
        """Show a value without signalling a change."""
        with self.slider.changed.blocked():
            self.slider.value = value


def whole_names(box: QComboBox) -> None:
    """Let a list be as wide as its longest entry, and end the entry in its box in … where that is too narrow."""
    _WholeNames(box)


class _WholeNames(QObject):
    def __init__(self, box: QComboBox) -> None:
        super().__init__(box)
        box.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Paint the box, and widen its list before it opens."""
        if not isinstance(watched, QComboBox):
            return False
        if event.type() in (QEvent.Type.MouseButtonPress, QEvent.Type.KeyPress):
            view, style = watched.view(), watched.style()
            bar = style.pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
            view.setMinimumWidth(view.sizeHintForColumn(0) + bar + 2 * view.frameWidth())
        if event.type() != QEvent.Type.Paint:
            return False
        painter, option = QStylePainter(watched), QStyleOptionComboBox()
        watched.initStyleOption(option)
        control, field = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = watched.style().subControlRect(control, option, field, watched).width()
        option.currentText = watched.fontMetrics().elidedText(
            option.currentText, Qt.TextElideMode.ElideRight, room - _IN_BOX
        )
        painter.drawComplexControl(control, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        return True


def section(title: str, parent_layout: QVBoxLayout) -> QGridLayout:
    """Add a titled group to a column and return its grid (title, control, readout)."""
    group = QGroupBox(title)
    grid = QGridLayout(group)
    grid.setColumnStretch(1, 1)
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(6)
    parent_layout.addWidget(group)
    return grid


def list_height(least: int, dock: QWidget) -> int:
    """Return the height of a list in a dock: more than the least where the dock is high enough to show all the rest.

    It depends on the dock alone, so that nothing in the dock moves what lies below the list.
    """
    return max(least, (dock.height() - _REST) // 2)


def keep_place(control: QWidget) -> QWidget:
    """Keep the space of a hidden control, so that its neighbours do not move; return the control."""
    policy = control.sizePolicy()
    policy.setRetainSizeWhenHidden(True)
    control.setSizePolicy(policy)
    return control


class Lines(QLabel):
    """A label with the height of some lines, whatever it says, so that its neighbours do not move.

    Args:
        count: Number of lines.
        text: The text at the start.
    """

    def __init__(self, count: int, text: str = "") -> None:
        super().__init__(text)
        self._count = count
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Return the size: it follows the font that the window gives."""
        return QSize(super().sizeHint().width(), self._count * self.fontMetrics().lineSpacing() + 4)

    def heightForWidth(self, width: int) -> int:
        """Return the height, the same at any width."""
        return self.sizeHint().height()

    def minimumSizeHint(self) -> QSize:
        """Return the least size: a long word must not widen the dock."""
        return QSize(1, self.sizeHint().height())


class ElidedLines(QElidingLabel):
    """A label of some lines, whatever it says; its tooltip holds the whole text if not more.

    Args:
        count: Number of lines.
        text: The text at the start.
        fewer: Whether a short text has fewer lines.
    """

    _count, _fewer = 1, False

    def __init__(self, count: int, text: str = "", *, fewer: bool = False) -> None:
        super().__init__()
        self._count, self._fewer = count, fewer
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show a text, which its tooltip repeats."""
        super().setText(text)
        self.setToolTip(wrapped(text))

    def changeEvent(self, event: QEvent) -> None:
        """Break the lines anew in another font."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            QLabel.setText(self, self._elidedText())

    def _elidedText(self) -> str:
        # Where the lines end is said to Qt: left to itself it may break them elsewhere, with the "…" out of sight.
        width = self.width() - _LEEWAY
        lines = self.wrapText(self.text(), width, self.font())
        rest = self.fontMetrics().elidedText("".join(lines[self._count - 1 :]), self.elideMode(), width)
        return "\n".join(line.rstrip() for line in (*lines[: self._count - 1], rest)).rstrip()

    def sizeHint(self) -> QSize:
        """Return the size: it follows the font that the window gives."""
        return QSize(self.fontMetrics().horizontalAdvance(self.text()), self._height())

    def minimumSizeHint(self) -> QSize:
        """Return the least size: a long text must not widen the dock."""
        return QSize(1, self.heightForWidth(self.width()))

    def heightForWidth(self, width: int) -> int:
        """Return the height, the same at any width unless a short text has fewer lines."""
        if not self._fewer:
            return self._height()
        needed = len(self.wrapText(self.text(), width - _LEEWAY, self.font()))
        return self._height(min(self._count, max(1, needed)))

    def _height(self, count: int | None = None) -> int:
        # Qt sets them a little apart.
        return (count or self._count) * (self.fontMetrics().lineSpacing() + 1) + 6


def wrapped(text: str) -> str:
    """Return a tooltip that breaks its lines: Qt does so with rich text alone."""
    return f"<qt>{escape(text)}</qt>" if text else ""


def row(grid: QGridLayout, title: str, control: QWidget, tip: str = "") -> QLabel:
    """Add a control with its title to a section; return the title."""
    label = QLabel(title)
    label.setBuddy(control)
    label.setToolTip(tip)
    control.setToolTip(tip)
    control.setAccessibleName(title)
    position = grid.rowCount()
    grid.addWidget(label, position, 0)
    grid.addWidget(control, position, 1, 1, 2)
    return label


def folded(title: str, inside: QWidget) -> QCollapsible:
    """Return a part that unfolds when its title is clicked."""
    part = QCollapsible(f"▸ {title}")
    # The built-in arrows are drawn in black, whatever the theme: an arrow in the title takes its colour.
    nothing = QPixmap(1, 1)
    nothing.fill(Qt.GlobalColor.transparent)
    part.setCollapsedIcon(QIcon(nothing))
    part.setExpandedIcon(QIcon(nothing))
    part.addWidget(inside)
    inside.hide()  # folded is no more than flat: Tab would go through it unseen

    def toggled(is_open: bool) -> None:
        part.setText(f"{'▾' if is_open else '▸'} {title}")
        inside.setVisible(is_open)
        if is_open:
            part.content().setMaximumHeight(part.content().sizeHint().height() + 10)

    part.setDuration(0)
    part.toggled.connect(toggled)
    return part


def push_button(text: str, tip: str) -> PushButton:
    """Return a button with a tooltip, as a widget of magicgui."""
    made = PushButton(text=text)
    made.native.setToolTip(tip)
    return made


def plain_button(text: str, tip: str) -> QPushButton:
    """Return a button of Qt with a tooltip."""
    made = QPushButton(text)
    made.setToolTip(tip)
    return made


def stacked(inside: QWidget, *parts: QWidget, margin: int = 0) -> QVBoxLayout:
    """Put controls below each other into a widget, and return the column."""
    column = QVBoxLayout(inside)
    column.setContentsMargins(margin, margin, margin, margin)
    for part in parts:
        column.addWidget(part)
    return column


def beside(first: QWidget, *others: QWidget) -> QWidget:
    """Return a control, which gets the room, with others beside it."""
    line = QWidget()
    inside = QHBoxLayout(line)
    inside.setContentsMargins(0, 0, 0, 0)
    inside.addWidget(first, 1)
    for other in others:
        inside.addWidget(other)
    line.setFocusProxy(first)
    return line


def wrapping(text: str = "") -> QLabel:
    """Return a label of as many lines as its text needs."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setMinimumWidth(1)  # a long word must not widen the dock
    return label


def read_only(name: str, height: int) -> QPlainTextEdit:
    """Return text to read and copy in which the longest path finds room.

    Args:
        name: Name for screen readers.
        height: Pixels.
    """
    text = QPlainTextEdit()
    text.setReadOnly(True)
    text.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    text.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    text.setTabChangesFocus(True)
    text.setFixedHeight(height)
    text.setAccessibleName(name)
    return text


class ScrollArea(QScrollArea):
    """An area that follows the keyboard's focus, but stays where it is if a control with the focus is disabled."""

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Move the focus, and scroll to where it is if that was asked for by a key."""
        before, place = QApplication.focusWidget(), self.verticalScrollBar().value()
        moved = bool(super().focusNextPrevChild(forward))
        now = self.focusWidget()
        if not can_hold_focus(before):
            self.verticalScrollBar().setValue(place)
        elif isinstance(now, QAbstractSpinBox) and self.widget().isAncestorOf(now):
            # Of what takes text, Qt brings the cursor into view and may leave the rest cut off.
            middle = now.rect().center()
            at = now.mapTo(self.widget(), middle)
            self.ensureVisible(at.x(), at.y(), 0, middle.y() + 2)
        return moved


def scrolled(inner: QWidget) -> QScrollArea:
    """Return a widget in an area that scrolls when the dock is too small for it."""
    scroll = ScrollArea()
    scroll.setWidget(inner)
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QScrollArea.Shape.NoFrame)
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # it follows the focus of what is in it
    return scroll
