"""The verb that turns a cohort into a slice store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .config import configurable, keep, whole
from .console import Side, progress, refuse, typed
from .options import (
    AssumeHealthy,
    Bias,
    BiasField,
    Cohort,
    LayoutOption,
    PngColumn,
    Register,
    Registration,
    Split,
    StripFrom,
    preparation,
)


@configurable(first=("out", "sequence", "assume_healthy", "layout", "split", "seed", "strip", "skull_ok"))
def prepare(
    context: typer.Context,
    cohort: Cohort,
    out: Annotated[Path, typer.Option(help="The slice store to write or update.")],
    sequence: Annotated[
        str | None, typer.Option(help="Sequence to use (default: that of the scan list, or flair).")
    ] = None,
    assume_healthy: AssumeHealthy = False,
    layout: LayoutOption = None,
    split: Split = "patient",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 0,
    validation: Annotated[float, typer.Option(min=0, max=1, help="Share of validation patients.")] = 0.15,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of test patients.")] = 0.15,
    min_brain: Annotated[
        float, typer.Option(min=0, max=1, help="Slices with a smaller share of brain are not trained on.")
    ] = 0.15,
    intensity: Annotated[
        str, typer.Option(help="Scaling to [0, 1]: volume-percentile, volume-tissue or slice-max.")
    ] = "volume-percentile",
    spacing: Annotated[
        float, typer.Option(min=0.1, max=10, help="Pixel size of the model's input in mm.")
    ] = 0.94,
    image_size: Annotated[int, typer.Option(min=16, help="Side of the slices in pixels.")] = 196,
    png_first_column: PngColumn = Side.LEFT,
    strip: Annotated[
        str,
        typer.Option(
            help="Skull: never (such scans are left out), auto (strip it if the scan shows one), a stripper, or "
            '"command:PROGRAM … {input} … {output}".'
        ),
    ] = "never",
    bias_field: BiasField = Bias.NEVER,
    register: Registration = Register.NEVER,
    strip_from: StripFrom = "same",
    skull_ok: Annotated[
        bool,
        typer.Option(
            "--skull-ok", help="Accept scans that are not skull-stripped, or whose background is not 0."
        ),
    ] = False,
) -> None:
    """Turn a cohort into a store of slices for training.

    The cohort is a folder, or a scan list in JSON. It is split by patient.
    """
    if split not in ("patient", "slice"):
        for name in sorted(typed(context) & {"seed", "validation", "test"}):
            refuse(f"--{name}", f"with a split file ({split}), which says where each patient belongs")
    wanted = preparation(strip, bias_field, register, strip_from, several=True)
    source: Any = cohort
    if layout is not None and split == "patient":
        for name in sorted(typed(context) & {"seed", "validation", "test"}):
            refuse(f"--{name}", "with --layout, whose split is fixed (or add --split FILE)")
    if not wanted.nothing:
        if layout is not None:
            refuse(
                "--layout", "with --strip, --bias-field or --register: prepare such scans as their names say"
            )
        if skull_ok and strip != "never":
            refuse("--skull-ok", "with --strip, which strips every skull")
        if png_first_column is not Side.LEFT:
            refuse("--png-first-column", "with --strip, --bias-field or --register, which are for volumes")
        from ..store.raw_scans import prepared_listing

        with progress("raw scans") as on_progress:
            source = prepared_listing(
                cohort, sequence, wanted, say=lambda text: typer.echo(text, err=True), on_progress=on_progress
            )
    from ..store.prepare import prepare as run_prepare

    scaling: Any = intensity  # an unknown one is refused with one sentence

    with progress("preparing") as on_progress:
        store = run_prepare(
            source,
            out,
            on_progress=on_progress,
            sequence=sequence,
            layout=layout,
            assume_healthy=assume_healthy,
            split=split,
            seed=seed,
            validation=validation,
            test=test,
            min_brain=min_brain,
            intensity=scaling,
            spacing=(spacing, spacing),
            image_size=image_size,
            png_first_column=png_first_column.value,
            skull_ok=skull_ok,
        )
    named = {name: whole(text) for name, text in (("layout", layout), ("split", split))}
    keep(prepare, out, {**context.params, **named, "sequence": store.settings.sequence})
    typer.echo(f"{out}: {store.summary()}")
