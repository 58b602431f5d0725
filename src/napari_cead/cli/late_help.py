"""Help that names additions of other packages: they are looked up only when the help is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from typer.core import TyperCommand

ADVANCED = "Advanced"
"""Title of the options that most users never need."""


def _designs(_: str) -> str:
    from ..models import design_names

    return ", ".join(design_names())


def _corruptions(_: str) -> str:
    from ..training.corruption import corruption_names

    return ", ".join(corruption_names())


def _owners(setting: str) -> str:
    from ..training.belonging import listed, owners

    return listed(owners(setting))


def _recipes(setting: str) -> str:
    """Return what the recipes of designs say, in brackets: " (dae: 16, ce-unet: 8)"."""
    from ..models.networks import all_designs

    found = {
        name: design.recipe[setting]
        for name, (_, design) in all_designs().items()
        if setting in design.recipe
    }
    words = (
        f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in found.items()
    )
    return f" ({', '.join(words)})" if found else ""


WORDS: Mapping[str, Callable[[str], str]] = {
    "designs": _designs,
    "corruptions": _corruptions,
    "of": _owners,
    "but": _recipes,
}
"""By placeholder: ``{designs}``, ``{corruptions}``, ``{of:SETTING}`` (the designs that have a use for a setting), and
``{but:SETTING}`` (where a design's recipe has another default)."""


def filled(text: str) -> str:
    """Return a help text with its placeholders filled in."""
    return re.sub(
        rf"\{{({'|'.join(WORDS)})(?::(\w+))?\}}", lambda match: WORDS[match[1]](match[2] or ""), text
    )


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
