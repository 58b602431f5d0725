"""From a recipe to usable models: prepare the slices, train, calibrate, install."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..calibration.ensembling import FEWEST, is_ensemble_of, make_ensemble
from ..calibration.finishing import default_name, finish, install, is_finished, kept_settings
from ..errors import Cancelled, OutputError, ParameterError
from ..models.specs import MODEL_NAMES, spec
from ..options_file import CONFIG_FILE
from ..patients import find_patients
from ..patients.datasets import find_layout
from ..progress import Progress, Stop
from ..runs.events import Listener
from ..runs.run_files import STORE
from ..runs.run_folder import RunFolder
from ..runs.training_settings import TrainingSettings, belongs, no_use
from ..store.index import earlier_index
from ..store.prepare import prepare
from ..store.preprocessing import preprocessing_for, preprocessing_in, store_options
from ..store.scan_list import usual_sequence
from ..store.store import SliceStore
from ..training.engine import check_resume, check_start, rank_of_launcher
from ..training.engine import train as run_training
from ..training.loggers import loggers_of
from ..training.recipe import SETTINGS, Recipe, agreed
from ..training.session import Session, attended, undone_if_refused
from ..wording import counted
from ..zoo import Preprocessing, check_name, find_model, find_models, load_card
from .folding import fold_stores

FOLDS = "folds"
"""Folder of the stores of a cross-validation."""

LONGEST_BASE = 50
"""Longest name to which a seed, a fold or ``.ensemble`` is added."""

FEW = 5
"""With fewer validation patients, chance decides about the best epoch and the threshold."""


class Watch:
    """Follows the making of a model; this class is silent. Subclasses show more.

    Attributes:
        to_come: Trainings that follow the one that begins.
    """

    to_come = 0

    def say(self, text: str, *, warning: bool = False) -> None:
        """Show a sentence to the user."""

    def begins(self, making: Making, store: SliceStore | None) -> None:
        """Hear of the trainings before the first one begins; None: their slices are not prepared yet."""

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """Yield a callback for a stage of known length."""
        yield lambda done, total: None

    @contextmanager
    def training(self, alone: bool) -> Iterator[tuple[Listener, Stop | None]]:
        """Yield a listener for the events of a training, and the function that says when to stop."""
        yield (lambda event: None), None


@dataclass(frozen=True)
class Planned:
    """One run of a job.

    Attributes:
        recipe: The recipe of this run alone.
        settings: Its training settings.
        base: Name of the models that differ from this one only by their seed or fold.
        fold: The fold that is not trained on; None without folds.
    """

    recipe: Recipe
    settings: TrainingSettings
    base: str
    fold: int | None = None


@dataclass(frozen=True)
class Making:
    """A checked recipe; nothing has been written yet.

    Attributes:
        recipe: The recipe.
        runs: The runs, one for each model and seed.
        store: The slices; None: they have to be prepared first.
        wanted: The preparation of the slices.
    """

    recipe: Recipe
    runs: tuple[Planned, ...]
    store: SliceStore | None
    wanted: Preprocessing

    @property
    def plans(self) -> tuple[TrainingSettings, ...]:
        """The settings of each run."""
        return tuple(run.settings for run in self.runs)

    @property
    def alone(self) -> bool:
        """Whether only one model is trained, in the folder itself."""
        return len(self.runs) == 1 and self.runs[0].recipe.out == self.recipe.out

    @property
    def resolved(self) -> Recipe:
        """The recipe with the values of all runs; what differs between models is left to each."""
        return agreed(self.recipe, map(self.resolved_run, self.runs))

    def resolved_run(self, planned: Planned) -> Recipe:
        """Return the recipe of one run with every value filled in."""
        recipe = planned.recipe
        usual = usual_sequence(recipe.data) if self.store is None else self.store.settings.sequence
        return recipe.resolved(planned.settings).model_copy(update={"sequence": recipe.sequence or usual})


def is_one(model: str) -> bool:
    """Whether a recipe's ``model`` names a single model."""
    return model != "all" and "," not in model


def models_of(recipe: Recipe) -> list[str]:
    """Return the names of the models that a recipe trains."""
    return list(MODEL_NAMES) if recipe.model == "all" else list(dict.fromkeys(recipe.model.split(",")))


