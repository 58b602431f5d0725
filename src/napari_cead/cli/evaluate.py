"""The verb that measures models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import number, progress
from .options import Cohort, Device


def evaluate(
    cohort: Cohort,
    out: Annotated[
        Path, typer.Option(help="Folder for results.json, results.csv, per_patient.csv and table.md.")
    ],
    models: Annotated[str, typer.Option(help="all, or names or folders with commas.")] = "all",
    split: Annotated[
        Path | None,
        typer.Option(help="Split file or slice store: validation patients choose, test patients report."),
    ] = None,
    sequence: Annotated[
        str | None, typer.Option(help="Sequence to take; that of the store given as --split, else flair.")
    ] = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
) -> None:
    """Measure models on a cohort with lesion masks, beside the two free baselines."""
    evaluate_models(
        cohort,
        "all" if models == "all" else [name for name in models.split(",") if name],
        out,
        split=split,
        sequence=sequence,
        device=device,
        seed=seed,
    )


def evaluate_models(cohort: Path, models: Any, out: Path, **options: Any) -> None:
    """Evaluate models and print a line per model, rule and score."""
    from ..evaluation import evaluate as run_evaluation

    with progress("evaluating") as on_progress:
        found = run_evaluation(cohort, models, out, on_progress=on_progress, **options)
    for text in found.warnings:
        typer.echo(f"warning: {text}", err=True)
    for row in found.rows:
        figures = row.averages
        typer.echo(
            f"{row.model:<16} {row.rule:<17} {row.score or '–':<18} "
            f"dice_patient {number(None if figures is None else figures.dice_patient)}  "
            f"dice_pooled {number(None if figures is None else figures.dice_pooled)}"
        )
    typer.echo(f"{out}: results.json, results.csv, per_patient.csv, table.md")
