"""Importing the modules of the first run, behind the window."""

from __future__ import annotations

import sys

from qtpy.QtCore import QObject, QTimer

from .jobs import Job


def warm_up(parent: QObject) -> None:
    """Import PyTorch and the detection in a thread, once the window has been painted.

    The first run finds them imported, or waits for them in its own thread; the window never waits.

    Args:
        parent: Owner of the job.
    """
    if "torch" in sys.modules:
        return
    job = Job(parent)
    painted = QTimer(job, singleShot=True, interval=0)
    painted.timeout.connect(lambda: job.start(_import))
    painted.start()


def _import() -> None:
    import torch  # noqa: F401

    from ..detection import pipeline  # noqa: F401
