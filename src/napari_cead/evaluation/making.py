"""From a recipe to usable models: prepare the slices, train, calibrate, install."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..errors import Cancelled, OutputError, ParameterError
from ..models.specs import MODEL_NAMES, spec
from ..options_file import CONFIG_FILE
from ..patients import find_patients
from ..training.belonging import belongs, no_use
from ..training.engine import check_resume, check_start, rank_of_launcher
from ..training.engine import train as run_training
from ..training.events import EventFile, Listener
from ..training.preparation import prepare
from ..training.preprocessing import preprocessing_for, preprocessing_in, store_options
from ..training.recipe import Recipe
from ..training.run_files import STORE
from ..training.runs import RunFolder
from ..training.session import Relay, Session, attended, undone_if_refused
from ..training.settings import TrainingSettings
from ..training.store import SliceStore
from ..training.store_index import earlier_index
from ..zoo import Preprocessing, check_name, find_model, find_models, load_card
from .finishing import finish, install, is_finished, kept_settings

OnProgress = Callable[[int, int], None]

FEW = 5
"""With fewer validation patients, chance decides about the best epoch and the threshold."""

PARTS = {
    "max_squares": "corruption",
    "squares_inside_brain": "corruption",
    "fill": "corruption",
    "codebook": "codebook_decay",
    "lr": "learning_rate",
}
"""Options whose setting has another name."""


class Watch:
    """Follows the making of a model; this class is silent. Subclasses show more."""

    def say(self, text: str, *, warning: bool = False) -> None:
        """Show a sentence to the user."""

    @contextmanager
    def progress(self, what: str) -> Iterator[OnProgress]:
        """Yield a callback for a stage of known length."""
        yield lambda done, total: None

    @contextmanager
    def training(self, alone: bool) -> Iterator[tuple[Listener, Callable[[], bool] | None]]:
        """Yield a listener for the events of a training, and the function that says when to stop."""
        yield (lambda event: None), None


@dataclass(frozen=True)
class Making:
    """A checked recipe; nothing has been written yet.

    Attributes:
        recipe: The recipe.
        plans: The settings of each model to train.
        store: The slices; None: they have to be prepared first.
        wanted: The preparation of the slices.
    """

    recipe: Recipe
    plans: tuple[TrainingSettings, ...]
    store: SliceStore | None
    wanted: Preprocessing

    @property
    def alone(self) -> bool:
        """Whether only one model is trained, in the folder itself."""
        return is_one(self.recipe.model)


def is_one(model: str) -> bool:
    """Whether a recipe's ``model`` names a single model."""
    return model != "all" and "," not in model


def make_model(recipe: Recipe, watch: Watch | None = None) -> Path | None:
    """Prepare slices, train, calibrate and install one model.

    Args:
        recipe: The recipe.
        watch: Receives the progress.

    Returns:
        The model's folder; None in a process that only helped another one.

    Raises:
        CeadError: If the recipe, the data or the disk has a fault.
        Cancelled: On a request to stop; a checkpoint is written.
    """
    if not is_one(recipe.model):
        raise ParameterError(f"{recipe.model} is not a single model", mend="make the models one by one")
    folders = make_models(plan(recipe), watch or Watch())
    return folders[0] if folders else None


