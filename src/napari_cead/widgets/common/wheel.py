"""The wheel scrolls a dock. It changes a control only if the control has the focus."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QScrollBar,
    QTabBar,
    QWidget,
)

_CHANGED_BY_WHEEL = (QAbstractSlider, QAbstractSpinBox, QComboBox, QTabBar)


def scroll_with_wheel(dock: QWidget) -> None:
    """Leave the wheel to the scroll area unless a control of the dock has the focus.

    Args:
        dock: Searched each time it is shown, so that later controls count too.
    """
    _Wheel(dock)


class _Wheel(QObject):
    def __init__(self, dock: QWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        self._guard()
        dock.installEventFilter(self)

    def _guard(self) -> None:
        for control in self._dock.findChildren(QWidget):
            if not isinstance(control, _CHANGED_BY_WHEEL) or isinstance(control, QScrollBar):
                continue
            control.installEventFilter(self)  # moves an earlier filter of ours, never doubles it
            if control.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Pass the wheel to the parent of a control without the focus."""
        if watched is self._dock:
            if event.type() == QEvent.Type.Show:
                self._guard()
        elif event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False
