"""The state of a run: one file, which only the process that trains replaces, and every event changes.

Read at once, without torch. A process that was killed could not write that it ended: the number and the start time in
the file tell whether it still runs.
"""

from __future__ import annotations

import csv
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import TypeAdapter, ValidationError

from ..atomic import to_json, write_text
from ..errors import RunDamagedError
from ..json_files import read_json, version_of
from .events import Event
from .requests import Asked, asked
from .run_files import (
    OUTPUT_FILE,
    PLANS,
    SCHEMA_VERSION,
    STATUS_FILE,
    read_plan,
    read_pointer,
)

State = Literal["starting", "running", "paused", "finished", "crashed", "damaged"]

ACTIVE: tuple[State, ...] = ("starting", "running")
"""States in which a process is active in the folder, or soon will be."""

CLOCK = 3.0
"""Tolerance for a process's start time, in seconds: the clock may be set while it runs."""

SILENCE = 300.0
"""Seconds without news after which a process of another machine, which cannot be asked, counts as gone."""

LAST_WORDS = 20
"""Number of output lines kept from a crashed process."""

PHASES = {"preparing": "preparing"} | dict.fromkeys(("start", "step", "epoch"), "training")
PHASES |= dict.fromkeys(("finish", "calibrating", "installed"), "calibrating")
"""The phase that an event belongs to."""

ENDS: dict[str, State] = {
    "paused": "paused",
    "discarded": "paused",
    "done": "finished",
    "error": "crashed",
}
"""The state after the last event of a process."""

_LOSSES = ("train_loss", "validation_loss", "best_epoch", "best_loss")

FIGURES = {
    "start": ("model", "size", "data", "device", "epoch", "epochs", *_LOSSES),
    "step": ("slices_per_second", "seconds_left"),
    "epoch": ("epoch", "epochs", "slices_per_second", *_LOSSES),
}
"""What a status takes from an event."""


@dataclass(frozen=True)
class RunInfo:
    """The current state of a run.

    Attributes:
        path: Its folder.
        name: The folder's name.
        state: ``"starting"`` (its process has not begun to work), ``"running"``, ``"paused"`` (can be resumed),
            ``"finished"`` (there is a model), ``"crashed"`` (the process ended without a request), ``"damaged"``
            (its files were changed or lost).
        model: The design; empty if not known yet.
        size: Its size.
        parent: The model it is fine-tuned from; None: from scratch.
        data: The slices it learns from.
        phase: While running: ``"preparing"``, ``"training"`` or ``"calibrating"``.
        progress: While preparing or calibrating: (steps done, total steps).
        epoch: Complete epochs done.
        epochs: Epochs planned.
        best_epoch: The epoch with the smallest validation loss; 0: none yet.
        best_loss: That loss.
        train_loss: Training loss of the last epoch.
        validation_loss: Validation loss of the last epoch.
        slices_per_second: The last measured speed.
        seconds_left: Last estimate of the time until the last epoch; None if it does not run.
        started: When it last started to work, in UTC.
        updated: Time of its last event, seconds since 1970.
        device: The device it runs on.
        pid: The active process, None if there is none.
        process_started: When that process began, seconds since 1970; None if unknown.
        host: The machine of that process.
        asked: A request to the process that is not done yet.
        installed: Name of the finished model in the list of models; None: none was installed, or it was removed.
        error: The fault, in one sentence.
        last_words: The last output lines of a crashed process.
    """

    path: Path
    name: str
    state: State
    model: str = ""
    size: str = ""
    parent: str | None = None
    data: str = ""
    phase: str | None = None
    progress: tuple[int, int] | None = None
    epoch: int = 0
    epochs: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    slices_per_second: float | None = None
    seconds_left: float | None = None
    started: str = ""
    updated: float | None = None
    device: str = ""
    pid: int | None = None
    process_started: float | None = None
    host: str | None = None
    asked: Asked | None = None
    installed: str | None = None
    error: str | None = None
    last_words: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        """Whether a process is active in the folder, or soon will be."""
        return self.state in ACTIVE

    @property
    def process(self) -> str:
        """The process, in words."""
        return f"process {self.pid} on {self.host} (since {self.started})"

    def by(self, pid: int, state: State) -> RunInfo:
        """Return the state with a process of this machine that is active from now on."""
        began: float | None = None
        with suppress(psutil.Error):
            began = psutil.Process(pid).create_time()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(
            self.ended(state), pid=pid, process_started=began, host=socket.gethostname(), started=now
        )

    def ended(self, state: State) -> RunInfo:
        """Return the state without a process."""
        nothing = dict.fromkeys(
            ("phase", "progress", "seconds_left", "pid", "process_started", "host", "error")
        )
        return replace(self, state=state, **nothing)  # type: ignore[arg-type]

    def after(self, event: Event) -> RunInfo:
        """Return the state after an event."""
        kind = event["event"]
        info = self if kind not in ENDS else self.ended(ENDS[kind])
        changes = {name: event[name] for name in FIGURES.get(kind, ()) if name in event}
        if kind in PHASES:
            progress = (event["done"], event["total"]) if "total" in event else None
            changes |= {"state": "running", "phase": PHASES[kind], "progress": progress}
        if kind in ("start", "installed"):
            changes["installed"] = event.get("name")
        elif kind == "error":
            changes["error"] = event.get("message")
        return replace(info, updated=event["time"], **changes)


