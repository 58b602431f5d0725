"""The verbs about models: list, show, install, export, rename, note, remove, ensemble, compare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import printable
from ..wording import counted
from .console import confirm, help_without_verb, print_json, progress
from .options import Device, Yes

if TYPE_CHECKING:
    from ..zoo import ModelCard, ModelInfo

SHORT = 120
"""Most characters of a description in the list."""

models_app = typer.Typer(help="The bundled and installed models.", invoke_without_command=True)


@models_app.callback()
def _models(context: typer.Context) -> None:
    help_without_verb(context)


@models_app.command("list")
def models_list(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models with their origin and faults.

    A sentence stands for each; `models show` has the rest.
    """
    from ..zoo import PAPER_EXTRA, list_models, missing_models

    infos = list_models(damaged=True)
    if json:
        print_json([asdict(info) for info in infos])
        return
    width = max((len(info.name) for info in infos), default=0)
    for info in infos:
        typer.echo(f"{info.name:<{width}}  {info.where:<9}  {printable(_about(info))}")
    if missing := missing_models():
        typer.echo(f"Not installed: {', '.join(missing)}. {PAPER_EXTRA}")


def _about(info: ModelInfo) -> str:
    about = _in_short(info.description) if info.problem is None else f"cannot be used: {info.problem}"
    return about + (" (hides the bundled model of this name)" if info.hides_bundled else "")


def _in_short(description: str) -> str:
    """Return what a description begins with, up to the first full stop or colon."""
    return shorten(re.split(r"[.:;](?:\s|$)", description, maxsplit=1)[0], SHORT, placeholder="…")


@models_app.command("show")
def models_show(
    model: Annotated[str, typer.Argument(help="Name or folder of the model.")],
    json: Annotated[bool, typer.Option("--json", help="Print the whole card as JSON.")] = False,
) -> None:
    """Show a model's design, training and suggested settings."""
    from ..zoo import check_model, find_model
    from ..zoo.card import warn_of_remarks

    folder = find_model(model)
    card = check_model(folder)
    if json:
        print_json(card.model_dump(mode="json"))
        return
    warn_of_remarks(card)
    for line in _describe(card, folder):
        typer.echo(printable(line))


@models_app.command("install")
def models_install(
    source: Annotated[str, typer.Argument(help="Model folder, or zip file with one model.")],
    name: Annotated[
        str | None, typer.Option(help="Name for the model (default: the name on its card).")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an installed model of that name.")
    ] = False,
) -> None:
    """Check a model and copy it to the installed models."""
    from ..zoo import install_model

    folder = install_model(source, name, replace=replace)
    typer.echo(f"{folder.name}: installed in {folder}; use it with: --model {folder.name}")


@models_app.command("export")
def models_export(
    model: Annotated[str, typer.Argument(help="Name or folder of the model.")],
    target: Annotated[Path, typer.Argument(help="Folder to write; a name ending in .zip makes a zip file.")],
    onnx: Annotated[bool, typer.Option("--onnx", hidden=True)] = False,
    with_names: Annotated[
        bool,
        typer.Option(
            "--with-names",
            help="Keep your notes, the names of earlier models, and the system of the training.",
        ),
    ] = False,
) -> None:
    """Check a model and write it to a folder or a zip file."""
    from ..zoo import export_model, find_model, load_card

    card = load_card(find_model(model))
    # What --onnx once wrote is refused where it was: as a target of that name.
    written = export_model(model, target.with_suffix(".onnx") if onnx else target, private=not with_names)
    if written.is_dir():
        use = f"use it with: --model {written}"
    else:
        use = f"install it elsewhere with: napari-cead models install {written.name}"
    typer.echo(f"{card.name}: exported to {written}; {use}")


Installed = Annotated[str, typer.Argument(help="Name of an installed model.")]


@models_app.command("rename")
def models_rename(model: Installed, name: Annotated[str, typer.Argument(help="Its new name.")]) -> None:
    """Rename an installed model."""
    from ..zoo import rename_model

    typer.echo(str(rename_model(model, name)))


@models_app.command("note")
def models_note(
    model: Installed, text: Annotated[str, typer.Argument(help='Text for its card; "" removes it.')]
) -> None:
    """Write notes on the card of an installed model.

    Exports leave them out by default.
    """
    from ..zoo import note_model

    card = note_model(model, text)
    typer.echo(f"{model}: {'noted' if card.notes else 'no notes'}")


@models_app.command("remove")
def models_remove(
    model: Installed,
    yes: Yes = False,
) -> None:
    """Delete an installed model for good."""
    from ..zoo import remove_model
    from ..zoo.managing import check_installed

    check_installed(model)
    confirm(f"Delete the model {printable(model)} for good?", yes)
    typer.echo(str(remove_model(model)))


