"""Help that names additions of other packages: they are looked up only when the help is shown."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from ..training.recipe import filled

ADVANCED = "Advanced"
"""Title of the options that most users never need."""


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
