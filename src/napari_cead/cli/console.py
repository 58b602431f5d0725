"""Functions shared by the verbs of the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, NoReturn

import typer

from ..errors import ParameterError
from ..progress import Pace
from ..wording import UNDEFINED, number
from .heartbeat import display


class Progress(StrEnum):
    """Formats of the progress display."""

    BAR = "bar"
    JSON = "json"


class Side(StrEnum):
    """A side of the patient."""

    LEFT = "left"
    RIGHT = "right"


def help_without_verb(context: typer.Context) -> None:
    """Print the help if the verb is missing."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def figures(dice: float | None, volume_ml: float) -> str:
    """Return the figures of a mask in words, without the Dice where it is undefined: there is no reference."""
    found = number(dice)
    return ("" if found == UNDEFINED else f"Dice {found} (volume), ") + f"{volume_ml:.2f} mL detected"


def typed(context: typer.Context) -> frozenset[str]:
    """Return the names of the options that the user gave, with underscores: typed, or set in a ``--config`` file."""
    given = set()
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name == "DEFAULT":
            continue
        if source.name != "DEFAULT_MAP" or context.params.get(name) != parameter.default:
            given.add(name)
    return frozenset(given)


def refuse(flag: str, when: str, hint: str = "leave it out") -> NoReturn:
    """Refuse an option without effect in this situation: the user expects one.

    Raises:
        ParameterError: Always.
    """
    raise ParameterError(f"{flag} does nothing {when}", hint=hint)


def confirm(question: str, yes: bool) -> None:
    """Ask before deleting something.

    Raises:
        ParameterError: If nobody can answer.
        typer.Abort: If the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ParameterError(
            "nothing is deleted without asking, and there is no terminal to ask in", hint="add --yes"
        )
    typer.confirm(question, abort=True)


def print_json(value: Any) -> None:
    """Print strict JSON."""
    from ..atomic import to_json

    typer.echo(to_json(value), nl=False)


@contextmanager
def progress(what: str, shown: Progress = Progress.BAR) -> Iterator[Callable[[int, int], None]]:
    """Yield an ``on_progress`` callback: a bar on a terminal, else a line now and then; or lines of JSON on stderr."""
    if shown is Progress.JSON:
        pace = Pace()

        def tell(done: int, total: int) -> None:
            pace.count(done, total)
            left = None if pace.left is None else round(pace.left, 1)
            typer.echo(json.dumps({"done": done, "total": total, "left_s": left}), err=True)

        yield tell
        return
    with display(what) as seen:
        yield seen
