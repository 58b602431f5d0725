"""The verbs about training runs: list, status, tail, stop, resume, remove."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ParameterError, printable
from ..wording import duration
from .console import confirm, help_without_verb, print_json
from .options import Yes
from .train import make, say_started

if TYPE_CHECKING:
    from ..runs.run_info import RunInfo

runs_app = typer.Typer(help="The running, waiting and finished trainings.", invoke_without_command=True)

Run = Annotated[str, typer.Argument(help="Folder of the run, or its name in the list.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

GLANCE = 0.3
"""Interval in seconds for checking a followed run."""


@runs_app.callback()
def _runs(context: typer.Context) -> None:
    help_without_verb(context)


@runs_app.command("list")
def runs_list(json: Json = False) -> None:
    """List the runs, active ones first."""
    from ..training.manager import RunManager

    infos = RunManager().list()
    if json:
        print_json([_values(info) for info in infos])
        return
    width = max((len(info.name) for info in infos), default=0)
    for info in infos:
        typer.echo(f"{info.name:<{width}}  {info.state:<8}  {_in_a_line(info)}")


@runs_app.command("status")
def runs_status(run: Run, json: Json = False) -> None:
    """Show a run's progress, its losses, and its problems."""
    from ..training.manager import RunManager
    from ..training.training_warnings import advice

    manager = RunManager()
    info = manager.status(run)
    found = advice(manager.history(info.path))
    if json:
        print_json({"schema_version": 1, **_values(info), "advice": found})
        return
    typer.echo(f"{info.name}: {info.state}")
    for label, value in _rows(info).items():
        if value:
            typer.echo(f"  {label:<10}  {value}")
    for sentence in found:
        typer.echo(f"  warning: {sentence}")
    for line in info.last_words:
        typer.echo(f"  | {line}")
    if info.state in ("paused", "crashed"):
        typer.echo(f"continue with: napari-cead runs resume {shlex.quote(str(info.path))}")


@runs_app.command("tail")
def runs_tail(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until the run ends.")] = False,
    lines: Annotated[int, typer.Option("-n", min=0, help="Number of past events to print first.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print the raw events, one per line.")] = False,
) -> None:
    """Print the last events of a run."""
    from ..training.manager import RunManager

    manager = RunManager()
    path = manager.find(run)
    tail = manager.follow(path, last=lines)
    while True:
        at_work = (
            follow and manager.status(path).active
        )  # checked first, so that the last events are still read
        for event in tail.poll():
            typer.echo(_as_json(event) if json else _told(event))
        if not at_work:
            return
        time.sleep(GLANCE)


@runs_app.command("stop")
def runs_stop(
    run: Run,
    finish: Annotated[
        bool, typer.Option("--finish", help="Make a model of the best epoch so far, and install it.")
    ] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Delete the run for good.")] = False,
    yes: Yes = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it has stopped.")] = 60.0,
) -> None:
    """Pause a run, so that it can be resumed later.

    It writes a checkpoint and ends.
    """
    from ..training.manager import RunManager

    if finish and discard:
        raise ParameterError("--finish and --discard exclude each other", hint="choose one of them")
    manager = RunManager()
    path = manager.find(run)
    info: RunInfo | None
    if discard:
        confirm(_question(manager.status(path)), yes)
        info = manager.discard(path, wait=wait)
        if info is None:
            typer.echo(f"{path.name}: discarded")
            return
    else:
        info = (manager.finish if finish else manager.pause)(path, wait=wait)
    if info.active:
        typer.echo(
            f"{path.name}: asked to {info.asked or 'stop'}, still at work; see: napari-cead runs status"
        )
    else:
        typer.echo(f"{path.name}: {info.state}")


@runs_app.command("resume")
def runs_resume(
    run: Run,
    epochs: Annotated[int | None, typer.Option(min=1, help="Total number of epochs.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Continue in the background.")] = False,
) -> None:
    """Resume a run from its last checkpoint, with its original options."""
    from ..training.manager import RunManager

    manager = RunManager()
    if detach:
        say_started(manager.resume(run, epochs=epochs))
        return
    changes = {"resume": True} | ({} if epochs is None else {"epochs": epochs})
    make(manager.recipe(run).model_copy(update=changes))