def plan(recipe: Recipe, options: Iterable[str] | None = None, watch: Watch | None = None) -> Making:
    """Check a recipe, before anything is written.

    Args:
        recipe: The recipe.
        options: Names of the fields that the user gave; None: those that differ from their defaults.
        watch: Receives notes on options that do not apply to some of several models.

    Raises:
        ParameterError: If an option has no effect, is out of range, or conflicts with another.
        StoreError: If the slices cannot be trained on.
        ModelError: If there is no such model to start from.
    """
    names = list(MODEL_NAMES) if recipe.model == "all" else list(dict.fromkeys(recipe.model.split(",")))
    for each in names:
        spec(each)  # report unknown names before anything else
    if options is None:
        options = {
            name for name, field in Recipe.model_fields.items() if getattr(recipe, name) != field.default
        }
    given = set(options)
    fits = _fitting(recipe.given(), given & set(Recipe.model_fields), names, watch or Watch())
    if "workers" in given and recipe.slices_on == "device":
        raise ParameterError(
            "--workers does nothing with --slices-on device: nothing is read while training",
            mend="leave it out",
        )
    if "checkpoint_minutes" in given and recipe.devices * recipe.num_nodes > 1:
        raise ParameterError(
            "--checkpoint-minutes does nothing on several devices, which write one at the end of an epoch",
            mend="leave it out",
        )
    if len(names) > 1 and (recipe.init_from or recipe.name):
        raise ParameterError("--init-from and --name go with one model", mend="train the models one by one")
    if recipe.name:
        check_name(recipe.name)
        if recipe.name in find_models() and not recipe.no_install and not recipe.resume:
            raise ParameterError(
                f"there is a model called {recipe.name} already", mend="choose another --name"
            )
    begun = recipe.out.is_dir() or not recipe.out.parent.is_dir()  # else there is nothing to resume
    recipe = recipe.model_copy(update={"resume": recipe.resume and begun})
    base = None if recipe.init_from is None else load_card(find_model(recipe.init_from))
    store = _stored_in(recipe.data, recipe.sequence, recipe.assume_healthy)
    wanted = preprocessing_for(names, base) if store is None else preprocessing_in(store.settings)
    plans = []
    for each in names:
        run = recipe.out if len(names) == 1 else recipe.out / each
        own = recipe.model_copy(update={"model": each, "out": run})
        plans.append(own.settings(base, wanted.image_size, fits[each]))
        resumed = RunFolder(run) if recipe.resume and RunFolder(run).exists() else None
        if resumed is not None:
            check_resume(resumed, plans[-1], store)
        check_start(
            plans[-1],
            store,
            init_from=recipe.init_from,
            hardware=recipe.hardware,
            resumed=resumed is not None,
        )
    return Making(recipe, tuple(plans), store, wanted)


def make_models(making: Making, watch: Watch) -> list[Path]:
    """Make the planned models.

    Args:
        making: The result of :func:`plan`.
        watch: Receives the progress.

    Returns:
        Their folders; none in a process that only helped another one.
    """
    recipe, alone = making.recipe, making.alone
    folders: list[Path] = []
    with _watched(recipe, making.plans[0]) if alone else nullcontext() as session:
        with nullcontext() if making.store else undone_if_refused(recipe.out):
            store = making.store or _prepared(making, session, watch)
        for settings in making.plans:
            run = recipe.out if alone else recipe.out / settings.spec.name
            finished = partial(is_finished, run, settings, store, half=recipe.half)
            if recipe.resume and finished(installed=not recipe.no_install):
                watch.say(f"{run}: finished before")
                folders.append(run / "model")
                continue
            try:
                with nullcontext(session) if alone else _watched(recipe, settings) as own:
                    found: Path | None = run / "model"
                    if own is not None and recipe.resume and finished(installed=False):
                        _install(run / "model", own, watch)
                        own.say("done", folder=str(found))
                    else:
                        found = _make(recipe, settings, store, run, own, watch)
            except Cancelled as stop:
                stop.add_note(str(run))
                raise
            if found is None:
                return []
            folders.append(found)
    return folders


def cohort_of(folders: Sequence[Path]) -> tuple[Path, Path]:
    """Return the folder that contains all patients of trained models, and the store with their split."""
    store = SliceStore.open(RunFolder(folders[0].parent).plan().data)
    return Path(os.path.commonpath([patient.source for patient in store.patients])), store.path


def _make(
    recipe: Recipe,
    settings: TrainingSettings,
    store: SliceStore,
    run: Path,
    session: Session | None,
    watch: Watch,
) -> Path | None:
    """Train, calibrate and install a model; None in a process that only helped another one."""
    hardware = recipe.hardware
    files = () if session is None else session.run.also
    if session is None and recipe.events is not None:
        files = (EventFile(recipe.events),)
    alone = hardware.devices * hardware.num_nodes == 1
    with watch.training(alone) as (listener, should_stop):
        try:
            run_training(
                settings,
                store,
                run if session is None else session.run,
                init_from=recipe.init_from,
                resume=recipe.resume and (run.is_dir() or not run.parent.is_dir()),  # else it has not begun
                hardware=hardware,
                on_event=Relay(listener, *files),
                should_stop=should_stop,
                requests_since=None if session is None else session.since,
            )
        except Cancelled as stop:
            if type(stop) is Cancelled:
                watch.say(f"{run}: stopped, a checkpoint is written; continue with --resume", warning=True)
            raise
    if rank_of_launcher() or session is None:
        return None
    count = len(store.patients_of("validation"))
    few = ", which are few: check its masks before you trust its threshold" if 0 < count < FEW else ""
    watch.say(f"{run}: trained; calibrating on {count} validation patient{'' if count == 1 else 's'}{few}")
    with watch.progress("calibrating") as on_progress, session.stoppable():
        model = finish(
            run,
            store,
            name=recipe.name,
            half=recipe.half,
            device=hardware.device,
            on_progress=session.progress("calibrating", on_progress),
            should_stop=session.should_stop,
        )
    parent = session.run.parent()
    if parent is not None:
        watch.say(f"{run}: {kept_settings(parent, load_card(model))}")
    if recipe.no_install:
        watch.say(f"{model}: finished")
    else:
        _install(model, session, watch)
    if not recipe.keep_checkpoint:
        session.run.drop_checkpoint()
    session.say("done", folder=str(model))
    return model


