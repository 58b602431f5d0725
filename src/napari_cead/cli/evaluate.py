"""The verb that measures models."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ParameterError, printable
from ..wording import counted
from .config import configurable, keep, when_begun, whole
from .console import Progress, progress
from .options import (
    Bias,
    BiasField,
    Cohort,
    Device,
    LayoutOption,
    Register,
    Registration,
    Scheduler,
    Strip,
    StripFrom,
    Workers,
    check_workers,
    preparation,
)

if TYPE_CHECKING:
    from ..report.results import Evaluation

SUGGESTED = "suggested"
"""The scores of an evaluation that names none."""


@configurable(first=("out", "models", "maps", "split", "layout", "folds", "sequence", "device"))
def evaluate(
    cohort: Cohort,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for results.json, results.csv, per_patient.csv, per_lesion.csv, table.md and report.html."
        ),
    ],
    models: Annotated[
        str, typer.Option(help="all, or names or folders with commas; * stands for any letters.")
    ] = "all",
    maps: Annotated[
        str | None,
        typer.Option(
            help="Score maps of other methods to rank beside the models: FOLDER or NAME=FOLDER, several with "
            "commas; one NIfTI file per patient, with the patient's name in it."
        ),
    ] = None,
    maps_pattern: Annotated[
        str | None,
        typer.Option(
            help="Place of a map in its folder, such as {patient}_anomaly.nii.gz, or run*/{patient}*.nii; "
            "* stands for any letters."
        ),
    ] = None,
    scores: Annotated[
        str,
        typer.Option(
            help=f"{SUGGESTED} (each model's suggested one, and residual), all, or scores with commas."
        ),
    ] = SUGGESTED,
    split: Annotated[
        Path | None,
        typer.Option(
            help="Split file or slice store: its validation patients choose, its test patients are reported "
            "(default: the fixed split of the layout, if one is given)."
        ),
    ] = None,
    layout: LayoutOption = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Without validation patients: the settings for each of this many folds of the patients are chosen on "
            "the others.",
        ),
    ] = None,
    sequence: Annotated[
        str | None,
        typer.Option(
            help="Sequence to use, or several with commas (default: that of the store given as --split, else flair)."
        ),
    ] = None,
    strip: Strip = "auto",
    bias_field: BiasField = Bias.NEVER,
    register: Registration = Register.NEVER,
    strip_from: StripFrom = "same",
    workers: Workers = None,
    scheduler: Scheduler = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap and of the folds.")] = 0,
    every_rule: Annotated[
        bool,
        typer.Option(
            "--every-rule",
            help="per_lesion.csv and by_group.csv under every rule, not only under the one that the report opens with.",
        ),
    ] = False,
    progress: Annotated[
        Progress, typer.Option(help="bar, or json: a line on stderr for each step.")
    ] = Progress.BAR,
) -> None:
    """Measure models on a cohort with lesion masks.

    Baselines without a network are measured beside them. After an interruption, the same command continues.
    """
    from ..detection import SCORES

    check_workers(workers, scheduler)
    wanted = None if scores == SUGGESTED else [name for name in scores.split(",") if name]
    evaluate_models(
        cohort,
        "all" if models == "all" else [each for name in models.split(",") if name for each in _meant(name)],
        out,
        maps=[folder for folder in (maps or "").split(",") if folder],
        maps_pattern=maps_pattern,
        scores=[*SCORES.names] if wanted == ["all"] else wanted,
        split=split,
        layout=layout,
        folds=folds,
        sequence=None if sequence is None else [name for name in sequence.split(",") if name],
        preparation=preparation(strip, bias_field, register, strip_from, several=True),
        device=device,
        seed=seed,
        every_rule=every_rule,
        workers=workers,
        scheduler=scheduler,
        shown=progress,
    )


def _meant(name: str) -> list[str]:
    """Return the installed models that a name with * stands for; any other name as it is."""
    if "*" not in name:
        return [name]
    from ..zoo import find_models

    found = fnmatch.filter(find_models(), name)
    if not found:
        raise ParameterError(f"no model is called {name}", hint="see napari-cead models list")
    return found


def evaluate_models(
    cohort: Path, models: Any, out: Path, *, shown: Progress = Progress.BAR, **options: Any
) -> None:
    """Evaluate models and print a line per model, rule and score."""
    from ..evaluation import evaluate as run_evaluation

    with progress("evaluating", shown) as on_progress:
        found = run_evaluation(
            cohort,
            models,
            out,
            on_progress=when_begun(
                lambda: keep_evaluation(cohort, models, out, shown=shown, **options), on_progress
            ),
            **options,
        )
    show_evaluation(found, out)


def keep_evaluation(
    cohort: Path, models: Any, out: Path, *, shown: Progress = Progress.BAR, **options: Any
) -> None:
    """Write the options of an evaluation into its folder, as they are given to :func:`evaluate_models`."""
    from ..detection.replay import model_argument
    from ..evaluation.maps import named_folder
    from ..preparing import RAW
    from ..zoo import find_model, find_models

    named = [str(model) for model in (find_models() if models == "all" else models)]
    folders = [(name, folder.absolute()) for name, folder in map(named_folder, options.get("maps") or ())]
    maps = [str(folder) if folder.name == name else f"{name}={folder}" for name, folder in folders]
    values = {
        **options,
        **options.get("preparation", RAW).as_dict(),
        "cohort": cohort,
        "out": out,
        "models": ",".join(model_argument(name, find_model(name)) for name in named),
        "maps": ",".join(maps) or None,
        "scores": SUGGESTED if options.get("scores") is None else ",".join(options["scores"]),
        "layout": whole(options.get("layout")),
        "sequence": ",".join(options.get("sequence") or [_sequence_of(options.get("split"))]),
        "progress": shown,
    }
    keep(evaluate, out, values)


def _sequence_of(split: Path | None) -> str:
    """Return the sequence of an evaluation that names none."""
    from ..store.store import SliceStore

    if split is None or not split.expanduser().is_dir():
        return "flair"
    return SliceStore.open(split.expanduser()).settings.sequence


def show_evaluation(found: Evaluation, out: Path) -> None:
    """Print a line per model, rule and score."""
    from ..report.table import over_seeds_text, printed

    for text in found.warnings:
        typer.echo(f"warning: {text}", err=True)
    for item in found.skipped:
        typer.echo(f"skipped: {item.name}: {item.reason}", err=True)
    for line in printed(found):
        typer.echo(printable(line))
    for each in found.over_seeds:
        if each.average in ("dice_patient", "dice_pooled"):
            typer.echo(
                f"{each.model} ({each.seeds} seeds) {each.rule} {each.score}: {each.average} "
                f"{' '.join(filter(None, over_seeds_text(each)))} "
                "over seeds and patients"
            )
    reported = len(found.parts["test"])
    typer.echo(
        f"{counted(reported, 'patient')} reported, {len(found.skipped)} skipped; see {out / 'report.html'}"
    )
