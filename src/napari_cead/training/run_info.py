"""The state of a run according to its folder: read at once, without torch, with at most one sentence about a fault."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..json_files import read_json, version_of
from .events import Event, latest
from .launching import saved_command
from .requests import Asked, asked
from .run_files import (
    EVENTS_FILE,
    LAUNCH_FILE,
    OUTPUT_FILE,
    OWNER_FILE,
    SCHEMA_VERSION,
    STARTED_IT,
)
from .run_lock import Owner, is_held

State = Literal["starting", "running", "paused", "finished", "crashed", "damaged"]

ACTIVE: tuple[State, ...] = ("starting", "running")
"""States in which a process is active in the folder, or soon will be."""

ENDS = ("paused", "discarded", "done", "error")
"""Events after which a process ends."""

KINDS = ("preparing", "start", "step", "epoch", "finish", "calibrating", "installed", *ENDS)

LAST_WORDS = 20
"""Number of output lines kept from a crashed process."""

SEND_OFF = 300.0
"""Time that a process started on another machine may take before it is active here, in seconds."""


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
    def can_resume(self) -> bool:
        """Whether it can be resumed; a finished one with more epochs."""
        return self.state in ("paused", "crashed", "finished")


def worker(run: Path) -> Owner | None:
    """Return the process that is active in a run's folder, None if there is none."""
    owner = Owner.read(run / OWNER_FILE)
    if owner is None:
        return None
    held = is_held(run)
    if held is None:  # the lock cannot be read
        return owner if not owner.here or owner.alive() else None
    return owner if held else None


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


def look(run: Path) -> RunInfo:
    """Return the state of a run according to its folder."""
    info = _look(run.absolute())
    # A process may have started between two reads: a run that looks dead is read twice.
    return _look(info.path) if info.state == "crashed" else info


def _look(run: Path) -> RunInfo:
    owner = worker(run)  # first: everything read after it is at least as new
    events = latest(run / EVENTS_FILE, KINDS)
    by_kind = {event["event"]: event for event in events}
    last = events[-1] if events else {}
    plan, problem = _plan(run)
    launched = Owner.read(run / LAUNCH_FILE)
    state = _state(run, owner, launched, last)
    if problem is None and state not in ACTIVE:
        problem = _damage(run)
    if problem is not None and state not in ACTIVE:
        state = "damaged"
    history = read_history(run)
    try:
        facts = _facts(by_kind, history, plan)
        phase = _phase(last)
    except (
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
        OverflowError,
    ):  # valid JSON that we did not write
        facts, phase = _facts({}, [], {}), _phase({})
        if state not in ACTIVE:
            state = "damaged"
            problem = problem or f"{run}: the files of the run are damaged; start again in another folder"
    if state in ACTIVE:
        at_work = owner or launched
        assert at_work is not None
        request = asked(run)
        facts |= {
            "pid": at_work.pid,
            "host": at_work.host,
            "started": at_work.started,
            "asked": None if request is None else request[0],
        }
    if state == "running":
        facts |= phase
    else:
        facts["seconds_left"] = None
    if state == "crashed":
        facts["last_words"] = _last_words(run)
        facts["error"] = _error(facts["last_words"], last)
    elif state == "damaged":
        facts["error"] = problem
    return RunInfo(path=run, name=run.name, state=state, **facts)


def _state(run: Path, owner: Owner | None, launched: Owner | None, last: Event) -> State:
    if owner is not None:
        return "running"
    kind, when = last.get("event"), float(last.get("time") or 0)
    since = launched.noted if launched is not None else 0.0
    if kind in ENDS and when >= since:
        return {"paused": "paused", "discarded": "paused", "done": "finished"}.get(kind, "crashed")  # type: ignore[return-value]
    if launched is not None and when < since:
        if launched.alive() or (not launched.here and time.time() - since < SEND_OFF):
            return "starting"
        return "crashed"
    if kind is not None:
        if kind == "finish" and saved_command(run) is None:  # trained by a program whose last event is this
            return "finished"
        return "crashed"
    if (run / OWNER_FILE).exists():  # the process had no chance to remove it
        return "crashed"
    return "finished" if (run / "model" / "model.json").is_file() else "paused"


