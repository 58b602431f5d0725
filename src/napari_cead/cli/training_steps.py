"""One training of the command line: its watched folder, the training itself, and the finished model."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import Cancelled, OutputError
from .console import progress
from .training_progress import TrainingProgress, graceful

if TYPE_CHECKING:
    from ..training import Hardware, SliceStore, TrainingSettings
    from ..training.session import Session


@dataclass(frozen=True)
class Orders:
    """The options shared by all trainings of a call, apart from their settings.

    Attributes:
        init_from: Model to fine-tune.
        resume: Whether to continue an existing run.
        hardware: The hardware to run on.
        events: A file for events besides the run's own.
        name: Name of the finished model.
        half: Whether to store it in half precision.
        install: Whether to add it to the installed models.
    """

    init_from: str | None
    resume: bool
    hardware: Hardware
    events: Path | None
    name: str | None
    half: bool
    install: bool


@contextmanager
def watched(run: Path, orders: Orders, arguments: Sequence[str] = ()) -> Iterator[Session | None]:
    """Hold a run's folder in the launcher's first process; see :func:`~napari_cead.training.session.attended`."""
    from ..training.engine import rank_of_launcher
    from ..training.runs import RunFolder
    from ..training.session import attended

    nothing = orders.resume and not run.is_dir() and not run.parent.is_dir()
    if rank_of_launcher() or nothing:  # the engine then reports the problem
        yield None
        return
    resume = orders.resume and run.is_dir()
    with attended(RunFolder(run), resume=resume, arguments=arguments, events=orders.events) as session:
        yield session


FEW = 5
"""With fewer validation patients, chance decides about the best epoch and the threshold."""


def finished(settings: TrainingSettings, store: SliceStore, run: Path, orders: Orders) -> bool:
    """Print that nothing is left to do for a run, if that is so."""
    from ..evaluation.finishing import is_finished

    done = is_finished(run, settings, store, half=orders.half, installed=orders.install)
    if done:
        typer.echo(f"{run}: finished before")
    return done


def train_and_install(
    settings: TrainingSettings, store: SliceStore, run: Path, orders: Orders, session: Session | None
) -> Path | None:
    """Train, calibrate and install a model.

    Returns:
        The model's folder; None in a process that only helped another one.
    """
    from ..evaluation.finishing import finish, kept_settings
    from ..training.engine import rank_of_launcher
    from ..training.engine import train as run_training
    from ..training.events import EventFile
    from ..training.session import Relay
    from ..zoo import load_card

    hardware = orders.hardware
    resume = orders.resume and (run.is_dir() or not run.parent.is_dir())  # else it has not begun
    files: Sequence[EventFile] = () if session is None else session.files
    if session is None and orders.events is not None:
        files = [EventFile(orders.events)]
    alone = hardware.devices * hardware.num_nodes == 1
    with TrainingProgress(alone) as shown, graceful(alone) as should_stop:
        try:
            run_training(
                settings,
                store,
                run if session is None else session.run,
                init_from=orders.init_from,
                resume=resume,
                hardware=hardware,
                on_event=Relay(shown, *files),
                should_stop=should_stop,
                requests_since=None if session is None else session.since,
            )
        except Cancelled as stop:
            if type(stop) is Cancelled:
                typer.echo(f"{run}: stopped, a checkpoint is written; continue with --resume", err=True)
            raise
    if rank_of_launcher() or session is None:
        return None
    count = len(store.patients_of("validation"))
    few = ", which are few: check its masks before you trust its threshold" if 0 < count < FEW else ""
    typer.echo(f"{run}: trained; calibrating on {count} validation patient{'' if count == 1 else 's'}{few}")
    with progress("calibrating") as on_progress, session.stoppable():
        model = finish(
            run,
            store,
            name=orders.name,
            half=orders.half,
            device=hardware.device,
            on_progress=session.progress("calibrating", on_progress),
            should_stop=session.should_stop,
        )
    parent = session.run.parent()
    if parent is not None:
        typer.echo(f"{run}: {kept_settings(parent, load_card(model))}")
    if orders.install:
        _install(model, session)
    else:
        typer.echo(f"{model}: finished")
    session.say("done", folder=str(model))
    return model


def _install(model: Path, session: Session) -> None:
    from ..evaluation.finishing import install
    from ..zoo import load_card

    try:
        place = install(model)
    except OutputError as error:
        raise OutputError(
            f"the model is finished, but cannot be installed ({error.reason})",
            file=model,
            mend=f"use it with --model {shlex.quote(str(model))}, "
            "or set NAPARI_CEAD_HOME to a folder that can be written",
        ) from error
    session.say("installed", name=place.name, folder=str(place))
    usual = load_card(model).name
    if place.name != usual:
        typer.echo(
            f"warning: another model is called {usual}: this one is called {place.name}",
            err=True,
        )
    typer.echo(f"{model}: installed as {place.name}; use it with: --model {place.name}")