def resolved(recipe: Recipe) -> Recipe:
    """Return a recipe whose data or folder are not known yet, with the values of its models."""
    base = None if recipe.init_from is None else load_card(find_model(recipe.init_from))
    names = models_of(recipe)
    fits = _fitting(recipe.given(), _changed(recipe), names, Watch())
    size = preprocessing_for(names, base).image_size
    runs = [recipe.model_copy(update={"model": name, "seeds": None}) for name in names]
    return agreed(recipe, [run.resolved(run.settings(base, size, fits[run.model])) for run in runs])


def _changed(recipe: Recipe) -> set[str]:
    """Return the names of the fields that differ from their defaults."""
    return {name for name, field in Recipe.model_fields.items() if getattr(recipe, name) != field.default}


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
    if not is_one(recipe.model) or recipe.seeds is not None or recipe.folds is not None:
        raise ParameterError(
            f"{recipe.model} with these options is not a single model", hint="make the models one by one"
        )
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
    seeds = seeds_of(recipe)
    if seeds and recipe.folds:
        raise ParameterError("--seeds and --folds exclude each other", hint="do one after the other")
    names = models_of(recipe)
    for each in names:
        spec(each)  # report unknown names before anything else
    given = _changed(recipe) if options is None else set(options)
    fits = _fitting(recipe.given(), given & set(Recipe.model_fields), names, watch or Watch())
    loggers_of(recipe.loggers)
    if "workers" in given and recipe.slices_on == "device":
        raise ParameterError(
            "--workers does nothing with --slices-on device: nothing is read while training",
            hint="leave it out",
        )
    if "checkpoint_minutes" in given and recipe.devices * recipe.num_nodes > 1:
        raise ParameterError(
            "--checkpoint-minutes does nothing on several devices, which write one at the end of an epoch",
            hint="leave it out",
        )
    if len(names) > 1 and (recipe.init_from or recipe.name):
        raise ParameterError("--init-from and --name go with one model", hint="train the models one by one")
    if recipe.name:
        check_name(recipe.name)
        if recipe.name in find_models() and not recipe.no_install and not recipe.resume:
            raise ParameterError(
                f"there is a model called {recipe.name} already", hint="choose another --name"
            )
    begun = recipe.out.is_dir() or not recipe.out.parent.is_dir()  # else there is nothing to resume
    recipe = recipe.model_copy(update={"resume": recipe.resume and begun})
    base_card = None if recipe.init_from is None else load_card(find_model(recipe.init_from))
    store = _stored_in(recipe)
    wanted = preprocessing_for(names, base_card) if store is None else preprocessing_in(store.settings)
    runs = []
    for each in names:
        base = each if len(names) > 1 else recipe.name or default_name(recipe.out)
        base = base[:LONGEST_BASE] if seeds or recipe.folds else base
        variants = [("seed", seed) for seed in seeds] or [("fold", fold) for fold in range(recipe.folds or 0)]
        for what, number in variants or [("", 0)]:
            own: dict[str, Any] = {"model": each, "seeds": None, "folds": None}
            if variants:
                own |= {"name": None, "out": recipe.out / f"{base}.{what}{number}"}
                own |= {"seed": number} if seeds else {}
            elif len(names) > 1:
                own["out"] = recipe.out / each
            one = recipe.model_copy(update=own)
            settings = one.settings(
                base_card, wanted.image_size, fits[each] | ({"seed": number} if seeds else {})
            )
            # The slices of a fold are its own store, which is not written yet.
            resumed = RunFolder(one.out) if recipe.resume and RunFolder(one.out).exists() else None
            if resumed is not None:
                check_resume(resumed, settings, None if recipe.folds else store)
            check_start(
                settings,
                store,
                init_from=recipe.init_from,
                hardware=recipe.hardware,
                resumed=resumed is not None,
            )
            runs.append(Planned(one, settings, base, number if recipe.folds else None))
    return Making(recipe, tuple(runs), store, wanted)


