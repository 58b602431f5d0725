"""The long work of the Explore dock: one piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal

from .jobs import Job


class Work(QObject):
    """Runs, opening, preparing, exports and undo: whatever blocks the dock while a thread does it.

    Signals:
        began: Emitted with its stage when work has begun.

    Attributes:
        job: Its thread, with the functions that report progress and tell whether to stop.
        changes_session: Whether the current work changes the session.
        first: Takes the work and returns what is done in its place: what has to come first, and the work.

    Args:
        parent: Owner.
    """

    began = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.job = Job(self)
        self.changes_session = False
        self.first: Callable[[Callable[[], Any]], Callable[[], Any]] = lambda work: work
        self.job.ended.connect(self._ended)

    @property
    def running(self) -> bool:
        """Whether work is running."""
        return self.job.running

    def start(
        self,
        work: Callable[[], Any],
        on_done: Callable[[Any], None] | None = None,
        *,
        stage: str,
        changes_session: bool = True,
    ) -> bool:
        """Do ``work`` in a thread, then ``on_done`` with its result; a warning if something is running.

        Args:
            work: The work.
            on_done: Called on the main thread with the result.
            stage: What is done, in a few words.
            changes_session: Whether it changes the session.

        Returns:
            Whether it was started.
        """
        if self.running or not self.job.start(self.first(work), on_done):
            show_warning("Something is still running: wait for it or press Cancel.")
            return False
        self.changes_session = changes_session
        self.began.emit(stage)
        return True

    def _ended(self) -> None:
        self.changes_session = False
