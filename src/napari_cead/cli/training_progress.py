"""The terminal display of a training, and stopping it from there."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from ..models import NETWORKS
from ..wording import duration
from .heartbeat import Heartbeat


@contextmanager
def graceful(alone: bool) -> Iterator[Callable[[], bool] | None]:
    """Turn the first Ctrl-C (or termination request) into a stop for ``should_stop``; the second one interrupts."""
    if not alone or threading.current_thread() is not threading.main_thread():
        yield None
        return
    asked = threading.Event()

    def ask(signal_number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)


class TrainingProgress:
    """Shows a training: a bar with loss and time left on a terminal, else a line per epoch, and one now and then.

    With several processes this object is sent to the first of them, which shows it; alone, it starts at once.

    Args:
        alone: Whether this is the only process.
        to_come: Trainings that follow; they are taken to last as long as this one.
    """

    def __init__(self, alone: bool = True, to_come: int = 0) -> None:
        self.alone, self.to_come = alone, to_come
        self.bar: Any = None
        self.task: Any = None
        self.heartbeat: Heartbeat | None = None
        self.steps = 0
        self.model = ""

    def __enter__(self) -> TrainingProgress:
        if self.alone and not sys.stderr.isatty():
            self.heartbeat = Heartbeat("training").__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        if self.heartbeat is not None:
            self.heartbeat.__exit__(*error)
            self.heartbeat = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Show an event of the training."""
        kind = event["event"]
        if kind == "note":
            typer.echo(f"note: {event['message']}", err=True)
        if not sys.stderr.isatty():
            self._beat(event)
            if kind == "epoch":
                figures = [figure for family in NETWORKS for figure in family.figures if figure.brief]
                brief = (
                    figure.brief.format(event[figure.name]) for figure in figures if figure.name in event
                )
                used = "".join(f", {words}" for words in brief)
                each, left = event["seconds"] / event["epoch"], event["epochs"] - event["epoch"]
                if left > 0:
                    used += f", about {duration(left * each)} left"
                used += self._of_all(each, left, event["epochs"])
                typer.echo(
                    f"epoch {event['epoch']}/{event['epochs']}: training loss {event['train_loss']:.5g}, "
                    f"validation loss {event['validation_loss']:.5g}, {event['slices_per_second']:.0f} slices/s{used}"
                )
            return
        if kind == "start":
            self._start(event)
        elif kind == "step" and self.bar is not None:
            self.bar.update(
                self.task,
                completed=event["step"],
                loss=f"{event['train_loss']:.5g}",
                description=self.model + self._of_steps(event),
            )
        elif kind == "epoch" and self.bar is not None:
            self.bar.update(
                self.task,
                completed=event["step"],
                epoch=f"{event['epoch']}/{event['epochs']}",
                loss=f"{event['train_loss']:.5g}",
                validation=f"{event['validation_loss']:.5g}",
            )

    def _of_all(self, each: float, left: int, whole: int) -> str:
        """Return the time left of this training and those to come, in words; empty if none is to come.

        Args:
            each: Seconds of a step or an epoch.
            left: How many of them are left.
            whole: How many a training has.
        """
        seconds = each * (left + self.to_come * whole)
        return f", about {duration(seconds)} for all runs" if self.to_come else ""

    def _of_steps(self, event: dict[str, Any]) -> str:
        left = self.steps - event["step"]
        known = event.get("seconds_left") is not None and left > 0
        return self._of_all(event["seconds_left"] / left, left, self.steps) if known else ""

    def _beat(self, event: dict[str, Any]) -> None:
        """Pass the training's progress to the heartbeat."""
        if self.heartbeat is None and event["event"] == "start":  # in a separate process
            self.heartbeat = Heartbeat("training").__enter__()
        if self.heartbeat is None:
            return
        if event["event"] == "start":
            self._begin(event)
            self.heartbeat(event["epoch"] * event["steps_per_epoch"], self.steps, stage=self.model)
        elif event["event"] in ("step", "epoch"):
            stage = self.model + self._of_steps(event)
            self.heartbeat(event["step"], self.steps, event.get("seconds_left"), stage=stage)

    def _begin(self, event: dict[str, Any]) -> None:
        self.steps = event["epochs"] * event["steps_per_epoch"]
        self.model = f"training {event['model']}"

    def _start(self, event: dict[str, Any]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._begin(event)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(
                "epoch {task.fields[epoch]} · loss {task.fields[loss]} · validation {task.fields[validation]}"
            ),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.task = self.bar.add_task(
            self.model,
            total=self.steps,
            completed=event["epoch"] * event["steps_per_epoch"],
            epoch=f"{event['epoch']}/{event['epochs']}",
            loss="–",
            validation="–",
        )
        self.bar.start()
