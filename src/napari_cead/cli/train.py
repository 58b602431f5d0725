"""The verb that trains."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ParameterError
from ..training.recipe import Recipe
from .config import NO_SETTINGS, configurable
from .console import progress, typed
from .dry_run import announced, described
from .evaluate import evaluate_models, keep_evaluation, show_evaluation
from .generated import command

if TYPE_CHECKING:
    from ..evaluation.making import Making, Watch
    from ..progress import Progress, Stop
    from ..runs.events import Listener
    from ..runs.run_info import RunInfo
    from ..store.store import SliceStore


def _train(context: typer.Context, recipe: Recipe, detach: bool, dry_run: bool) -> None:
    """Train or fine-tune a model on healthy slices.

    The resulting model can be used at once.
    """
    make(recipe, typed(context), detach=detach, dry_run=dry_run)


def make(
    recipe: Recipe, options: Iterable[str] | None = None, *, detach: bool = False, dry_run: bool = False
) -> None:
    """Make the models of a recipe, or start that in the background.

    Args:
        recipe: The recipe.
        options: Names of the fields that the user gave; None: those that differ from their defaults.
        detach: Whether to train in the background.
        dry_run: Whether to print what it would do, and start nothing.
    """
    from ..evaluation.making import cohort_of, is_one, make_models, plan
    from ..runs.requests import Discarded, Paused
    from ..training.engine import rank_of_launcher
    from ..training.manager import RunManager

    alone = is_one(recipe.model) and recipe.seeds is None and recipe.folds is None
    if detach and not alone:
        raise ParameterError("--detach goes with one model", hint="train the models one by one")
    watch = _watch()
    making = plan(recipe, options, watch)
    if dry_run:
        for line in described(making):
            typer.echo(line)
        return
    # What takes long is said before the preparation, and here where another process does the work.
    if (detach or making.store is None) and not rank_of_launcher():
        watch.begins(making, making.store)
    if detach:
        say_started(RunManager().start(making.recipe))
        return
    try:
        folders = make_models(making, watch)
    except (Paused, Discarded) as stop:
        run = next(iter(getattr(stop, "__notes__", ())), str(recipe.out))
        again = f"paused; continue with: napari-cead runs resume {shlex.quote(run)}"
        typer.echo(f"{run}: {again if isinstance(stop, Paused) else 'stopped, to be discarded'}")
        return
    if folders and recipe.folds is not None:
        _cross_validate(making, folders)
    elif folders and recipe.preset == "paper":
        cohort, split = cohort_of(folders)
        if recipe.layout is not None:  # its patterns begin at the folder of the data set
            cohort = recipe.data
        evaluate_models(
            cohort,
            [str(folder) for folder in folders],
            recipe.out / "evaluation",
            layout=recipe.layout,
            split=split,
            device=recipe.device,
        )


def _cross_validate(making: Making, folders: list[Path]) -> None:
    """Measure the models of the folds, and print a line per model, rule and score."""
    from ..evaluation.folding import Folded, cross_validate
    from ..evaluation.making import FOLDS, cohort_of
    from ..store.store import SliceStore

    out = making.recipe.out
    models = [
        Folded(run.base, run.fold or 0, folder) for run, folder in zip(making.runs, folders, strict=True)
    ]
    stores = [SliceStore.open(out / FOLDS / f"fold{fold}") for fold in range(making.recipe.folds or 0)]
    with progress("evaluating") as on_progress:
        found = cross_validate(
            models, stores, out / "evaluation", device=making.recipe.device, on_progress=on_progress
        )
    cohort, _ = cohort_of(folders)
    for fold, store in enumerate(stores):
        own = [each.model for each in models if each.fold == fold]
        place = out / "evaluation" / f"fold{fold}"
        keep_evaluation(cohort, own, place, split=store.path, device=making.recipe.device)
    show_evaluation(found, out / "evaluation")


def say_started(info: RunInfo) -> None:
    """Print where a training in the background is."""
    place = shlex.quote(str(info.path))
    typer.echo(
        f"{info.name}: started in the background (process {info.pid}); "
        f"follow it with: napari-cead runs tail --follow {place}"
    )


def _resolved(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fill in the values that a recipe leaves to its model, preset or data, if these are known."""
    from ..evaluation.making import plan, resolved

    options = {name: value for name, value in values.items() if name not in NO_SETTINGS}
    if values.get("model") is None:
        return options
    known = {name: value for name, value in options.items() if value is not None}
    recipe = Recipe.checked(**{"data": Path("DATA"), "out": Path("OUT"), **known})
    found = plan(recipe).resolved if "data" in known and "out" in known else resolved(recipe)
    return {**found.model_dump(), **{name: values.get(name) for name in ("data", "out")}}


_train.__name__ = "train"
train = configurable(
    _resolved,
    first=("data", "out", "preset", "size", "init_from", "epochs", "device", "dry_run"),
)(
    command(
        Recipe,
        _train,
        arguments=("model",),
        detach=(
            Annotated[
                bool,
                typer.Option(
                    "--detach", help="Train in the background; follow it with: napari-cead runs tail OUT."
                ),
            ],
            False,
        ),
        dry_run=(
            Annotated[
                bool,
                typer.Option(
                    "--dry-run",
                    help="Print data, split, settings, memory and time (measured), and start nothing.",
                ),
            ],
            False,
        ),
    )
)


def _watch() -> Watch:
    """Return the terminal display for making models."""
    from ..evaluation.making import Watch
    from .training_progress import TrainingProgress, graceful

    class Shown(Watch):
        announced = False

        def say(self, text: str, *, warning: bool = False) -> None:
            typer.echo(text, err=warning)

        def begins(self, making: Making, store: SliceStore | None) -> None:
            if not self.announced:
                said = announced(making, store)
                self.announced = said is not None
                for text in said or ():
                    self.say(f"note: {text}", warning=True)

        @contextmanager
        def progress(self, what: str) -> Iterator[Progress]:
            with progress(what) as on_progress:
                yield on_progress

        @contextmanager
        def training(self, alone: bool) -> Iterator[tuple[Listener, Stop | None]]:
            with TrainingProgress(alone, self.to_come) as shown, graceful(alone) as should_stop:
                yield shown, should_stop

    return Shown()
