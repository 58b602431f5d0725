"""The long work of the Explore dock: one piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal

from ..common.jobs import Job


class Work(QObject):
    """Runs, opening, preparing, exports and undo: whatever blocks the dock while a thread does it.

    Signals:
        began: Emitted with its stage when work has begun.

    Attributes:
        job: Its thread, with the functions that report progress and tell whether to stop.
        changes_session: Whether the current work changes the session.
        gives_way: Whether preparing the scan may take the place of the current work, whose result would be void by it.
        can_cancel: Whether the current work stops when it is asked to; what takes a moment goes on to its end.
        first: Takes the work and returns what is done in its place: what has to come first, and the work.

    Args:
        parent: Owner.
    """

    began = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.job = Job(self)
        self.changes_session, self.can_cancel, self.gives_way = False, True, False
        self._cancelled = False
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
        can_cancel: bool = True,
        gives_way: bool = False,
    ) -> bool:
        """Do ``work`` in a thread, then ``on_done`` with its result; a warning if something is running.

        Args:
            work: The work.
            on_done: Called on the main thread with the result.
            stage: What is done, in a few words.
            changes_session: Whether it changes the session.
            can_cancel: Whether it asks ``job.stopping`` or `cancelled` on its way.
            gives_way: Whether preparing the scan may take its place.

        Returns:
            Whether it was started.
        """
        if self.running:
            show_warning("Something is still running: wait for it or press Cancel.")
            return False
        self.changes_session, self.can_cancel, self._cancelled = changes_session, can_cancel, False
        self.gives_way = gives_way
        self.job.start(self.first(work), on_done)
        self.began.emit(stage)
        return True

    def cancel(self) -> None:
        """Stop the current work because the user asked for it."""
        self._cancelled = True
        self.job.stop()

    def cancelled(self) -> bool:
        """Whether the user asked the current work to stop; that another patient was opened is no reason to."""
        return self._cancelled

    def _ended(self) -> None:
        self.changes_session = self.gives_way = False
