"""``--config FILE`` and ``--print-config``: all options of a verb as one commented file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from ..progress import Progress
from ..training.recipe import filled
from .generated import ADVANCED, option, taking

OWN = ("config", "print_config")
NO_SETTINGS = ("help", "json", "resume", "detach", "dry_run", "yes", *OWN)
"""Options for this call only, which do not belong in a file."""

FORMER = {"shown": "progress"}
"""Names in files that earlier versions wrote, and what they are called now."""

Verb = Callable[..., None]
Values = Mapping[str, Any]


def configurable(
    resolve: Callable[[Values], Values] | None = None, *, first: Collection[str]
) -> Callable[[Verb], Verb]:
    """Give a verb the options ``--config`` and ``--print-config``.

    Args:
        resolve: Fills in the values that the options leave to a model or a preset.
        first: The options that the help shows first, beside those two; all others stand below them, as advanced.
    """

    def decorate(verb: Verb) -> Verb:
        own = inspect.signature(verb, eval_str=True).parameters
        every = {
            name: (each if name in first else _advanced(each)).replace(kind=each.KEYWORD_ONLY)
            for name, each in own.items()
        }
        every.setdefault("context", option("context", typer.Context, inspect.Parameter.empty))
        every["config"] = option("config", Annotated[Path | None, _CONFIG])
        every["print_config"] = option("print_config", Annotated[bool, _PRINT], False)

        def configured(
            *, context: typer.Context, config: Path | None, print_config: bool, **values: Any
        ) -> None:
            if print_config:
                given = {name: value for name, value in context.params.items() if name not in OWN}
                typer.echo(_text(context, given if resolve is None else resolve(given)), nl=False)
                return
            verb(**values, **({"context": context} if "context" in own else {}))

        return taking(configured, every.values(), verb)

    return decorate


def keep(
    verb: Verb, out: Path, values: Values, words: Sequence[str] = (), *, cls: type[TyperCommand] | None = None
) -> None:
    """Write all options of a verb into the folder of its results, with whole paths, to give them again.

    Args:
        verb: The verb.
        out: The folder.
        values: The options by name.
        words: Those that are left are as in these words of a command, or at their defaults.
        cls: The class of its command.
    """
    from ..atomic import write_text
    from ..options_file import CONFIG_FILE

    app = typer.Typer(add_completion=False)
    app.command(verb.__name__, cls=cls)(verb)
    command: Any = typer.main.get_command(app)
    with command.make_context(verb.__name__, [*words], resilient_parsing=True) as context:
        every = {**context.params, **values}
        text = _text(context, {name: _absolute(value) for name, value in every.items()})
    write_text(out.expanduser() / CONFIG_FILE, text)


def when_begun(do: Callable[[], None], on_progress: Progress) -> Progress:
    """Return a progress callback that does something first: nothing was refused then, and the folder is there."""
    begun = False

    def told(done: int, total: int) -> None:
        nonlocal begun
        if not begun:
            do()
        begun = True
        on_progress(done, total)

    return told


def whole(text: str | None) -> str | None:
    """Return the whole path of a file that an option names; anything else as it is."""
    file = Path(text or "").expanduser()
    return str(file.absolute()) if text and file.is_file() else text


def _advanced(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return an option that the help shows as advanced; an argument as it is."""
    kind, *infos = get_args(parameter.annotation) or (parameter.annotation,)
    if not infos or isinstance(infos[0], typer.models.ArgumentInfo):
        return parameter
    info = copy(infos[0])  # other verbs have it too
    info.rich_help_panel = ADVANCED
    return parameter.replace(annotation=Annotated[kind, info])


def _read(context: typer.Context, file: Path | None) -> Path | None:
    """Use the values of a file as this call's defaults: options on the command line win."""
    if file is not None:
        from ..options_file import read_options

        context.default_map = {**(context.default_map or {}), **read_options(file, _names(context), FORMER)}
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


def _absolute(value: Any) -> Any:
    return value.expanduser().absolute() if isinstance(value, Path) else value
