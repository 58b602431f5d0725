"""What the verbs of the command line share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import typer


class Side(StrEnum):
    """A side of the patient."""

    LEFT = "left"
    RIGHT = "right"


def help_without_verb(context: typer.Context) -> None:
    """Print the help where a verb is missing."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def number(value: float | None) -> str:
    """Return a figure with three decimals, or a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.3f}"


def print_json(value: Any) -> None:
    """Print strict JSON."""
    from ..atomic import to_json

    typer.echo(to_json(value), nl=False)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give an ``onprogress`` callback: a bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
