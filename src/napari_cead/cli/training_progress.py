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
from .heartbeat import Bar, Heartbeat, display


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
        self.shown: Bar | Heartbeat | None = None
        self.steps = self.epochs = 0
        self.model = ""
        self.losses = {"loss": "–", "validation": "–"}

    def __enter__(self) -> TrainingProgress:
        if self.alone:
            self.shown = display("training", stays=True).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown is not None:
            self.shown.__exit__(*error)
            self.shown = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Show an event of the training."""
        kind = event["event"]
        if kind == "note":
            typer.echo(f"note: {event['message']}", err=True)
        elif kind == "start":
            if self.shown is None:  # in a separate process
                self.shown = display("training", stays=True).__enter__()
            self.epochs = event["epochs"]
            self.steps = self.epochs * event["steps_per_epoch"]
            self.model = f"training {event['model']}"
            self._show(event, event["epoch"] * event["steps_per_epoch"])
        elif kind in ("step", "epoch"):
            self._show(event, event["step"])
            if kind == "epoch" and not sys.stderr.isatty():
                typer.echo(self._line(event))

    def _show(self, event: dict[str, Any], done: int) -> None:
        if self.shown is None:
            return
        for name, value in (("loss", event.get("train_loss")), ("validation", event.get("validation_loss"))):
            if value is not None:
                self.losses[name] = f"{value:.5g}"
        left, of_all = event.get("seconds_left"), ""
        if left is not None and done < self.steps:
            of_all = self._of_all(left / (self.steps - done), self.steps - done, self.steps)
        figures = " · ".join(f"{name} {value}" for name, value in self.losses.items())
        epoch = f"epoch {event['epoch']}/{self.epochs} · " if "epoch" in event else ""
        self.shown(done, self.steps, left, stage=self.model + of_all, figures=epoch + figures)

    def _line(self, event: dict[str, Any]) -> str:
        """Return a finished epoch as a line."""
        each, left = event["seconds"] / event["epoch"], event["epochs"] - event["epoch"]
        parts = [
            f"epoch {event['epoch']}/{event['epochs']}: training loss {event['train_loss']:.5g}",
            f"validation loss {event['validation_loss']:.5g}",
            f"{event['slices_per_second']:.0f} slices/s",
        ]
        figures = [figure for family in NETWORKS for figure in family.figures if figure.brief]
        parts += [figure.brief.format(event[figure.name]) for figure in figures if figure.name in event]
        if left > 0:
            parts.append(f"about {duration(left * each)} left")
        return ", ".join(parts) + self._of_all(each, left, event["epochs"])

    def _of_all(self, each: float, left: int, whole: int) -> str:
        """Return the time left of this training and those to come, in words; empty if none is to come.

        Args:
            each: Seconds of a step or an epoch.
            left: How many of them are left.
            whole: How many a training has.
        """
        seconds = each * (left + self.to_come * whole)
        return f", about {duration(seconds)} for all runs" if self.to_come else ""
