"""``--config FILE`` and ``--print-config``: all options of a verb as one commented file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..training.recipe_words import filled

OWN = ("config", "print_config")
NO_SETTINGS = ("help", "json", "resume", "detach", "dry_run", "yes", *OWN)
"""Options for this call only, which do not belong in a file."""

Verb = Callable[..., None]
Values = Mapping[str, Any]


def configurable(
    resolve: Callable[[Values], Values] | None = None, *, kept: bool = False
) -> Callable[[Verb], Verb]:
    """Give a verb the options ``--config`` and ``--print-config``.

    Args:
        resolve: Fills in the values that the options leave to a model or a preset.
        kept: Whether the options are also written into the folder ``--out`` when the verb has finished.
    """

    def decorate(verb: Verb) -> Verb:
        own = inspect.signature(verb, eval_str=True).parameters
        named = inspect.Parameter.KEYWORD_ONLY
        every = {name: each.replace(kind=named) for name, each in own.items()}
        every.setdefault("context", inspect.Parameter("context", named, annotation=typer.Context))
        every["config"] = inspect.Parameter(
            "config", named, annotation=Annotated[Path | None, _CONFIG], default=None
        )
        every["print_config"] = inspect.Parameter(
            "print_config", named, annotation=Annotated[bool, _PRINT], default=False
        )

        def configured(
            *, context: typer.Context, config: Path | None, print_config: bool, **values: Any
        ) -> None:
            def text() -> str:
                given = {name: value for name, value in context.params.items() if name not in OWN}
                return _text(context, given if resolve is None else resolve(given))

            if print_config:
                typer.echo(text(), nl=False)
                return
            verb(**values, **({"context": context} if "context" in own else {}))
            if kept:
                from ..atomic import write_text
                from ..options_file import CONFIG_FILE

                write_text(Path(context.params["out"]).expanduser() / CONFIG_FILE, text())

        configured.__name__, configured.__doc__ = verb.__name__, verb.__doc__
        configured.__signature__ = inspect.Signature(list(every.values()))  # type: ignore[attr-defined]
        configured.__annotations__ = {name: each.annotation for name, each in every.items()}
        return configured

    return decorate


def _read(context: typer.Context, file: Path | None) -> Path | None:
    """Use the values of a file as this call's defaults: options on the command line win."""
    if file is not None:
        from ..options_file import read_options

        context.default_map = {**(context.default_map or {}), **read_options(file, _names(context))}
    return file


def _print(context: typer.Context, wanted: bool) -> bool:
    """Allow printing a file before all of its values are known."""
    if wanted:
        for parameter in context.command.params:
            parameter.required = False
    return wanted


_CONFIG = typer.Option(
    help="Read the options from this YAML file; options on the command line win.",
    callback=_read,
    is_eager=True,
)
_PRINT = typer.Option(
    "--print-config",
    help="Print all options with their values as such a file, and exit.",
    callback=_print,
    is_eager=True,
)


def _names(context: typer.Context) -> tuple[str, ...]:
    return tuple(
        str(each.name) for each in context.command.params if each.name and each.name not in NO_SETTINGS
    )


def _text(context: typer.Context, values: Values) -> str:
    from ..options_file import write_options

    command = context.command
    known = {each.name: filled(getattr(each, "help", None) or "") for each in command.params}
    return write_options(
        str(context.info_name), ((name, known[name], values.get(name)) for name in _names(context))
    )
