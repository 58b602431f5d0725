"""A training as other processes see it, from before the preparation of its slices until its model can be used."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from ..errors import Cancelled, CeadError, OutputError, RunBusyError, RunError
from ..progress import Progress
from . import requests
from .events import Event, EventFile, Listener
from .launching import save_command
from .registry import forget, remember
from .requests import Discarded, Paused, Requests
from .run_files import BEGUN, ENDED, EVENTS_FILE, check_folder, is_run, remove_run
from .runs import RunFolder

INTERVAL = 0.5
"""Shortest time between two progress events, in seconds."""

_SLACK = 2.0
"""Possible delay in the reported start of a process, in seconds."""


class Relay:
    """Passes events on to several listeners; picklable if they are."""

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        for listener in self.listeners:
            listener(event)


class Session:
    """The communication of a training process; see :func:`attended`.

    Attributes:
        run: The run's folder; its lock is held.
        files: The event files.
        since: Requests older than this (seconds since 1970) were meant for an earlier process.
    """

    def __init__(self, run: RunFolder, files: Sequence[EventFile]) -> None:
        self.run, self.files = run, tuple(files)
        self.since = psutil.Process().create_time() - _SLACK
        self.requests = Requests(run.path, self.since)
        self._before = self._written()

    @property
    def worked(self) -> bool:
        """Whether there was any event yet, here or from the engine."""
        return self._written() != self._before

    def _written(self) -> int:
        try:
            return (self.run.path / EVENTS_FILE).stat().st_size
        except OSError:
            return 0

    def say(self, event: str, **values: Any) -> None:
        """Write an event.

        Raises:
            OutputError: If it cannot be written.
        """
        for file in self.files:
            file({"event": event, **values})

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
def attended(
    run: RunFolder,
    *,
    resume: bool,
    arguments: Sequence[str] | None = None,
    events: str | Path | None = None,
) -> Iterator[Session]:
    """Hold a run's folder and report the training's progress to other processes.

    Args:
        run: The run.
        resume: Whether to continue an existing run.
        arguments: The command line it was started with, for resuming later.
        events: A file for events besides the run's own.

    Raises:
        RunError: If another run or process is in the folder.
        OutputError: If it holds other files, or cannot be written.
    """
    with undone_if_refused(run.path), run.locked():
        if not resume and run.has_checkpoint():
            raise RunError(
                "there is a training run here", file=run.path, mend="add --resume, or choose another --out"
            )
        check_folder(run.path, BEGUN | ENDED if run.exists() else frozenset())
        own = run.path / EVENTS_FILE
        paths = dict.fromkeys([own, *([Path(events)] if events is not None else [])])
        files = [EventFile(path) for path in paths if path == own or not _same(path, own)]
        for file in files[1:]:
            file.check()
        session = Session(run, files)
        if arguments is not None:
            save_command(run.path, arguments)
            remember(run.path)
        try:
            yield session
        except BaseException as error:
            # A failure before any work does not change the state of the run.
            with suppress(OutputError):
                if isinstance(error, KeyboardInterrupt):
                    session.say("paused", by="interrupt")
                elif session.worked and not isinstance(error, Cancelled):
                    session.say("error", message=_sentence(error))
            raise
        finally:
            found = requests.asked(run.path)
            if found is not None and found[0] != "discard":  # that one stays: the requester removes the run
                requests.clear(run.path)


def _sentence(error: BaseException) -> str:
    if isinstance(error, CeadError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; close other programs or use a smaller model"
    return " ".join(f"{type(error).__name__}: {error}".split())


def _same(first: Path, second: Path) -> bool:
    return first.absolute() == second.absolute()