def _install(model: Path, session: Session, watch: Watch) -> None:
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
        watch.say(f"warning: another model is called {usual}: this one is called {place.name}", warning=True)
    watch.say(f"{model}: installed as {place.name}; use it with: --model {place.name}")


@contextmanager
def _watched(recipe: Recipe, settings: TrainingSettings) -> Iterator[Session | None]:
    """Hold a run's folder in the launcher's first process, with its recipe in it, every value filled in.

    See :func:`~napari_cead.training.session.attended`.
    """
    run = recipe.out if is_one(recipe.model) else recipe.out / settings.spec.name
    nothing = recipe.resume and not run.is_dir() and not run.parent.is_dir()
    if rank_of_launcher() or nothing:  # the engine then reports the problem
        yield None
        return
    resume = recipe.resume and run.is_dir()
    with attended(RunFolder(run), resume=resume, events=recipe.events) as session:
        own = recipe.resolved(settings).model_copy(update={"model": settings.spec.name, "out": run})
        own = own.anywhere()
        write_text(run / CONFIG_FILE, own.written())
        yield session


def _stored_in(data: Path, sequence: str | None, assume_healthy: bool) -> SliceStore | None:
    """Open the slice store of a training; None for patients or a scan list, which are prepared first."""
    if data.is_file():
        return None
    patients = data.is_dir() and not (data / "zarr.json").is_file()
    if patients and next(iter(find_patients(data)), None) is not None:
        return None
    store = SliceStore.open(data)  # raises with the reason if it is not a store
    has = store.settings
    mend = "prepare another store with this option, or leave it out"
    if sequence not in (None, has.sequence):
        raise ParameterError(f"this store holds {has.sequence}, not {sequence}", file=data, mend=mend)
    if assume_healthy and not has.assume_healthy:
        raise ParameterError("this store holds no unlabelled patients", file=data, mend=mend)
    return store


def _prepared(making: Making, session: Session | None, watch: Watch) -> SliceStore:
    """Prepare a folder of patients or a scan list inside the run's folder, for the training.

    A resumed run continues with its slices. Otherwise a store with another preparation in that place is refused.
    """
    recipe = making.recipe
    folder = recipe.out / STORE
    before = earlier_index(folder) if recipe.resume else None
    wanted = making.wanted.model_copy(update={"image_size": making.plans[0].spec.image_size})
    options: dict[str, Any] = store_options(wanted if before is None else before.settings)
    options |= {"sequence": recipe.sequence, "assume_healthy": recipe.assume_healthy}
    with watch.progress("preparing") as on_progress:
        run = partial(prepare, recipe.data, folder, **options)
        if session is None:
            store = run(on_progress=on_progress)
        else:
            with session.stoppable():
                store = run(
                    on_progress=session.progress("preparing", on_progress), should_stop=session.should_stop
                )
    watch.say(f"{folder}: {store.summary()}")
    return store


def _fitting(
    given: dict[str, Any], options: Iterable[str], names: Sequence[str], watch: Watch
) -> dict[str, dict[str, Any]]:
    """Return the given values for each design, without those that do not apply to it, and add a note.

    Raises:
        ParameterError: If an option applies to none of them.
    """
    for option in sorted(options):
        setting, flag = PARTS.get(option, option), f"--{option.replace('_', '-')}"
        useless = [name for name in names if not belongs(setting, spec(name))]
        if len(useless) == len(names):
            raise ParameterError(
                no_use(setting, useless, called=flag), mend="leave it out, or train one of those"
            )
        if useless:
            users = ", ".join(name for name in names if name not in useless)
            watch.say(f"note: {flag} is for {users}; it does nothing for {', '.join(useless)}", warning=True)
    return {
        name: {setting: value for setting, value in given.items() if belongs(setting, spec(name))}
        for name in names
    }
