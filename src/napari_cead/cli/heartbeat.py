"""Progress of a long command: a bar on a terminal, else plain lines, for a log, a cluster's queue, or a pipe."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import typer

from ..progress import Pace
from ..wording import duration

INTERVAL = 30.0
"""Longest time between two lines, in seconds."""

_SLACK = 1.0
"""Seconds by which a line comes early, so that a busy machine does not make it late."""


class Heartbeat:
    """Prints at least every 30 seconds what a command is doing, its progress, and the time left.

    A thread of its own watches the clock, so that longer steps are not silent either. A command that ends sooner prints
    nothing.

    Args:
        stage: The current stage, for instance ``"calibrating"``.
        say: Takes a line; None: standard error.
        clock: Seconds, never going back.
        wait: Waits the given seconds; returns whether the work has ended meanwhile. None: a real wait.
    """

    def __init__(
        self,
        stage: str,
        say: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self.stage, self._say, self._clock = stage, say or _on_stderr, clock
        self._ended = threading.Event()
        self._wait = self._ended.wait if wait is None else wait
        self._lock = threading.Lock()
        self._began = self._said = clock()
        self._pace = Pace(clock)
        self._done = self._total = 0
        self._left: float | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Heartbeat:
        self._thread = threading.Thread(target=self.beat, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def __call__(
        self, done: int, total: int, left: float | None = None, stage: str | None = None, figures: str = ""
    ) -> None:
        """Record the progress.

        Args:
            done: Steps done.
            total: Total steps.
            left: Seconds left, if the work knows better than its pace.
            stage: The current stage; None: the same as before.
            figures: What a bar says beside itself; lines do not.
        """
        with self._lock:
            self._pace.count(done, total)
            self.stage = stage or self.stage
            self._done, self._total, self._left = done, total, left
        self.tick()

    def beat(self) -> None:
        """Watch the clock until the work has ended."""
        while not self._wait(max(self._said + INTERVAL - _SLACK - self._clock(), 0.01)):
            self.tick()

    def tick(self) -> None:
        """Print the progress, if it is time to."""
        with self._lock:
            now = self._clock()
            if now - self._said < INTERVAL - _SLACK:
                return
            self._said = now
            line = self._line(now)
        with suppress(OSError, ValueError):  # nobody reads it: no reason to end the work
            self._say(line)

    def _line(self, now: float) -> str:
        parts = [f"{self._done}/{self._total}"] if self._total else []
        parts.append(f"{duration(now - self._began)} so far")
        left = self._pace.left if self._left is None else self._left
        if left is not None:
            parts.append(f"about {duration(left)} left")
        return f"{self.stage}: {', '.join(parts)}"


class Bar:
    """A bar on the terminal, called as a `Heartbeat` is.

    Args:
        stage: The current stage.
        stays: Whether it stays when the work has ended.
    """

    def __init__(self, stage: str, *, stays: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=not stays,
        )
        self._bar = self._bars.add_task(stage, total=None, figures="")

    def __enter__(self) -> Bar:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def __call__(
        self, done: int, total: int, left: float | None = None, stage: str | None = None, figures: str = ""
    ) -> None:
        """Show the progress; see :meth:`Heartbeat.__call__`. The bar finds out by itself how long the rest takes."""
        self._bars.update(self._bar, completed=done, total=total, description=stage, figures=figures)


def display(stage: str, *, stays: bool = False) -> Bar | Heartbeat:
    """Return what shows the progress here: a bar on a terminal, else lines now and then."""
    return Bar(stage, stays=stays) if sys.stderr.isatty() else Heartbeat(stage)


def _on_stderr(line: str) -> None:
    typer.echo(line, err=True)
