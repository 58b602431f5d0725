"""What a process of a training is told, and how it is told to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from .events import Listener
from .settings import Hardware, TrainingSettings


class Job(BaseModel):
    """What a process of a training is told; with several processes it is pickled.

    No dataclass: Lightning takes those apart on their way to another process, and refuses frozen ones.

    Attributes:
        settings: What decides the weights.
        store: Path of the slice store.
        run: The run's folder.
        init_from: Model to start from.
        hardware: Where to compute.
        listeners: Called with each event by the first process.
        should_stop: Asked whether to stop.
        requests_since: Requests of others that are older (seconds since 1970) are ignored.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    settings: TrainingSettings
    store: Path
    run: Path
    init_from: str | None = None
    hardware: Hardware = Hardware()
    listeners: tuple[Listener, ...] = ()
    should_stop: Callable[[], bool] | None = None
    requests_since: float = 0.0


class Asked(Exception):
    """Somebody asked for an end: ``stop`` (this program), ``pause``, ``finish`` or ``discard``."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
