"""A logger: figures of a training for another program."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ...runs.run_files import LOGS


class RunLog(Protocol):
    """The open log of one training."""

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        """Log the figures of an epoch, counted from 1."""

    def close(self) -> None:
        """Write what is left."""


class Logger:
    """A kind of log. A subclass sets the attributes and overrides :meth:`open`.

    A logger writes into its :meth:`folder` and opens no connection unless the user configured its program to.

    Attributes:
        name: Its name for ``--loggers``.
        package: The package that it needs.
        extra: Extra of this package that installs it.
    """

    name: str
    package: str
    extra: str

    def missing(self) -> bool:
        """Whether the package is not installed."""
        return find_spec(self.package) is None

    def folder(self, run: Path) -> Path:
        """Return the logger's folder inside a run's, created."""
        place = run / LOGS / self.name
        place.mkdir(parents=True, exist_ok=True)
        return place

    def open(self, run: Path, settings: Mapping[str, Any], epochs_done: int) -> RunLog:
        """Start, or continue, the log of a training.

        Args:
            run: The run's folder. Its name is all of it that the log may show.
            settings: The training settings, as in ``run.json``.
            epochs_done: Whole epochs done before.
        """
        raise NotImplementedError
