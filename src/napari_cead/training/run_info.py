"""What a run's folder says about it: one look, no torch, and never more than one sentence for what is wrong."""

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
"""States in which a process works in the folder, or soon will."""

ENDS = ("paused", "discarded", "done", "error")
"""Events after which a process ends."""

KINDS = ("preparing", "start", "step", "epoch", "finish", "calibrating", "installed", *ENDS)

LAST_WORDS = 20
"""Lines of a crashed process's output that are kept."""

SEND_OFF = 300.0
"""Seconds that a process started on another machine may take before it works here."""


@dataclass(frozen=True)
class RunInfo:
    """A run as it is now.

    Attributes:
        path: Its folder.
        name: The folder's name.
        state: ``"starting"`` (its process has not begun to work), ``"running"``, ``"paused"`` (can go on),
            ``"finished"`` (there is a model), ``"crashed"`` (the process ended without being asked to), ``"damaged"``
            (its files are not what was written).
        model: The design; empty if not known yet.
        size: Its size.
        parent: The model it is fine-tuned from, None: from scratch.
        data: The slices it learns from.
        phase: While running: ``"preparing"``, ``"training"`` or ``"calibrating"``.
        progress: While preparing or calibrating: (steps done, steps in all).
        epoch: Whole epochs done.
        epochs: Epochs planned.
        best_epoch: The epoch with the smallest validation loss; 0: none yet.
        best_loss: That loss.
        train_loss: Of the last epoch.
        validation_loss: Of the last epoch.
        slices_per_second: As last measured.
        seconds_left: Until the last epoch, as last estimated; None where it does not run.
        started: When it last began to work, in UTC.
        updated: When it last said something, seconds since 1970.
        device: Where it computes.
        pid: The process at work, None if there is none.
        host: The machine of that process.
        asked: What the process has been asked for and has not done yet.
        installed: Name of the finished model in the list of models; None: none was installed, or it is gone.
        error: What went wrong, in one sentence.
        last_words: The last lines a crashed process wrote.
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
        """Whether a process works in the folder, or soon will."""
        return self.state in ACTIVE

    @property
    def can_resume(self) -> bool:
        """Whether it can go on; a finished one with more epochs."""
        return self.state in ("paused", "crashed", "finished")


def worker(run: Path) -> Owner | None:
    """Return the process that works in a run's folder now, None if there is none."""
    owner = Owner.read(run / OWNER_FILE)
    if owner is None:
        return None
    held = is_held(run)
    if held is None:  # no lock to go by
        return owner if not owner.here or owner.alive() else None
    return owner if held else None


def read_history(run: str | Path) -> list[dict[str, float | None]]:
    """Return the epochs of a run from its log, in order; empty where there are none."""
    try:
        with (Path(run) / "log.csv").open(encoding="utf-8", newline="") as stream:
            return [
                {name: _float(value) for name, value in line.items() if name is not None}
                for line in csv.DictReader(stream)
            ]
    except (OSError, ValueError, csv.Error):
        return []


def look(run: Path) -> RunInfo:
    """Return what a run's folder says."""
    info = _look(run.absolute())
    # Between two glances a process may have begun to work: what looks dead is looked at twice.
    return _look(info.path) if info.state == "crashed" else info


def _look(run: Path) -> RunInfo:
    owner = worker(run)  # first: what is read after it is at least as new
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
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError):  # JSON, but nothing we wrote
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
        if kind == "finish" and saved_command(run) is None:  # trained by a program that ends with that
            return "finished"
        return "crashed"
    if (run / OWNER_FILE).exists():  # the process did not get to remove it
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
    """Return what a run was asked to do, and what is wrong with that."""
    file = run / "run.json"
    try:
        plan = read_json(file)
        if (version := version_of(plan)) != SCHEMA_VERSION:
            return {}, f"{file}: the run has {_another(version)}"
        if not isinstance(plan["settings"]["spec"]["name"], str):
            raise TypeError
    except FileNotFoundError:
        return {}, None  # it has not got so far
    except (OSError, ValueError, KeyError, TypeError):
        return {}, f"{file}: the description of the run is damaged; start again in another folder"
    return plan, None


def _damage(run: Path) -> str | None:
    """Return what is wrong with the last checkpoint, as far as that shows without reading it."""
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
    """Return the last lines that a process started in the background wrote."""
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
    return (
        "the process ended without a word: it was killed, ran out of memory, or the machine was switched off"
    )


def _float(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None