def seeds_of(recipe: Recipe) -> tuple[int, ...]:
    """Return the seeds of a recipe's option ``seeds``; none without it.

    Raises:
        ParameterError: If they are not different whole numbers, or there is a single seed beside them.
    """
    if recipe.seeds is None:
        return ()
    if recipe.seed is not None:
        raise ParameterError("--seed and --seeds exclude each other", hint="leave one of them out")
    try:
        found = tuple(int(word) for word in recipe.seeds.split(","))
    except ValueError:
        found = ()
    if not found or len(set(found)) < len(found) or min(found) < 0:
        raise ParameterError(
            f"--seeds {recipe.seeds!r} is not a list of different seeds", hint="give them as 0,1,2"
        )
    return found


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
    with _watched(making, making.runs[0]) if alone else nullcontext() as session:
        with nullcontext() if making.store else undone_if_refused(recipe.out):
            store = making.store or _prepared(making, session, watch)
        if not rank_of_launcher():
            watch.begins(making, store)
        stores = fold_stores_of(making, store)
        for number, planned in enumerate(making.runs, start=1):
            run = planned.recipe.out
            slices = store if planned.fold is None else stores[planned.fold]
            finished = partial(is_finished, run, planned.settings, slices, half=recipe.half)
            if recipe.resume and finished(installed=not recipe.no_install):
                watch.say(f"{run}: finished before")
                folders.append(run / "model")
                continue
            if not alone:
                watch.say(f"{run}: run {number} of {len(making.runs)}")
            watch.to_come = sum(not (later.recipe.out / "model").exists() for later in making.runs[number:])
            try:
                data = None if planned.fold is None else slices.path
                with nullcontext(session) if alone else _watched(making, planned, data) as own:
                    if own is not None and not alone:
                        write_text(recipe.out / CONFIG_FILE, making.resolved.anywhere().written())
                    found: Path | None = run / "model"
                    if own is not None and recipe.resume and finished(installed=False):
                        _install(run / "model", watch, own)
                        own.say("done", folder=str(found))
                    else:
                        found = _make(planned, slices, own, watch)
            except Cancelled as stop:
                stop.add_note(str(run))
                raise
            if found is None:
                return []
            folders.append(found)
        if recipe.seeds is not None:
            folders += _ensembles(making, folders, store, watch)
    return folders


def fold_stores_of(making: Making, store: SliceStore) -> tuple[SliceStore, ...]:
    """Return the stores of the folds of a job, written if they are not there; none without folds."""
    recipe = making.recipe
    if recipe.folds is None:
        return ()
    return fold_stores(store, recipe.out / FOLDS, recipe.folds, making.plans[0].seed)


def _ensembles(making: Making, models: Sequence[Path], store: SliceStore, watch: Watch) -> list[Path]:
    """Make an ensemble of the models that differ only by their seed."""
    recipe = making.recipe
    found = []
    for base in dict.fromkeys(run.base for run in making.runs):
        members = [model for model, run in zip(models, making.runs, strict=True) if run.base == base]
        folder = recipe.out / f"{base}.ensemble"
        if len(members) < FEWEST:
            continue
        if recipe.resume and is_ensemble_of(folder, members, store):
            watch.say(f"{folder}: finished before")
        else:
            watch.say(f"{folder}: calibrating the ensemble of {len(members)} models")
            with watch.progress("calibrating") as on_progress:
                make_ensemble(
                    members,
                    store,
                    folder,
                    check_name(folder.name),
                    device=recipe.device,
                    on_progress=on_progress,
                )
        if not recipe.no_install:
            _install(folder, watch)
        found.append(folder)
    return found


def cohort_of(folders: Sequence[Path]) -> tuple[Path, Path]:
    """Return the folder that contains all patients of trained models, and the store with their split."""
    store = SliceStore.open(RunFolder(folders[0].parent).plan().data)
    return Path(os.path.commonpath([patient.source for patient in store.patients])), store.path


