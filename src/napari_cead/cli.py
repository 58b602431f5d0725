"""The command line: one verb per job. Heavy imports happen inside the verbs, so that help is instant."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from . import __version__
from .errors import Cancelled, CeadError, CeadWarning, OutputError, ParameterError

if TYPE_CHECKING:
    from .detection import PostprocessParams

# Typer brings its own copy of click from 0.20 on; this is its base class of usage errors, whichever it uses.
ClickException: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="napari-cead",
    help="Find lesions in brain MRI with autoencoders that have only seen healthy slices. Research use only.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="The models that are bundled or installed.", invoke_without_command=True)
app.add_typer(models_app, name="models")


class Layout(StrEnum):
    """Layouts of BrainMetShare on disk."""

    NIFTI = "nifti"
    PNG = "png"


class Side(StrEnum):
    """A side of the patient."""

    LEFT = "left"
    RIGHT = "right"


def main() -> None:
    """Run the command line: exit status 0 done, 2 wrong use or input (one line on stderr), 130 on Ctrl-C."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line with these arguments and return its exit status."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("once", CeadWarning)
            status = app(arguments, prog_name="napari-cead", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, Cancelled, typer.Abort):
        typer.echo("cancelled", err=True)
        return 130
    except CeadError as error:
        typer.echo(f"error: {error}", err=True)
    except MemoryError:
        typer.echo("error: out of memory; close other programs or use a smaller model", err=True)
    except BrokenPipeError:
        # Nobody reads on (a closed pipe): keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        typer.echo(
            f"error: {error.filename or 'output'}: {error.strerror or error}; check the disk", err=True
        )
    except ClickException as error:
        message = getattr(error, "format_message", error.__str__)()
        typer.echo(f"error: {' '.join(message.split())}", err=True)
    return 2


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, CeadWarning):
        typer.echo(f"warning: {message}", err=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-cead {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    _help_without_verb(context)


@models_app.callback()
def _models(context: typer.Context) -> None:
    _help_without_verb(context)


def _help_without_verb(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give an ``on_progress`` callback: a bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


@app.command()
def demo(
    screenshot: Annotated[
        Path | None, typer.Option(help="Save a picture of the window here and exit.")
    ] = None,
) -> None:
    """Open napari with the sample patient, run the default model and show the Explore dock."""
    from . import resources
    from .exploring import DEFAULT_MODEL

    _explore([resources.sample_patient()], DEFAULT_MODEL, screenshot)


@app.command("open")
def open_(
    paths: Annotated[list[Path], typer.Argument(help="Patient folders or NIfTI files.")],
    model: Annotated[str | None, typer.Option(help="Model to run at once.")] = None,
    screenshot: Annotated[
        Path | None, typer.Option(help="Save a picture of the window here and exit.")
    ] = None,
) -> None:
    """Open napari on your own patient, with the Explore dock."""
    _explore(paths, model, screenshot)


def _explore(paths: list[Path], model: str | None, screenshot: Path | None) -> None:
    if screenshot is not None:
        if screenshot.suffix.lower() != ".png":
            raise OutputError(
                "a screenshot is saved as PNG", file=screenshot, mend="let the name end in .png"
            )
        if not screenshot.absolute().parent.is_dir():
            raise OutputError("its folder does not exist", file=screenshot, mend="create the folder first")
    _need_display()
    from .errors import extra

    with extra("qt", "A napari window"):
        from .widgets.launch import explore
    widget = explore(paths, model, run=model is not None, screenshot=screenshot)
    analysis = widget.session.analysis
    if screenshot is not None and analysis is not None:
        typer.echo(
            f"{analysis.reconstruction.patient.name}: {analysis.reconstruction.model}, {analysis.score}, "
            f"threshold {analysis.params.threshold:g}: Dice {_number(widget.session.dice)} (volume), "
            f"{widget.session.volume_ml:.2f} mL detected; {screenshot}"
        )


def _need_display() -> None:
    if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise CeadError(
            "there is no display for a window",
            mend='set DISPLAY, or run: xvfb-run -a -s "-screen 0 1600x1000x24" napari-cead …',
        )


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write; patients go to OUT/train/Mets_NNN.")],
    patients: Annotated[int, typer.Option(min=1, help="How many patients.")] = 1,
    layout: Annotated[Layout, typer.Option(help="BrainMetShare's NIfTI or PNG release.")] = Layout.NIFTI,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same patients.")] = 0,
) -> None:
    """Write a cohort of synthetic patients on real human anatomy (ICBM-152), with lesion masks."""
    from .patients.phantom import write_cohort

    with _progress("patients") as on_progress:
        written = write_cohort(out, patients, layout=layout.value, seed=seed, on_progress=on_progress)
    typer.echo(f"{len(written)} synthetic patients in {out}")


FLAGS = {
    "threshold": "--threshold",
    "closing_radius": "--closing",
    "area_fraction": "--area-fraction",
    "dilation_radius": "--dilation",
    "min_area_mm2": "--min-area",
}
"""Post-processing settings and the flags that change them."""


@app.command()
def detect(
    patient: Annotated[Path, typer.Argument(help="A patient's folder or file, or a folder of patients.")],
    model: Annotated[str, typer.Option(help="Name or folder of the model.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    sequence: Annotated[str, typer.Option(help="Sequence to use.")] = "flair",
    mask: Annotated[Path | None, typer.Option(help="Lesion mask to compare with.")] = None,
    threshold: Annotated[float | None, typer.Option(help="0 to 1.")] = None,
    closing: Annotated[int | None, typer.Option(help="Radius in pixels.")] = None,
    area_fraction: Annotated[
        float | None, typer.Option(help="0 to 1, of the slice's largest component.")
    ] = None,
    dilation: Annotated[int | None, typer.Option(help="Radius in pixels.")] = None,
    min_area: Annotated[float | None, typer.Option(help="Smallest component in mm².")] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="residual, positive-residual, squared or intensity; the model's suggestion if left out."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    png_first_column: Annotated[
        Side, typer.Option(help="Side of the patient that column 0 of PNG slices shows.")
    ] = Side.LEFT,
    json: Annotated[bool, typer.Option("--json", help="Print detection.json.")] = False,
) -> None:
    """Write anomaly map, reconstruction and mask (NIfTI, source grid) and detection.json."""
    from .patients import find_patients, is_patient

    given = zip(FLAGS, (threshold, closing, area_fraction, dilation, min_area), strict=True)
    changes = {name: value for name, value in given if value is not None}
    several = patient.is_dir() and not is_patient(patient)
    paths = list(find_patients(patient)) if several else [patient]
    if several and mask is not None:
        raise ParameterError("--mask goes with one patient", mend="name the patient's folder")
    one = _Detect(model, score, changes, sequence, png_first_column.value, device)
    if not several or not paths:
        described = one(patient, mask, out)
        typer.echo(_to_json(described) if json else _line(described, out), nl=not json)
        return
    results, skipped = [], []
    for path in paths:
        try:
            results.append(one(path, None, out / path.relative_to(patient).with_suffix("")))
        except OutputError:
            raise
        except CeadError as error:
            skipped.append({"patient": str(path), "reason": str(error)})
            typer.echo(f"skipped: {error}", err=True)
            continue
        if not json:
            typer.echo(_line(results[-1], out / path.relative_to(patient)))
    if json:
        typer.echo(_to_json({"schema_version": 1, "results": results, "skipped": skipped}), nl=False)
    else:
        typer.echo(f"{len(results)} patients done, {len(skipped)} skipped")


class _Detect:
    """Detection with fixed settings; the model is loaded once."""

    def __init__(
        self, model: str, score: str | None, changes: dict[str, Any], sequence: str, side: Any, device: str
    ) -> None:
        from .detection import SCORES, suggested
        from .zoo import find_model, load_card, load_model

        card = load_card(find_model(model))
        if score is not None and score not in SCORES:
            raise ParameterError(f"unknown score {score!r}", mend=f"use one of {', '.join(SCORES)}")
        self.score, params, _ = suggested(card, score)
        self.params = _replace(params, changes) if changes else None
        self.detector = load_model(model, device)
        self.sequence, self.side = sequence, side

    def __call__(self, path: Path, mask: Path | None, out: Path) -> dict[str, Any]:
        from .detection import check_output, save_detection
        from .detection import detect as run_detection
        from .patients import load_patient

        patient = load_patient(path, self.sequence, mask, only=True, png_first_column=self.side)
        check_output(out, patient)
        with _progress(patient.name) as on_progress:
            result = run_detection(patient, self.detector, self.params, self.score, on_progress=on_progress)
        for note in result.warnings:
            if note not in patient.warnings:  # those were told when it was loaded
                typer.echo(f"warning: {note}", err=True)
        return save_detection(result, out)


def _replace(params: PostprocessParams, changes: dict[str, Any]) -> PostprocessParams:
    """Change settings; an error speaks of the flag that was typed."""
    try:
        return params.replace(**changes)
    except ParameterError as error:
        reason = error.reason
        for name, flag in FLAGS.items():
            reason = reason.replace(name, flag)
        raise ParameterError(reason, mend=error.mend) from None


def _line(described: dict[str, Any], out: Path) -> str:
    params = described["params"]
    return (
        f"{described['patient']}: {described['model']}, {described['score']}, threshold {params['threshold']:g} "
        f"({described['rule']}): Dice {_number(described['dice'])} (volume), {described['volume_ml']:.2f} mL "
        f"detected; {out}"
    )


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"


def _to_json(value: Any) -> str:
    from .atomic import to_json

    return to_json(value)


@models_app.command("list")
def models_list(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models that can be run."""
    from dataclasses import asdict

    from .zoo import list_models

    infos = [asdict(info) for info in list_models()]
    if json:
        typer.echo(_to_json(infos), nl=False)
        return
    for info in infos:
        typer.echo(f"{info['name']:<14} {info['where']:<10} {info['description']}")


@models_app.command("show")
def models_show(
    model: Annotated[str, typer.Argument(help="Name or folder of the model.")],
    json: Annotated[bool, typer.Option("--json", help="Print the whole card as JSON.")] = False,
) -> None:
    """Show what a model is, how it was trained, and what it suggests."""
    from .zoo import check_model, find_model

    card = check_model(find_model(model)).model_dump(mode="json")
    if json:
        typer.echo(_to_json(card), nl=False)
        return
    for key, value in card.items():
        if isinstance(value, dict):
            typer.echo(f"{key}:")
            for name, item in value.items():
                typer.echo(f"  {name}: {item}")
        elif isinstance(value, list):
            typer.echo(f"{key}:")
            for item in value:
                typer.echo(f"  - {item}")
        else:
            typer.echo(f"{key}: {value}")
