"""The words in the descriptions of a recipe that other packages add to: looked up only when a description is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping


def _designs(_: str) -> str:
    from ..models import design_names

    return ", ".join(design_names())


def _corruptions(_: str) -> str:
    from ..corruption.mixtures import corruption_names

    return ", ".join(corruption_names())


def _owners(setting: str) -> str:
    from ..runs.belonging import listed, owners

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
