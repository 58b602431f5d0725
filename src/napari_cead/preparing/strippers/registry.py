"""All skull strippers by name: those of this package, and those of other packages by their entry points."""

from __future__ import annotations

from typing import Any

from ...errors import ParameterError
from ...plugins import Registry, lacks
from .command import CommandStripper
from .extractor import COMMAND, BrainExtractor

DEFAULT_STRIPPER = "deepbet"
"""The stripper of ``auto``, chosen by measurement: see ``docs/explanation/stripping.md``."""


def _unusable(made: Any) -> str | None:
    return (
        None
        if isinstance(made, BrainExtractor)
        else lacks(made, "name", "title", "missing", "version", "extract")
    )


STRIPPERS: Registry[BrainExtractor] = Registry(
    "strippers", "skull stripper", __package__, _unusable, order=lambda each: each.name != DEFAULT_STRIPPER
)


def stripper_names() -> tuple[str, ...]:
    """Return the names of all strippers, the default first. An external command has none: see `COMMAND`."""
    return STRIPPERS.names


def find_stripper(name: str) -> BrainExtractor:
    """Return a stripper by its name, or one that runs ``command:PROGRAM … {input} … {output}``.

    Raises:
        ParameterError: If there is none of that name, the command lacks a place for a file, or a plug-in is broken.
    """
    if name.startswith(COMMAND):
        return CommandStripper(name)
    try:
        return STRIPPERS.find(name)
    except ParameterError as error:
        more = f", or {COMMAND}PROGRAM with {{input}} and {{output}}"
        raise ParameterError(error.reason, hint=f"{error.hint}{more}") from None
