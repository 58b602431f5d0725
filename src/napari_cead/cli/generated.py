"""Options made from descriptions, so that each is described once: from settings classes, and from tables of settings.

What other packages add is looked up only when a help is shown, or a command is run.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from ..training.recipe import filled

if TYPE_CHECKING:
    from ..detection.settings import Parameter, Settings

Described = TypeVar("Described", bound=BaseModel)
Verb = TypeVar("Verb", bound=Callable[..., Any])

ADVANCED = "Advanced"
"""Title of the options that most users never need."""


def option(name: str, kind: Any, default: Any = None) -> inspect.Parameter:
    """Return a parameter of a verb.

    Args:
        name: Its name.
        kind: Its type, annotated with a Typer option.
        default: Its default; ``inspect.Parameter.empty``: it is required.
    """
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)


def taking(verb: Verb, parameters: Iterable[inspect.Parameter], like: Callable[..., Any]) -> Verb:
    """Give a function that takes any keywords the parameters of a verb, and the name and help of another function."""
    every = list(parameters)
    verb.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    verb.__annotations__ = {each.name: each.annotation for each in every}
    verb.__name__, verb.__doc__ = like.__name__, like.__doc__
    return verb


def command(
    settings: type[Described], do: Callable[..., None], *, arguments: tuple[str, ...] = (), **more: Any
) -> Callable[..., None]:
    """Return a verb whose options are the fields of a settings class.

    Args:
        settings: The class; a field's description is the help of its option.
        do: Called with the context, the settings, and the options that are not settings.
        arguments: Fields that are given without a flag.
        more: Options that are not settings: a type with a Typer option, and a default.
    """

    def verb(*, context: typer.Context, **values: Any) -> None:
        others = {name: values.pop(name) for name in more}
        plain = {name: value.value if isinstance(value, StrEnum) else value for name, value in values.items()}
        do(context, settings(**plain), **others)

    fields = (_of_field(name, field, name in arguments) for name, field in settings.model_fields.items())
    others = (option(name, kind, default) for name, (kind, default) in more.items())
    context = option("context", typer.Context, inspect.Parameter.empty)
    return taking(verb, (context, *fields, *others), do)


def _of_field(name: str, field: FieldInfo, argument: bool) -> inspect.Parameter:
    kind, optional = _kind(name, field.annotation)
    flag = f"--{name.replace('_', '-')}"
    limits: dict[str, Any] = {}
    for limit in field.metadata:
        if isinstance(limit, Ge):
            limits["min"] = limit.ge
        elif isinstance(limit, Le):
            limits["max"] = limit.le
    flags = (f"{flag}/--no-{flag[2:]}" if optional else flag,) if kind is bool else ()
    info = (
        typer.Argument(help=field.description, **limits)
        if argument
        else typer.Option(*flags, help=field.description, **limits)
    )
    default = inspect.Parameter.empty if field.is_required() else field.default
    if isinstance(default, StrEnum):
        default = default.value
    return option(name, Annotated[kind | None if optional else kind, info], default)


def _kind(name: str, annotation: Any) -> tuple[Any, bool]:
    """Return the type of an option, choices as an enumeration, and whether it may be left out."""
    options = [annotation]
    if get_origin(annotation) in (types.UnionType, typing.Union):
        options = list(get_args(annotation))
    optional = type(None) in options
    kind: Any = next(each for each in options if each is not type(None))
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        choices = [(str(each).upper(), each) for each in get_args(kind)]
        return StrEnum(name.title().replace("_", ""), choices), optional
    assert kind in (bool, int, float, str, Path) or issubclass(kind, StrEnum)
    return kind, optional


class LateHelp(TyperCommand):
    """A verb whose help has placeholders, and its advanced options in a section of their own."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with the current names."""
        for parameter in self.params:
            words = getattr(parameter, "help", None)
            if words:
                parameter.help = filled(words)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options, then the advanced ones."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], ADVANCED: []}
        for parameter in self.get_params(ctx):
            title = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if (record := parameter.get_help_record(ctx)) is not None:
                sections[getattr(parameter, "rich_help_panel", None) or title].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class DetectCommand(LateHelp):
    """The command `detect`, with an option for every setting and all scores in its help.

    The verb itself takes none of these options: `given_settings` reads them from the context.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._own: list[Any] = list(self.params)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Add the current options for settings before that of the score."""
        from ..detection import MAP_OPTIONS, PostprocessParams
        from ..detection.scores import scores_in_words

        place = next(number for number, param in enumerate(self._own) if param.name == "score")
        self._own[place].help = f"The model's suggestion if left out. {scores_in_words()}"
        settings = _of_rows((*PostprocessParams.parameters(), *MAP_OPTIONS))
        self.params = [*self._own[:place], *settings, *self._own[place:]]
        return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Call the verb with the options that it takes."""
        own = {param.name for param in self._own}
        return ctx.invoke(self.callback, **{name: value for name, value in ctx.params.items() if name in own})


def given_settings(context: typer.Context, settings: type[Settings]) -> dict[str, Any]:
    """Return those of some settings that were given on the command line, by name."""
    found = {row.name: context.params.get(_option_name(row)) for row in settings.parameters()}
    return {name: value for name, value in found.items() if value is not None}


def option_values(settings: Settings) -> dict[str, Any]:
    """Return the values of some settings, by the names of their options."""
    return {_option_name(row): getattr(settings, row.name) for row in settings.parameters()}


def _option_name(row: Parameter) -> str:
    return row.flag.removeprefix("--").replace("-", "_")


@lru_cache(maxsize=4)
def _of_rows(rows: tuple[Parameter, ...]) -> tuple[Any, ...]:
    """Return options for settings, made by Typer itself from a function that would take them."""

    def takes(**values: Any) -> None:
        pass

    app = typer.Typer(add_completion=False)
    app.command(add_help_option=False)(taking(takes, map(_of_row, rows), takes))
    return tuple(typer.main.get_command(app).params)


def _of_row(row: Parameter) -> inspect.Parameter:
    words, flag = row.description, row.flag
    if row.kind is bool:
        flag = f"{row.flag}/{row.off_flag}"
    else:
        unit = f" {row.unit}" if row.unit and not row.percent else ""
        words = f"{words.removesuffix('.')}: {row.range}{unit}."
    info = typer.Option(flag, help=words, rich_help_panel=None if row.name == "threshold" else ADVANCED)
    return option(_option_name(row), Annotated[row.kind | None, info])
