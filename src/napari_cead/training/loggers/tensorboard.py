"""TensorBoard: event files in ``RUN/tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._logger import Logger, RunLog


class _Board:
    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name, value, number)

    def close(self) -> None:
        self.writer.close()


class TensorBoard(Logger):
    """TensorBoard: ``tensorboard --logdir RUN``."""

    name, package, extra = "tensorboard", "tensorboard", "train"

    def open(self, run: Path, settings: Mapping[str, Any], epochs_done: int) -> RunLog:
        """Start, or continue, the log of a training."""
        from torch.utils.tensorboard import SummaryWriter

        purge = epochs_done + 1 if epochs_done else None
        return _Board(SummaryWriter(str(run / "tensorboard"), purge_step=purge))


OFFERED = (TensorBoard(),)
