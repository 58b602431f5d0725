"""The records and messages of a training's first process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from .events import Listener
from .runs import Epoch, RunFolder


class Record:
    """Log, TensorBoard and events of a training; silent in all processes but the first.

    Args:
        folder: The run's folder.
        listeners: Called with each event.
        first: Whether this is the first process.
    """

    def __init__(self, folder: RunFolder, listeners: Sequence[Listener], first: bool) -> None:
        self.folder, self.listeners, self.first = folder, listeners, first
        self.board: Any = None

    def open_board(self, epoch: int) -> None:
        """Start (or continue) writing for TensorBoard after the given number of epochs."""
        if not self.first:
            return
        with suppress(ImportError):  # optional: the log has the same numbers
            from torch.utils.tensorboard import SummaryWriter

            path = str(self.folder.path / "tensorboard")
            self.board = SummaryWriter(path, purge_step=epoch + 1 if epoch else None)

    def close_board(self) -> None:
        """Flush the data for TensorBoard."""
        if self.board is not None:
            self.board.close()

    def say(self, event: str, **values: Any) -> None:
        """Write an event down, and tell the listeners."""
        if self.first:
            self.folder.say(event, **values)
            for listener in self.listeners:
                listener({"event": event, **values})

    def epoch(self, history: Sequence[Epoch], **more: Any) -> None:
        """Write the last epoch of a history."""
        if not self.first:
            return
        entry = history[-1]
        self.folder.save_log(history)
        if self.board is not None:
            for name, value in entry.items():
                if name not in ("epoch", "step"):
                    self.board.add_scalar(name, value, entry["epoch"])
        self.say("epoch", **entry, **more)
