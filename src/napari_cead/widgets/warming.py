"""Importing the modules of the first run, behind the window."""

from __future__ import annotations

import sys
from importlib import import_module

from qtpy.QtCore import QObject, QTimer

from .jobs import Job

_SLOW = ("pandas", "torch")  # napari needs pandas for its first labels layer, the lesion mask of a patient


def warm_up(parent: QObject) -> None:
    """Import PyTorch, pandas and the detection in a thread, once the window has been painted.

    The first run finds them imported, or waits for them in its own thread; the window never waits.

    Args:
        parent: Owner of the job.
    """
    if all(name in sys.modules for name in _SLOW):
        return
    job = Job(parent)
    painted = QTimer(job, singleShot=True, interval=0)
    painted.timeout.connect(lambda: job.start(_import))
    painted.start()


def _import() -> None:
    for name in _SLOW:
        import_module(name)

    from ..detection import pipeline  # noqa: F401