@models_app.command("ensemble")
def models_ensemble(
    name: Annotated[str, typer.Argument(help="Name of the ensemble.")],
    members: Annotated[list[str], typer.Argument(help="Names or folders of two or more models.")],
    data: Annotated[
        Path, typer.Option(help="Slice store whose validation patients choose the suggested settings.")
    ],
    device: Device = "auto",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an installed model of that name.")
    ] = False,
) -> None:
    """Make one model of several.

    Its anomaly map is the median of their maps.
    """
    from tempfile import TemporaryDirectory

    from ..calibration.ensembling import make_ensemble
    from ..zoo import install_model
    from ..zoo.installing import free_place

    free_place(name, replace)
    with TemporaryDirectory() as place, progress("calibrating") as on_progress:
        made = make_ensemble(members, data, Path(place) / name, name, device=device, on_progress=on_progress)
        folder = install_model(made, name, replace=replace)
    typer.echo(f"{name}: an ensemble of {len(members)} models; use it with: --model {folder.name}")


@models_app.command("compare")
def models_compare(
    before: Annotated[str, typer.Argument(help="Name or folder of the model before fine-tuning.")],
    after: Annotated[str, typer.Argument(help="Name or folder of the fine-tuned model.")],
    data: Annotated[
        Path, typer.Option(help="The slice store of the fine-tuning (for a run on scans: RUN/store).")
    ],
    patient: Annotated[Path | None, typer.Option(help="A patient with a lesion mask.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: Device = "auto",
) -> None:
    """Compare a model before and after fine-tuning.

    It is measured on held-out healthy slices, and on a patient.
    """
    from ..evaluation.before_after import compare
    from ..evaluation.fine_tuned import tables
    from ..report.table import aligned

    with progress("comparing") as on_progress:
        found = compare(before, after, data, patient=patient, device=device, on_progress=on_progress)
    if json:
        print_json(found.described())
        return
    for table in tables(found):
        for line in (table.title, *aligned((table.headers, *table.rows)), ""):
            typer.echo(printable(line))
    for line in (found.verdict, *(f"note: {note}" for note in found.notes)):
        typer.echo(printable(line))


def _describe(card: ModelCard, folder: Path) -> Iterator[str]:
    """Yield the lines of a card."""
    values = card.model_dump(mode="json")
    yield card.name
    if card.description:
        yield card.description
    yield from card.notes.splitlines()
    yield f"in {folder}"
    for title, key in (("Network", "spec"), ("Input", "preprocessing"), ("Training", "training")):
        yield from _section(title, values[key])
    scans = [counted(len(training.patients), "patient") for training in card.trained_on] or ["not known"]
    yield from _section(
        "Recognised training scans (its own first, then those of its parents)", {"marked": ", ".join(scans)}
    )
    suggestions = {
        f"{suggestion.score} ({suggestion.rule})": _text(suggestion.params) for suggestion in card.suggestions
    }
    yield from _section("Suggested settings (the first score and threshold are the default)", suggestions)
    yield from _section("Scales of the scores", values["score_scales"])
    # Numbered, the nearest first: an earlier version may have the same name.
    parents = {
        f"{number}. {parent.name}": parent.sha256 for number, parent in enumerate(card.parents, start=1)
    }
    yield from _section("Fine-tuned from" if card.spec.network.trainable else "Members", parents)
    weights: dict[str, Any] = {
        "parameters": f"{card.parameters:,}",
        "type": card.dtype,
        "sha256": card.sha256,
    }
    if card.statistics:
        weights["healthy statistics"] = values["statistics"]
    yield from _section("Weights", weights)


def _section(title: str, values: Mapping[str, Any], level: int = 0) -> Iterator[str]:
    """Yield a titled, aligned list; nothing if it is empty."""
    if not values:
        return
    if level == 0:
        yield ""
    indent = "  " * level
    yield f"{indent}{title}"
    width = max(len(_label(key)) for key in values)
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _section(_label(key), value, level + 1)
        else:
            yield f"{indent}  {_label(key):<{width}}  {_text(value)}"


_LONG = 12
"""A longer list (losses by epoch) is shown by its first and last item."""


def _text(value: Any) -> str:
    """Return a value of a card in words: no brackets, quotes or sixteen digits."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(key)} {_text(item)}" for key, item in value.items()) or "–"
    if isinstance(value, list | tuple):
        if len(value) > _LONG:
            return f"{len(value)} values, from {_text(value[0])} to {_text(value[-1])}"
        return ", ".join(_text(item) for item in value) or "–"
    return str(value)


def _label(key: str) -> str:
    return str(key).replace("_", " ")