def _make(planned: Planned, store: SliceStore, session: Session | None, watch: Watch) -> Path | None:
    """Train, calibrate and install a model; None in a process that only helped another one."""
    recipe, settings, run = planned.recipe, planned.settings, planned.recipe.out
    hardware = recipe.hardware
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
                events=recipe.events if session is None else None,
                on_event=listener,
                should_stop=should_stop,
                requests_since=None if session is None else session.since,
                loggers=recipe.loggers,
            )
        except Cancelled as stop:
            if type(stop) is Cancelled:
                watch.say(f"{run}: stopped, a checkpoint is written; continue with --resume", warning=True)
            raise
    if rank_of_launcher() or session is None:
        return None
    count = len(store.patients_of("validation"))
    few = ", too few to trust the threshold: check the masks first" if 0 < count < FEW else ""
    watch.say(f"{run}: trained; calibrating on {counted(count, 'validation patient')}{few}")
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
        _install(model, watch, session)
    if not recipe.keep_checkpoint:
        session.run.drop_checkpoint()
    session.say("done", folder=str(model))
    return model


def _install(model: Path, watch: Watch, session: Session | None = None) -> None:
    try:
        place = install(model)
    except OutputError as error:
        raise OutputError(
            f"the model is finished, but cannot be installed ({error.reason})",
            file=model,
            hint=f"use it with --model {shlex.quote(str(model))}, "
            "or set NAPARI_CEAD_HOME to a folder that can be written",
        ) from error
    if session is not None:
        session.say("installed", name=place.name, folder=str(place))
    usual = load_card(model).name
    if place.name != usual:
        watch.say(f"warning: another model is called {usual}: this one is called {place.name}", warning=True)
    watch.say(f"{model}: installed as {place.name}; use it with: --model {place.name}")


@contextmanager
def _watched(making: Making, planned: Planned, data: Path | None = None) -> Iterator[Session | None]:
    """Hold a run's folder in the launcher's first process, with its recipe in it, every value filled in.

    See :func:`~napari_cead.training.session.attended`.

    Args:
        making: The job.
        planned: The run.
        data: Its slices, if they are not those of its recipe.
    """
    recipe, run = planned.recipe, planned.recipe.out
    nothing = recipe.resume and not run.is_dir() and not run.parent.is_dir()
    if rank_of_launcher() or nothing:  # the engine then reports the problem
        yield None
        return
    resume = recipe.resume and run.is_dir()
    with attended(RunFolder(run), resume=resume, events=recipe.events) as session:
        own: dict[str, Any] = {"model": planned.settings.spec.name} | ({} if data is None else {"data": data})
        filled_in = making.resolved_run(planned).model_copy(update=own).anywhere()
        write_text(run / CONFIG_FILE, filled_in.written())
        yield session


def _stored_in(recipe: Recipe) -> SliceStore | None:
    """Open the slice store of a training; None for patients or a scan list, which are prepared first."""
    data, sequence, assume_healthy = recipe.data, recipe.sequence, recipe.assume_healthy
    patients = data.is_dir() and not (data / "zarr.json").is_file()
    if recipe.layout is not None:
        if not patients:
            raise ParameterError(
                "a layout is about a folder of patients, which this is not",
                file=data,
                hint="leave --layout out",
            )
        find_layout(recipe.layout).patients(data)  # refused before anything is written
        return None
    if data.is_file():
        return None
    if patients and next(iter(find_patients(data)), None) is not None:
        return None
    store = SliceStore.open(data)  # raises with the reason if it is not a store
    has = store.settings
    hint = "prepare another store with this option, or leave it out"
    if sequence not in (None, has.sequence):
        raise ParameterError(f"this store holds {has.sequence}, not {sequence}", file=data, hint=hint)
    if assume_healthy and not has.assume_healthy:
        raise ParameterError("this store holds no unlabelled patients", file=data, hint=hint)
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
    if recipe.layout is not None:
        options["layout"] = recipe.layout
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
        setting, flag = SETTINGS.get(option, option), f"--{option.replace('_', '-')}"
        useless = [name for name in names if not belongs(setting, spec(name))]
        if len(useless) == len(names):
            raise ParameterError(
                no_use(setting, useless, called=flag), hint="leave it out, or train one of those"
            )
        if useless:
            users = ", ".join(name for name in names if name not in useless)
            watch.say(f"note: {flag} is for {users}; it does nothing for {', '.join(useless)}", warning=True)
    return {
        name: {setting: value for setting, value in given.items() if belongs(setting, spec(name))}
        for name in names
    }
