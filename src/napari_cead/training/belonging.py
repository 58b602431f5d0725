"""Designs that a setting applies to; for all others it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..models.specs import DESIGN_NAMES, ModelSpec, spec

Belongs = Callable[[ModelSpec], bool]


def _of(*families: str) -> Belongs:
    return lambda design: design.family in families


OWNERS: Mapping[str, Belongs] = {
    "beta": _of("vae"),
    "commitment": _of("vqvae"),
    "codebook_decay": _of("vqvae"),
    "reset_dead_codes": _of("vqvae"),
    "corruption": lambda design: design.corrupts,
    "loss": _of("unet"),
    "bright_limit": _of("unet"),
    "emphasis": _of("unet"),
    "small_emphasis": _of("unet"),
    "lesion_weight": lambda design: design.predicts_lesion,
    "feature_maps": _of("unet"),
    "working_size": _of("unet"),
}
"""By setting: the networks that it applies to. A setting that is not listed applies to all."""


def belongs(setting: str, design: ModelSpec) -> bool:
    """Whether a setting applies to a network."""
    return setting not in OWNERS or OWNERS[setting](design)


def owners(setting: str) -> tuple[str, ...]:
    """Return the named designs that a setting applies to."""
    return tuple(name for name in DESIGN_NAMES if belongs(setting, spec(name)))


def no_use(setting: str, names: Iterable[str], called: str | None = None) -> str:
    """Return the sentence that refuses a setting.

    Args:
        setting: The setting.
        names: The designs that it does not apply to.
        called: The name that the user typed; None: its own name.
    """
    return f"{called or setting} does nothing for {_listed(names)}: it belongs to {_listed(owners(setting))}"


def unused(values: Mapping[str, Any], defaults: Mapping[str, Any], design: ModelSpec) -> list[str]:
    """Return the settings that differ from their defaults and do not apply to a network.

    Args:
        values: Values by name of the setting.
        defaults: The default of each.
        design: The network.
    """
    return [
        name
        for name in OWNERS
        if name in values and values[name] != defaults[name] and not belongs(name, design)
    ]


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
