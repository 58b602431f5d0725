"""A training as other processes see it, from before the preparation of its slices until its model can be used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ..errors import Cancelled, CeadError, OutputError, RunBusyError
from ..progress import Progress
from ..runs import requests
from ..runs.events import EventFile
from ..runs.registry import forget, remember
from ..runs.requests import Discarded, Paused, Requests
from ..runs.run_files import BEGUN, ENDED, EVENTS_FILE, check_folder, is_run, remove_run
from ..runs.run_folder import RunFolder

INTERVAL = 0.5
"""Shortest time between two progress events, in seconds."""

_SLACK = 2.0
"""Possible delay in the reported start of a process, in seconds."""


class Session:
    """The communication of a training process; see :func:`attended`.

    Attributes:
        run: The run's folder; its lock is held.
        since: Requests older than this (seconds since 1970) were meant for an earlier process.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run, self.say = run, run.say
        self.since = psutil.Process().create_time() - _SLACK
        self.requests = Requests(run.path, self.since)

    def progress(self, event: str, then: Progress) -> Progress:
        """Return a callback ``(done, total)`` that writes an event now and then, and calls ``then`` each time."""
        last = 0.0

        def on_progress(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= INTERVAL or done == total:
                last = now
                self.say(event, done=done, total=total)
            then(done, total)

        return on_progress

    def should_stop(self) -> bool:
        """Whether a request ends the work before or after the training itself."""
        return self.requests.pending() is not None

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Turn the ``Cancelled`` of work that called :meth:`should_stop` into the request's exception.

        Raises:
            Paused: On a request to pause, or to keep a model that does not exist yet.
            Discarded: On a request to discard the run.
        """
        try:
            yield
        except Cancelled:
            asked = self.requests.pending()
            if asked == "discard":
                self.say("discarded")
                raise Discarded from None
            if asked is not None:
                self.say("paused", by="request")
                raise Paused from None
            raise


@contextmanager
def undone_if_refused(folder: Path) -> Iterator[None]:
    """Restore a folder if a training is refused before it has begun.

    A folder that was already a run stays: a run started in the background shows its refusal there.
    """
    was_run, there = is_run(folder), folder.is_dir()
    before = {entry.name for entry in folder.iterdir()} if there else set()
    made = [] if there else [parent for parent in folder.absolute().parents if not parent.exists()]
    try:
        yield
    except RunBusyError:  # the folder now belongs to another process
        raise
    except CeadError:
        if not was_run and not RunFolder(folder).exists():
            if folder.is_dir():
                forget(folder)
                with suppress(OutputError):
                    remove_run(folder, kept=before)
            for parent in made:
                with suppress(OSError):
                    parent.rmdir()
        raise


@contextmanager
def attended(run: RunFolder, *, resume: bool, events: str | Path | None = None) -> Iterator[Session]:
    """Hold a run's folder and report the training's progress to other processes.

    Args:
        run: The run.
        resume: Whether to continue an existing run.
        events: A file for events besides the run's own.

    Raises:
        RunError: If another run or process is in the folder.
        OutputError: If it holds other files, or cannot be written.
    """
    own = (run.path / EVENTS_FILE).absolute()
    more = EventFile(events) if events is not None and Path(events).absolute() != own else None
    run.listeners = () if more is None else (more,)
    with undone_if_refused(run.path), run.locked():
        if not resume:
            run.check_new()
        check_folder(run.path, BEGUN | ENDED if run.exists() else frozenset())
        if more is not None:
            more.check()
        remember(run.path)
        try:
            yield Session(run)
        finally:
            found = requests.asked(run.path)
            if found is not None and found[0] != "discard":  # that one stays: the requester removes the run
                requests.clear(run.path)
