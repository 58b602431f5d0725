"""What `detect` says of scores and steps: other packages may add some, so that it is known only when it runs."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class DetectCommand(TyperCommand):
    """The command `detect`, whose help names every score that there is."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, those of other packages too."""
        from ..detection.scores import scores_in_words

        params = super().get_params(ctx)
        for param in params:
            if param.name == "score":
                param.help = f"The model's suggestion if left out. {scores_in_words()}"
        return params
