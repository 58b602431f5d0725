"""The command line: one verb per job. Heavy imports happen inside the verbs, so that help is instant."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand

from .. import __version__
from ..errors import Cancelled, CeadError, CeadWarning
from .check import check
from .console import help_without_verb, print_json
from .detect import detect
from .evaluate import evaluate
from .explore import demo, open_
from .generated import DetectCommand, LateHelp
from .models import models_app
from .phantom import phantom
from .plugins import plugins
from .prepare import prepare
from .runs import runs_app
from .train import train

# Typer bundles its own copy of click from 0.20 on; this is its base class of usage errors in either case.
ClickException: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="napari-cead",
    help="Find lesions in brain MRI with autoencoders that have only seen healthy slices. Research use only.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
OWN: dict[Any, type[TyperCommand]] = {
    train: LateHelp,
    prepare: LateHelp,
    evaluate: LateHelp,
    detect: DetectCommand,
}
"""Verbs with advanced options, or whose help or options other packages add to."""

app.add_typer(models_app, name="models")
app.add_typer(runs_app, name="runs")
for verb in (demo, open_, phantom, check, prepare, train, detect, evaluate, plugins):
    app.command(verb.__name__.rstrip("_"), cls=OWN.get(verb))(verb)


def main() -> None:
    """Run the command line; exit status: 0 success, 2 invalid usage or input (one line on stderr), 130 Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Windows gives pipes an old encoding that lacks many letters; JSON in a pipe is UTF-8 in any case.
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
    # A fault of ours in one patient of many is a line of the results, not a traceback.
    logging.getLogger(__package__.partition(".")[0]).addHandler(logging.NullHandler())
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line with these arguments and return its exit status."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("once", CeadWarning)
            status = app(arguments, prog_name="napari-cead", standalone_mode=False, obj=tuple(arguments))
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, Cancelled, typer.Abort):
        typer.echo("cancelled", err=True)
        return 130
    except CeadError as error:
        typer.echo(f"error: {error}", err=True)
        _tell_script(arguments, error)
    except MemoryError:
        typer.echo("error: out of memory; close other programs or use a smaller model", err=True)
    except BrokenPipeError:
        # Nobody reads the output (a closed pipe): keep Python from complaining about it at exit.
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


def _tell_script(arguments: list[str], error: CeadError) -> None:
    """With ``--json``, print the error on stdout as JSON, so that a script need not parse the sentence."""
    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--json" in given:
        print_json({"schema_version": 1, "error": error.as_dict()})


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
    help_without_verb(context)
