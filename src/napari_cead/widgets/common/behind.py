"""Importing behind the window: slow imports run in a thread while the window keeps drawing."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from importlib import import_module

from qtpy.QtCore import QEventLoop, QThread
from qtpy.QtWidgets import QApplication

DRAW_EVERY_S = 0.01


def import_behind(*modules: str) -> None:
    """Import modules without Qt in a thread, and return when they are imported.

    The window is drawn meanwhile but takes no clicks: the user is waiting for the dock. Without a window, or if all are
    imported already, nothing happens. A module that fails does so again, with its error, where it is used.

    Args:
        modules: Full names.
    """
    application = QApplication.instance()
    missing = [name for name in modules if name not in sys.modules]
    if application is None or not missing or QThread.currentThread() is not application.thread():
        return

    def work() -> None:
        for name in missing:
            with suppress(Exception):
                import_module(name)

    thread = threading.Thread(target=work, name="napari-cead imports")
    thread.start()
    while thread.is_alive():
        application.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
        thread.join(DRAW_EVERY_S)
