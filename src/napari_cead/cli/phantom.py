"""The verb that makes synthetic patients."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .console import progress


class Layout(StrEnum):
    """Layouts of BrainMetShare on disk."""

    NIFTI = "nifti"
    PNG = "png"


class Metastases(StrEnum):
    """What number, size and oedema are drawn from."""

    DEFAULT = "default"
    BRAINMETSHARE = "brainmetshare"


def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write; patients go to OUT/train/Mets_NNN.")],
    patients: Annotated[int, typer.Option(min=1, help="Number of patients.")] = 1,
    layout: Annotated[Layout, typer.Option(help="BrainMetShare's NIfTI or PNG release.")] = Layout.NIFTI,
    lesions: Annotated[
        int | None, typer.Option(min=0, max=20, help="Metastases per patient; 0: healthy (default: drawn).")
    ] = None,
    metastases: Annotated[
        Metastases,
        typer.Option(help="Number, size and oedema: 1 to 20, mostly few, or as published for BrainMetShare."),
    ] = Metastases.DEFAULT,
    varied: Annotated[
        bool, typer.Option("--varied", help="Vary contrast and noise as between many scanners, for training.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same patients.")] = 0,
) -> None:
    """Write a cohort of synthetic patients, with lesion masks.

    Their anatomy is that of real people (ICBM-152).
    """
    from ..phantom import write_cohort

    with progress("patients") as on_progress:
        written = write_cohort(
            out,
            patients,
            layout=layout.value,
            seed=seed,
            lesions=lesions,
            varied=varied,
            metastases=metastases.value,
            on_progress=on_progress,
        )
    typer.echo(f"{len(written)} synthetic patients in {out}")
