"""The verbs that open a window: demo, open."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import CeadError, OutputError
from .console import figures


def demo(
    screenshot: Annotated[
        Path | None, typer.Option(help="Save a screenshot of the window here and exit.")
    ] = None,
) -> None:
    """Open napari with a sample patient and run the default model.

    The result is in the Explore dock.
    """
    from .. import resources
    from ..exploring import DEFAULT_MODEL

    _explore([resources.sample_patient()], DEFAULT_MODEL, screenshot)


def open_(
    paths: Annotated[list[Path], typer.Argument(help="Patient folders or NIfTI files.")],
    model: Annotated[str | None, typer.Option(help="Model to run at once.")] = None,
    screenshot: Annotated[
        Path | None, typer.Option(help="Save a screenshot of the window here and exit.")
    ] = None,
) -> None:
    """Open napari on your own patient, with the Explore dock."""
    _explore(paths, model, screenshot)


def _explore(paths: list[Path], model: str | None, screenshot: Path | None) -> None:
    if screenshot is not None:
        if screenshot.suffix.lower() != ".png":
            raise OutputError(
                "a screenshot is saved as PNG", file=screenshot, hint="let the name end in .png"
            )
        if not screenshot.absolute().parent.is_dir():
            raise OutputError("its folder does not exist", file=screenshot, hint="create the folder first")
    _need_display()
    from ..errors import extra

    with extra("qt", "A napari window"):
        from ..widgets.explore.launch import explore
    from ..detection.choosing import settings_line
    from ..detection.saving import described_settings
    from ..metrics import volume_ml

    widget = explore(paths, model, run=model is not None, screenshot=screenshot)
    analysis = widget.session.analysis
    if screenshot is not None and analysis is not None:
        result = analysis.detection()
        typer.echo(
            f"{result.patient.name}: {result.model}, {settings_line(described_settings(result))}: "
            f"{figures(result.dice, volume_ml(result.mask, result.patient.spacing))}; {screenshot}"
        )


def _need_display() -> None:
    if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise CeadError(
            "there is no display for a window",
            hint='set DISPLAY, or run: xvfb-run -a -s "-screen 0 1600x1000x24" napari-cead …',
        )
