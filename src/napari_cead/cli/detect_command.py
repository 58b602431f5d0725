"""What `detect` says of scores, and its options for settings: made late, for other packages may add some."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from ..detection.params import Parameter, Settings

_GIVEN = "napari_cead.settings"


class DetectCommand(TyperCommand):
    """The command `detect`, which has an option for every setting and names every score that there is."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, those of other packages too."""
        from ..detection import MAP_OPTIONS, PostprocessParams
        from ..detection.scores import scores_in_words

        params = super().get_params(ctx)
        place = next(number for number, param in enumerate(params) if param.name == "score")
        params[place].help = f"The model's suggestion if left out. {scores_in_words()}"
        return [*params[:place], *_options((*PostprocessParams.parameters(), *MAP_OPTIONS)), *params[place:]]


def given_settings(ctx: typer.Context, settings: type[Settings]) -> dict[str, Any]:
    """Return those of some settings that were given on the command line, by name."""
    given = ctx.meta.get(_GIVEN, {})
    return {name: given[name] for name in settings.names() if name in given}


def _keep(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    if value is not None:
        ctx.meta.setdefault(_GIVEN, {})[param.name] = value


def _help(row: Parameter) -> str:
    if row.kind is bool:
        return row.description
    unit = f" {row.unit}" if row.unit and not row.percent else ""
    return f"{row.description.removesuffix('.')}: {row.range}{unit}."


def _options(rows: tuple[Parameter, ...]) -> list[Any]:
    """Return options for settings, made by Typer itself from a function that would take them."""

    def takes() -> None:
        pass

    annotations = {
        row.name: Annotated[
            row.kind | None,
            typer.Option(
                f"{row.flag}/{row.off_flag}" if row.kind is bool else row.flag,
                help=_help(row),
                expose_value=False,
                callback=_keep,
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
    return list(typer.main.get_command(app).params)
