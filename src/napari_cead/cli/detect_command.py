"""The help of `detect` on scores, and its options for settings: made late, because other packages may add some."""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .late_help import ADVANCED, LateHelp

if TYPE_CHECKING:
    from ..detection.settings import Parameter, Settings


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
        settings = _options((*PostprocessParams.parameters(), *MAP_OPTIONS))
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


def _help(row: Parameter) -> str:
    if row.kind is bool:
        return row.description
    unit = f" {row.unit}" if row.unit and not row.percent else ""
    return f"{row.description.removesuffix('.')}: {row.range}{unit}."


@lru_cache(maxsize=4)
def _options(rows: tuple[Parameter, ...]) -> tuple[Any, ...]:
    """Return options for settings, made by Typer itself from a function that would take them."""

    def takes() -> None:
        pass

    annotations = {
        _option_name(row): Annotated[
            row.kind | None,
            typer.Option(
                f"{row.flag}/{row.off_flag}" if row.kind is bool else row.flag,
                help=_help(row),
                rich_help_panel=None if row.name == "threshold" else ADVANCED,
            ),
        ]
        for row in rows
    }
    takes.__annotations__ = annotations
    takes.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in annotations.items()
        ]
    )
    app = typer.Typer(add_completion=False)
    app.command(add_help_option=False)(takes)
    return tuple(typer.main.get_command(app).params)
