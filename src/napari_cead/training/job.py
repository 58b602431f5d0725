"""The job of a training process, and the exception that ends it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ..progress import Stop
from ..runs.events import Listener
from ..runs.training_settings import Hardware, TrainingSettings


class Job(BaseModel):
    """The job of a training process; with several processes it is pickled.

    Not a dataclass: Lightning takes those apart on their way to another process, and refuses frozen ones.

    Attributes:
        settings: The settings that determine the weights.
        store: Path of the slice store.
        run: The run's folder.
        init_from: Model to start from.
        hardware: The hardware to run on.
        listeners: Called with each event by the first process.
        should_stop: Whether to stop.
        requests_since: Requests older than this (seconds since 1970) are ignored.
        loggers: Names of the loggers beside ``log.csv``.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    settings: TrainingSettings
    store: Path
    run: Path
    init_from: str | None = None
    hardware: Hardware = Hardware()
    listeners: tuple[Listener, ...] = ()
    should_stop: Stop | None = None
    requests_since: float = 0.0
    loggers: tuple[str, ...] = ()


class Asked(Exception):
    """A request to end: ``stop`` (this program), ``pause``, ``finish`` or ``discard``."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