def _facts(
    by_kind: Mapping[str, Event], history: list[dict[str, float | None]], plan: Mapping[str, Any]
) -> dict[str, Any]:
    settings, start = plan.get("settings", {}), by_kind.get("start", {})
    parents = plan.get("parents") or [{}]
    entry: Mapping[str, Any] = history[-1] if history else {}
    best: Mapping[str, Any] = min(
        (each for each in history if each.get("validation_loss") is not None),
        key=lambda each: each["validation_loss"] or 0.0,
        default={},
    )
    newest = max(
        (by_kind.get(kind, {}) for kind in ("step", "epoch")), key=lambda event: event.get("time") or 0
    )
    return {
        "model": settings.get("spec", {}).get("name", ""),
        "size": settings.get("spec", {}).get("size", ""),
        "parent": parents[0].get("name"),
        "data": str(plan.get("data", "")),
        "epoch": int(entry.get("epoch") or 0),
        "epochs": int(start.get("epochs") or settings.get("epochs") or 0),
        "best_epoch": int(best.get("epoch") or 0),
        "best_loss": best.get("validation_loss"),
        "train_loss": entry.get("train_loss"),
        "validation_loss": entry.get("validation_loss"),
        "slices_per_second": newest.get("slices_per_second"),
        "seconds_left": by_kind.get("step", {}).get("seconds_left"),
        "started": plan.get("created", ""),
        "updated": max((event.get("time") or 0.0 for event in by_kind.values()), default=None),
        "device": str(start.get("device", "")),
        "installed": by_kind.get("installed", {}).get("name"),
    }


def _phase(last: Event) -> dict[str, Any]:
    kind = last.get("event")
    if kind in ("preparing", "calibrating"):
        return {"phase": kind, "progress": (int(last.get("done", 0)), int(last.get("total", 0)))}
    if kind in ("finish", "installed"):
        return {"phase": "calibrating"}
    return {"phase": "training" if kind in ("start", "step", "epoch") else None}


def _plan(run: Path) -> tuple[dict[str, Any], str | None]:
    """Return the plan of a run, and its fault."""
    file = run / "run.json"
    try:
        plan = read_json(file)
        if (version := version_of(plan)) != SCHEMA_VERSION:
            return {}, f"{file}: the run has {_another(version)}"
        if not isinstance(plan["settings"]["spec"]["name"], str):
            raise TypeError
    except FileNotFoundError:
        return {}, None  # it has not got that far
    except (OSError, ValueError, KeyError, TypeError):
        return {}, f"{file}: the description of the run is damaged; start again in another folder"
    return plan, None


def _damage(run: Path) -> str | None:
    """Return the fault of the last checkpoint that shows without reading it."""
    file = run / "checkpoint.json"
    try:
        pointer = read_json(file)
        if (version := version_of(pointer)) != SCHEMA_VERSION:
            return f"{file}: the checkpoint has {_another(version)}"
        names = [str(name) for name in pointer["sha256"]]
        if pointer["last"] not in names:
            raise KeyError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return f"{file}: the checkpoint is damaged; restore the folder from a backup, or start again"
    for name in names:
        if not (run / Path(name).name).is_file():
            missing = "this part of the checkpoint is missing"
            return f"{run / name}: {missing}; restore the folder from a backup, or start again"
    return None


def _another(version: int | str) -> str:
    return f"schema version {version}, this program reads {SCHEMA_VERSION}; {STARTED_IT}"


def _last_words(run: Path) -> tuple[str, ...]:
    return tuple(read_output(run, LAST_WORDS))


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


def _error(words: tuple[str, ...], last: Event) -> str:
    if last.get("event") == "error":
        return str(last.get("message"))
    for line in reversed(words):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    if words and "Error" in words[-1]:  # the end of a traceback
        return words[-1]
    return "the process stopped without an error message: it was killed, ran out of memory, or the computer shut down"


def _float(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None
