"""Options made from a settings class, so that each is described once."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

Settings = TypeVar("Settings", bound=BaseModel)


def command(
    settings: type[Settings], do: Callable[..., None], *, arguments: tuple[str, ...] = (), **more: Any
) -> Callable[..., None]:
    """Return a verb whose options are the fields of a settings class.

    Args:
        settings: The class; a field's description is the help of its option.
        do: Called with the context, the settings, and the options that are not settings.
        arguments: Fields that are given without a flag.
        more: Options that are not settings: a type with a Typer option, and a default.
    """
    every = [
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *(_parameter(name, field, name in arguments) for name, field in settings.model_fields.items()),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for name, (kind, default) in more.items()
        ),
    ]

    def verb(*, context: typer.Context, **values: Any) -> None:
        others = {name: values.pop(name) for name in more}
        plain = {name: value.value if isinstance(value, StrEnum) else value for name, value in values.items()}
        do(context, settings(**plain), **others)

    verb.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    verb.__annotations__ = {parameter.name: parameter.annotation for parameter in every}
    verb.__name__, verb.__doc__ = do.__name__, do.__doc__
    return verb


def _parameter(name: str, field: FieldInfo, argument: bool) -> inspect.Parameter:
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
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[kind | None if optional else kind, info],
        default=default.value if isinstance(default, StrEnum) else default,
    )


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