_READ = TypeAdapter(RunInfo)
_UNWRITTEN = ("path", "name", "asked", "last_words")


def read_status(run: Path) -> RunInfo | None:
    """Return the state that was last written; None if there is none that can be read."""
    try:
        values = read_json(run / STATUS_FILE)
        if version_of(values) != SCHEMA_VERSION:
            return None
        return _READ.validate_python(values | {"path": run, "name": run.absolute().name})
    except (OSError, ValueError, ValidationError, TypeError):
        return None


def write_status(info: RunInfo) -> None:
    """Write the state of a run.

    Raises:
        OutputError: If it cannot be written.
    """
    values = {name: value for name, value in asdict(info).items() if name not in _UNWRITTEN}
    write_text(info.path / STATUS_FILE, to_json({"schema_version": SCHEMA_VERSION, **values}))


def process_of(info: RunInfo) -> psutil.Process | None:
    """Return the process of a run if it still runs on this machine; another one with its number does not count."""
    if info.pid is None or info.host != socket.gethostname():
        return None
    try:
        process = psutil.Process(info.pid)
        began = process.create_time() if info.process_started is None else info.process_started
        same = abs(process.create_time() - began) <= CLOCK
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, ValueError, OverflowError):  # the last two: a number that no process has
        return None


def _alive(info: RunInfo) -> bool:
    """Whether the process of a run still runs; of another machine, whether it was heard of lately."""
    if info.pid is None or info.host == socket.gethostname():
        return process_of(info) is not None
    with suppress(OSError):
        return time.time() - (info.path / STATUS_FILE).stat().st_mtime < SILENCE
    return False


def look(run: Path) -> RunInfo:
    """Return the state of a run according to its folder."""
    info = _look(run.absolute())
    # Its process may have ended, as it should, between two looks: a run that looks dead is read twice.
    return _look(info.path) if info.state == "crashed" else info


def _look(run: Path) -> RunInfo:
    info = read_status(run)
    if info is not None and info.active:
        if _alive(info):
            request = asked(run)
            return replace(info, asked=None if request is None else request[0])
        info = info.ended("crashed")
    try:
        plan, _ = read_plan(run), read_pointer(run)
        info = info or _without_status(run, plan or {})
    except RunDamagedError as error:
        return replace(info or RunInfo(run, run.name, "damaged"), state="damaged", error=str(error))
    if info.state != "crashed":
        return info
    words = tuple(read_output(run, LAST_WORDS))
    return replace(info, last_words=words, error=info.error or _error(words))


def _without_status(run: Path, plan: Mapping[str, Any]) -> RunInfo:
    """Return the state of a run of an earlier version, which wrote no status.

    Raises:
        RunDamagedError: If its plan is not what was written.
    """
    history = read_history(run)
    last = history[-1] if history else {}
    known = [entry for entry in history if entry.get("validation_loss") is not None]
    best = min(known, key=lambda entry: entry["validation_loss"] or 0.0, default={})
    finished = (run / "model" / "model.json").is_file()
    settings = plan.get("settings", {"spec": {"name": ""}})
    values = {
        "path": run,
        "name": run.name,
        "state": "finished" if finished else "paused",
        "model": settings["spec"]["name"],
        "size": settings["spec"].get("size", ""),
        "data": plan.get("data", ""),
        "epoch": last.get("epoch") or 0,
        "epochs": settings.get("epochs", 0),
        "best_epoch": best.get("epoch") or 0,
        "best_loss": best.get("validation_loss"),
        "train_loss": last.get("train_loss"),
        "validation_loss": last.get("validation_loss"),
        "started": plan.get("created", ""),
        "installed": run.name if finished else None,
    }
    try:
        parents = plan.get("parents") or [{"name": None}]
        return _READ.validate_python(values | {"parent": parents[0]["name"]})
    except (ValidationError, LookupError, TypeError):
        raise PLANS.damaged(run / "run.json") from None


def read_history(run: str | Path) -> list[dict[str, float | None]]:
    """Return the epochs of a run from its log, in order; empty if there are none."""
    try:
        with (Path(run) / "log.csv").open(encoding="utf-8", newline="") as stream:
            return [
                {name: _float(value) for name, value in line.items() if name is not None}
                for line in csv.DictReader(stream)
            ]
    except (OSError, ValueError, csv.Error):
        return []


def read_output(run: Path, lines: int) -> list[str]:
    """Return the last output lines of a process started in the background."""
    try:
        with (run / OUTPUT_FILE).open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - 64_000))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-max(0, lines) :] if lines else []


def _error(words: tuple[str, ...]) -> str:
    for line in reversed(words):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    if words and "Error" in words[-1]:  # the end of a traceback
        return words[-1]
    return "the process stopped without an error message: it was killed, ran out of memory, or the computer shut down"


def _float(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except (ValueError, TypeError):
        return None
