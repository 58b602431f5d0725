"""Designs that a setting applies to; for all others it is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..models.networks import NETWORKS, design_names
from ..models.specs import ModelSpec, spec

OF_SOME: tuple[str, ...] = (
    "corruption",
    *sorted(set().union(*(each.settings for each in NETWORKS.own.values()))),
)
"""The settings that not every family of networks has a use for; all others belong to all."""


def belongs(setting: str, design: ModelSpec) -> bool:
    """Whether a setting applies to a network."""
    if setting == "corruption":
        return design.corrupts
    return setting not in OF_SOME or design.network.uses(setting, design)


def owners(setting: str) -> tuple[str, ...]:
    """Return the named designs that a setting applies to."""
    return tuple(name for name in design_names() if belongs(setting, spec(name)))


def no_use(setting: str, names: Iterable[str], called: str | None = None) -> str:
    """Return the sentence that refuses a setting.

    Args:
        setting: The setting.
        names: The designs that it does not apply to.
        called: The name that the user typed; None: its own name.
    """
    return f"{called or setting} does nothing for {listed(names)}: it belongs to {listed(owners(setting))}"


def unused(values: Mapping[str, Any], defaults: Mapping[str, Any], design: ModelSpec) -> list[str]:
    """Return the settings that differ from their defaults and do not apply to a network.

    Args:
        values: Values by name of the setting.
        defaults: The default of each.
        design: The network.
    """
    return [
        name
        for name in OF_SOME
        if name in values and values[name] != defaults[name] and not belongs(name, design)
    ]


def listed(names: Iterable[str]) -> str:
    """Return names as a sentence has them: "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
