"""Importing what the first run needs, behind the window."""

from __future__ import annotations

import sys

from qtpy.QtCore import QObject, QTimer

from .jobs import Job


def warm_up(parent: QObject) -> None:
    """Import PyTorch and what detects in a thread, once the window has been painted.

    The first run finds them there, or waits for them in its own thread: never the window.

    Args:
        parent: Who needs them soon.
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
