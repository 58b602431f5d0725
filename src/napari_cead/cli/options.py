"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import Side, refuse

Cohort = Annotated[Path, typer.Argument(help="Folder with patients below it, or of plain 2-D PNG slices.")]
Sequence = Annotated[str, typer.Option(help="Sequence to take: flair, t1_pre, t1_gd or bravo.")]
AssumeHealthy = Annotated[
    bool,
    typer.Option("--assume-healthy", help="Take all slices of patients without a lesion mask as healthy."),
]
Split = Annotated[
    str,
    typer.Option(
        help='"patient": at random, whole patients; a JSON file: {"train": [names], "validation": …, "test": …}; '
        '"slice": single slices (leaks: slices of one patient on both sides).'
    ),
]
PngColumn = Annotated[Side, typer.Option(help="Side of the patient that column 0 of PNG slices shows.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Processes at work; one for each GPU, else for each processor core, if left out."
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="A running Dask cluster (tcp://host:port) whose workers see the same files."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where nobody can answer.")]


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Refuse a number of workers for a cluster, which has its own.

    Raises:
        ParameterError: If both are given.
    """
    if workers is not None and scheduler is not None:
        refuse("--workers", "with --scheduler: the cluster has workers of its own")
