"""The newest message in full, below a dock, in the place of napari's toast, which is cut short and disappears."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari.utils.notifications import ErrorNotification, Notification, notification_manager
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .jobs import on_main
from .texts import title

COLORS = {"error": "#d55e00", "warning": "#e69f00", "info": "palette(mid)"}
"""Colours of the frame by severity, suitable for colour-blind users."""

TOGETHER_S = 2.0
"""A message this soon after another one appears below it."""

LONGEST = 600
"""Largest number of displayed characters; the tooltip has all."""


class Messages(QFrame):
    """Shows napari's notifications until closed or replaced by a newer one, with their actions as buttons.

    At rest one line states the purpose of the program. Place it below everything else, so that no message moves a
    control.

    Attributes:
        words: The message.
        buttons: Its actions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("messages")
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setMinimumWidth(1)
        self.words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.buttons: list[QPushButton] = []
        self._text, self._shown_at = "", 0.0
        self._kept: tuple[tuple[str, Callable[[], object]], ...] = ()
        self._lasting: tuple[tuple[str, Callable[[], object]], ...] = ()
        self._close = QToolButton(text="×")
        self._close.setToolTip("Close the message")
        self._close.setAccessibleName("Close the message")
        self._close.clicked.connect(self.clear)
        self._actions = QHBoxLayout()
        column = QVBoxLayout()
        column.addWidget(self.words)
        column.addLayout(self._actions)
        line = QHBoxLayout(self)
        line.setContentsMargins(6, 3, 6, 3)
        line.addLayout(column, 1)
        # At the bottom, in the same place however long the message is.
        line.addWidget(self._close, 0, Qt.AlignmentFlag.AlignBottom)
        self._show = on_main(self._show_notification)
        notification_manager.notification_ready.connect(self._notified)
        self.clear()

    def show_message(
        self,
        text: str,
        severity: str = "info",
        *actions: tuple[str, Callable[[], object]],
        lasting: bool = False,
    ) -> None:
        """Show a message.

        Args:
            text: The message.
            severity: ``"error"``, ``"warning"`` or ``"info"``.
            *actions: Text of a button, and its function; each closes the message.
            lasting: Whether the actions stay below later messages, until a message is closed, an action is taken, or
                others are lasting.
        """
        if lasting:
            self._lasting = actions
        now = time.monotonic()
        if self._text and now - self._shown_at < TOGETHER_S:  # several messages about one step
            lines = dict.fromkeys((*self._text.splitlines(), *text.splitlines()))  # each said once
            text, actions = "\n".join(lines), (*self._kept, *actions)
        kept = self._lasting
        self.clear()
        self._text, self._kept, self._lasting, self._shown_at = text, actions, kept, now
        self.words.setEnabled(True)
        self.words.setText(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
        self.words.setToolTip(text)
        self.setStyleSheet(f"#messages {{ border: 1px solid {COLORS[severity]}; border-radius: 3px; }}")
        self._close.show()
        for name, act in (dict(actions) | dict(kept)).items():
            button = QPushButton(name)
            button.clicked.connect(lambda _=False, act=act: self._act(act))
            self._actions.addWidget(button)
            self.buttons.append(button)

    def clear(self) -> None:
        """Close the message."""
        for button in self.buttons:
            button.hide()
            button.deleteLater()
        self.buttons, self._kept, self._lasting, self._text = [], (), (), ""
        self._close.hide()
        self.setStyleSheet("")
        self.words.setText(title("research_only"))
        self.words.setToolTip("")
        self.words.setEnabled(False)

    def withdraw(self, text: str) -> None:
        """Close the message if it is this one, which no longer holds."""
        if self._text == text:
            self.clear()

    def _act(self, act: Callable[[], object]) -> None:
        self.clear()
        act()

    def _notified(self, notification: Notification) -> None:
        self._show(notification)  # it may come in any thread

    def _show_notification(self, notification: Notification) -> None:
        severity = str(notification.severity)
        self.show_message(
            notification.message,
            severity if severity in COLORS else "info",
            *((name, _bound(act, self)) for name, act in notification.actions),
        )
        has_traceback = isinstance(notification, ErrorNotification)  # in its toast alone
        if self.isVisible() and not has_traceback:
            # Later, because napari may make its toast only after this.
            QTimer.singleShot(0, lambda: _close_toasts(notification.message))


def _close_toasts(message: str) -> None:
    """Close napari's own toasts with a message."""
    shown = NapariQtNotification._instances
    # Those of a window that is closed are in the list still.
    for toast in [toast for toast in shown if isalive(toast) and toast.message.text() == message]:
        shown.remove(toast)
        toast.hide()
        toast.deleteLater()  # its method close would take the keyboard's focus to the canvas


def _bound(act: Callable[[Any], object], widget: QWidget) -> Callable[[], object]:
    return lambda: act(widget)  # napari hands an action the widget of its notification
