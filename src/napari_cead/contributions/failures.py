"""Errors as napari notifications: the sentence is visible, the details are folded."""

from __future__ import annotations

import platform
import sys
from typing import Any

from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QFontDatabase, QGuiApplication
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from .. import __version__
from ..errors import Cancelled, CeadError, details

DETAILS = "Details…"
"""The button of a notification that unfolds the rest."""

_SIZE = (640, 280)


def show_failure(error: BaseException) -> None:
    """Show an error as a napari notification; its button unfolds the details.

    An error that the user can fix is one sentence; its details are code, file, fix and causes, without a traceback.
    Anything else is a bug: the notification asks to report it and has the traceback. Cancelled work is no error.
    """
    if isinstance(error, Cancelled):
        return
    if not isinstance(error, CeadError) and (
        notification_manager.exit_on_error or not notification_manager.catch_error
    ):
        notification_manager.receive_error(type(error), error, error.__traceback__)
        return
    notification_manager.dispatch(Failure(error))


class Failure(Notification):
    """The notification of an error.

    napari's own one for exceptions offers a traceback and a debugger, which a mistyped path does not call for.

    The error itself is not kept: napari keeps notifications, and the error's traceback would keep a closed dock.

    Attributes:
        details: The text that the button unfolds.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(sentence(error), NotificationSeverity.ERROR, ((DETAILS, self._unfold),))
        self.details = details(error) if isinstance(error, CeadError) else _report(error)

    @property
    def source(self) -> str:
        """The source that napari names: the plugin, not its own notification manager."""
        return "napari-cead"

    def _unfold(self, notification: QWidget) -> None:
        # The notification goes with the press of its button; the window below it stays, and owns the dialog.
        DetailsDialog(self.message, self.details, notification.parentWidget().window()).show()


def sentence(error: BaseException) -> str:
    """Return the text of the notification of an error."""
    if isinstance(error, CeadError):
        return str(error)
    words = " ".join(str(error).split())
    what = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return (
        f"napari-cead met something unexpected ({what[:300]}); please report it with what “{DETAILS}” shows"
    )


def _report(error: BaseException) -> str:
    """Return the details of a bug for its report."""
    system = f"napari-cead {__version__}, Python {sys.version.split()[0]}, {platform.platform()}"
    return f"{system}\n\n{details(error)}"


class DetailsDialog(QDialog):
    """Text that can be read, selected and copied, beside a window that stays usable."""

    def __init__(self, title: str, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Details of the error")
        self.resize(*_SIZE)
        self.text = QPlainTextEdit(text)
        self.text.setReadOnly(True)
        self.text.setAccessibleName(title)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.copy = QPushButton("Copy")
        self.copy.clicked.connect(self._copy)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.addButton(self.copy, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)

    def _copy(self, *_: Any) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())
