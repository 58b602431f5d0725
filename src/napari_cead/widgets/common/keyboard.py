"""Docks that can be used by keyboard: a ring around the control that Tab has reached, for napari's style has none."""

from __future__ import annotations

from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent, QPainter, QPalette, QPen
from qtpy.QtWidgets import QAbstractItemView, QApplication, QScrollArea, QWidget

from .docks import tab_where_low

RING_WIDTH = 2
"""Pixels."""


class KeyboardDock(QWidget):
    """A dock that shows where the keyboard's focus is, once it was moved by keyboard.

    Attributes:
        ring: The ring, None while there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ring: Ring | None = None
        self._taken: tuple[QWidget, QWidget | None] | None = None
        self._place = QTimer(self, singleShot=True, interval=0)
        self._place.timeout.connect(lambda: tab_where_low(self, KeyboardDock))
        self._placed = False
        QApplication.instance().focusChanged.connect(self._focus_changed)

    def showEvent(self, event: Any) -> None:
        """Find a place beside the other docks, once."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            self._place.start()

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Move the focus, and show where it is.

        Qt calls this for Tab and Shift+Tab, and when the control with the focus is disabled or hidden: then the ring
        appears only if it was there before.
        """
        before, ringed = self.window().focusWidget(), self.ring is not None
        moved = bool(super().focusNextPrevChild(forward))
        now = self.window().focusWidget()
        asked_for = can_hold_focus(before)
        if asked_for:
            self._taken = None
        else:
            self._taken = (before if self._taken is None else self._taken[0]), now
        if asked_for or ringed:
            self._show_ring(now)
        return moved

    def give_focus_back(self, instead: QWidget) -> None:
        """Give the focus back to the control that lost it when it was disabled or hidden, unless it has moved on since.

        Args:
            instead: Gets it if the control is hidden now.
        """
        if self._taken is None:
            return
        (before, after), self._taken = self._taken, None
        if after is not self.window().focusWidget():
            return
        if not isalive(before) or not before.isVisible():
            before = instead
        if before.isEnabled():
            ringed = self.ring is not None
            before.setFocus(Qt.FocusReason.OtherFocusReason)
            self._show_ring(before if ringed else None)

    def go_here(self, first: QWidget) -> None:
        """Give the focus to the control that had it last in this dock.

        Args:
            first: Gets it if no control had it yet, or cannot have it now.
        """
        last = self.focusWidget()
        wanted = last if last is not None and can_hold_focus(last) else first
        wanted.setFocus(Qt.FocusReason.ShortcutFocusReason)
        _scroll_to(wanted)
        self._show_ring(wanted)

    def _focus_changed(self, before: QWidget | None, now: QWidget | None) -> None:
        if now is not None and self.ring is not None and now is not self.ring.control:
            self._show_ring(None)
        # Qt takes the focus away without a word to `focusNextPrevChild` if what holds the control is disabled.
        if now is None and before is not None and self.isAncestorOf(before) and not can_hold_focus(before):
            self._taken = before, None

    def _show_ring(self, control: QWidget | None) -> None:
        old, self.ring = self.ring, None
        if old is not None and isalive(old):  # its parent may have gone
            old.control.removeEventFilter(old)
            old.hide()
            old.deleteLater()
        if control is not None and self.isAncestorOf(control):
            self.ring = Ring(control)


def can_hold_focus(control: QWidget | None) -> bool:
    """Return whether the focus moves on from a control because that was asked for, not because the control went."""
    return control is None or (isalive(control) and control.isEnabled() and control.isVisible())


def leave_letters(view: QAbstractItemView) -> None:
    """Leave letters that are pressed on a table to the shortcuts: Qt's tables take them to look for a row."""
    view.installEventFilter(_Letters(view))


class _Letters(QObject):
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if (
            not isinstance(event, QKeyEvent)
            or event.type() != QEvent.Type.KeyPress
            or not event.text().isalpha()
        ):
            return False
        event.ignore()  # Qt hands an ignored key to the parent
        return True


def _scroll_to(control: QWidget) -> None:
    area = control.parent()
    while area is not None and not isinstance(area, QScrollArea):
        area = area.parent()
    if area is not None:
        area.ensureWidgetVisible(control)


class Ring(QWidget):
    """A ring on a control, which it follows. It takes no clicks.

    Attributes:
        control: The control.
    """

    def __init__(self, control: QWidget) -> None:
        super().__init__(control.parentWidget())
        self.control = control
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        control.installEventFilter(self)
        self._follow()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the control."""
        if event.type() in (QEvent.Type.Move, QEvent.Type.Resize, QEvent.Type.Show, QEvent.Type.Hide):
            self._follow()
        return False

    def _follow(self) -> None:
        self.setGeometry(self.control.geometry())
        self.setVisible(self.control.isVisibleTo(self.parentWidget()))
        self.raise_()

    def paintEvent(self, event: object) -> None:
        """Draw the ring."""
        painter = QPainter(self)
        painter.setPen(QPen(self.palette().color(QPalette.ColorRole.WindowText), RING_WIDTH))
        half = RING_WIDTH // 2
        painter.drawRoundedRect(self.rect().adjusted(half, half, -half, -half), 3, 3)
        painter.end()