@runs_app.command("remove")
def runs_remove(
    run: Run,
    with_model: Annotated[
        bool, typer.Option("--with-model", help="Also remove its model from the installed models.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Delete an inactive run for good; its installed model stays."""
    from ..training.manager import RunManager

    manager = RunManager()
    path = manager.find(run)
    info = manager.check_idle(path)
    confirm(_question(info, with_model), yes)
    manager.remove(path, model=with_model)
    typer.echo(f"{path.name}: removed")


def _question(info: RunInfo, with_model: bool = False) -> str:
    """Return the question before a run is deleted."""
    done = f" (epoch {info.epoch} of {info.epochs})" if info.epochs else ""
    model = f" and the installed model {info.installed}" if with_model and info.installed else ""
    return f"Delete the run {info.path}{done}{model} for good?"


def _values(info: RunInfo) -> dict[str, Any]:
    return {**asdict(info), "last_words": list(info.last_words)}


def _in_a_line(info: RunInfo) -> str:
    parts = [info.model, f"epoch {info.epoch}/{info.epochs}" if info.epochs else ""]
    if info.best_loss is not None:
        parts.append(f"validation loss {info.best_loss:.5g} (epoch {info.best_epoch})")
    if info.state == "running" and info.phase != "training":
        parts.append(_phase(info))
    elif info.seconds_left is not None:
        parts.append(f"{duration(info.seconds_left)} left")
    if info.installed:
        parts.append(f"installed as {info.installed}")
    if info.error:
        parts.append(info.error)
    return " · ".join(part for part in parts if part)


def _rows(info: RunInfo) -> dict[str, str]:
    losses = (("training", info.train_loss), ("validation", info.validation_loss), ("best", info.best_loss))
    known = ", ".join(f"{name} {value:.5g}" for name, value in losses if value is not None)
    design = " ".join(part for part in (info.model, info.size and f"(size {info.size})") if part)
    speed = "" if info.slices_per_second is None else f"{info.slices_per_second:.0f} slices/s"
    left = "" if info.seconds_left is None else f", {duration(info.seconds_left)} left"
    return {
        "folder": str(info.path),
        "model": design + (f", fine-tuned from {info.parent}" if info.parent else ""),
        "data": info.data,
        "phase": _phase(info),
        "epoch": f"{info.epoch} of {info.epochs}" + (f", best {info.best_epoch}" if info.best_epoch else ""),
        "loss": known,
        "speed": speed + left,
        "device": info.device,
        "process": f"{info.pid} on {info.host} since {info.started}" if info.pid is not None else "",
        "asked to": info.asked or "",
        "installed": info.installed or "",
        "error": info.error or "",
    }


def _phase(info: RunInfo) -> str:
    if info.phase is None or info.progress is None:
        return info.phase or ""
    return f"{info.phase} {info.progress[0]}/{info.progress[1]}"


def _as_json(event: Mapping[str, Any]) -> str:
    import json

    return json.dumps(event)


_TOLD = (
    "epoch",
    "epochs",
    "step",
    "steps",
    "train_loss",
    "validation_loss",
    "slices_per_second",
    "seconds_left",
)


def _told(event: Mapping[str, Any]) -> str:
    """Return an event as a line of text."""
    kind, more = str(event["event"]), ""
    if kind in ("preparing", "calibrating"):
        more = f"{event.get('done')}/{event.get('total')}"
    elif kind in ("note", "error"):
        more = str(event.get("message"))
    elif kind == "installed":
        more = f"as {event.get('name')}"
    elif kind == "start":
        more = f"{event.get('model')} on {event.get('device')}, {event.get('slices')} slices"
    else:
        told = [(name, event[name]) for name in _TOLD if event.get(name) is not None]
        more = ", ".join(f"{name.replace('_', ' ')} {value:.6g}" for name, value in told)
    when = datetime.fromtimestamp(float(event.get("time") or 0)).strftime("%H:%M:%S")
    line = f"{when}  {kind:<11}  {more}".rstrip()
    return printable(line)
