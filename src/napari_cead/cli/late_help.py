"""Help that names additions of other packages: they are looked up only when the help is shown."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from ..training.recipe_words import filled


class LateHelp(TyperCommand):
    """A verb whose help has placeholders."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with the current names."""
        for parameter in self.params:
            words = getattr(parameter, "help", None)
            if words and not getattr(parameter, "hidden", False):
                parameter.help = filled(words)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)
