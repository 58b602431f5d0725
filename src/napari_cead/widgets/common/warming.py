"""Importing the modules of the first run, behind the window."""

from __future__ import annotations

import sys
from importlib import import_module

from qtpy.QtCore import QObject, QTimer

from .jobs import Job

_SLOW = ("pandas", "torch")  # napari needs pandas for its first labels layer, the lesion mask of a patient


def warm_up(parent: QObject) -> Job:
    """Import PyTorch, pandas and the detection in a thread, once the window has been painted.

    The first run finds them imported, or waits for them in its own thread; the window never waits.

    Args:
        parent: Owner of the job.

    Returns:
        The job, which has nothing to do if all is imported.
    """
    job = Job(parent)
    if not all(name in sys.modules for name in _SLOW):
        painted = QTimer(job, singleShot=True, interval=0)
        painted.timeout.connect(lambda: job.start(_import))
        painted.start()
    return job


def _import() -> None:
    for name in _SLOW:
        import_module(name)

    from ...detection import pipeline  # noqa: F401
