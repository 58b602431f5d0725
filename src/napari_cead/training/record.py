"""The records and messages of a training's first process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import why
from ..runs.run_folder import Epoch, RunFolder
from .loggers import LOGGERS, RunLog


class Record:
    """Log, loggers and events of a training; silent in all processes but the first.

    Args:
        folder: The run's folder.
        first: Whether this is the first process.
        loggers: Names of the loggers beside ``log.csv``.
    """

    def __init__(self, folder: RunFolder, first: bool, loggers: Sequence[str] = ()) -> None:
        self.folder, self.first, self.loggers = folder, first, loggers
        self.logs: dict[str, RunLog] = {}

    def open_logs(self, settings: Mapping[str, Any], epoch: int) -> None:
        """Start (or continue) the loggers after the given number of epochs."""
        for name in self.loggers if self.first else ():
            with self._spared(name):
                self.logs[name] = LOGGERS.find(name).open(self.folder.path, settings, epoch)

    def close_logs(self) -> None:
        """Let the loggers write what is left."""
        for name, log in tuple(self.logs.items()):
            with self._spared(name):
                log.close()

    @contextmanager
    def _spared(self, name: str) -> Iterator[None]:
        """Leave a logger out from its first failure on: the training is worth more."""
        try:
            yield
        except Exception as error:  # another program's code may raise anything
            self.logs.pop(name, None)
            self.say("note", message=f"the logger {name} is left out from here on: {why(error)}")

    def say(self, event: str, **values: Any) -> None:
        """Write an event down, and tell the listeners of the run."""
        if self.first:
            self.folder.say(event, **values)

    def epoch(self, history: Sequence[Epoch], **more: Any) -> None:
        """Write the last epoch of a history."""
        if not self.first:
            return
        entry = history[-1]
        self.folder.save_log(history)
        figures = {
            name: value
            for name, value in entry.items()
            if name not in ("epoch", "step") and isinstance(value, int | float)
        }
        for name, log in tuple(self.logs.items()):
            with self._spared(name):
                log.epoch(int(entry["epoch"]), figures)
        self.say("epoch", **entry, **more)
