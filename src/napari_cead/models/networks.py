"""The families of networks, from this package and from others, and their named designs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ParameterError
from ..json_files import shown
from ..plugins import Registry, lacks
from .family import Design, NetworkFamily


def _lacking(thing: Any) -> str | None:
    if not isinstance(thing, NetworkFamily):
        return "it is no NetworkFamily"
    if type(thing).build is NetworkFamily.build:
        return "it has no build"
    own = own_designs()
    taken = [name for design in thing.designs for name in design.names if name in own]
    return f"there is another design called {taken[0]}" if taken else lacks(thing, "name")


NETWORKS: Registry[NetworkFamily] = Registry("networks", "network", f"{__package__}.designs", _lacking)
"""All families of networks by name."""


def _designs_of(families: Iterable[NetworkFamily]) -> dict[str, tuple[NetworkFamily, Design]]:
    found: dict[str, tuple[NetworkFamily, Design]] = {}
    for family in families:
        for design in family.designs:
            for name in design.names:
                found.setdefault(name, (family, design))
    # The paper's first; otherwise in their given order.
    return dict(sorted(found.items(), key=lambda item: not item[1][1].of_paper))


def own_designs() -> Mapping[str, tuple[NetworkFamily, Design]]:
    """Return the designs of this package by name, each with its family."""
    return _designs_of(NETWORKS.own.values())


def all_designs() -> Mapping[str, tuple[NetworkFamily, Design]]:
    """Return all designs by name, those of this package first, each with its family."""
    own = own_designs()
    return {**own, **{name: found for name, found in _designs_of(NETWORKS).items() if name not in own}}


def design_names() -> tuple[str, ...]:
    """Return the names of all designs, those of other packages included."""
    return tuple(all_designs())


def find_design(name: str) -> tuple[NetworkFamily, Design]:
    """Return a design and its family; other packages are searched only for names that are not our own.

    Raises:
        ParameterError: If there is none.
    """
    found = own_designs().get(name) or all_designs().get(name)
    if found is None:
        broken = [origin for origin in NETWORKS.origins if origin.reason is not None]
        also = "".join(f"; {origin.package} cannot be used: {origin.reason}" for origin in broken)
        raise ParameterError(
            f"there is no design called {name!r}", hint=f"use one of {', '.join(design_names())}{also}"
        )
    return found


def with_context(name: str, wanted: bool) -> str:
    """Return the twin of a design that is, or is not, trained with context encoding; without twins the name itself."""
    found = all_designs().get(name)
    return name if found is None or not found[1].twin else found[1].names[wanted]


def package_of(family: str) -> str | None:
    """Return the other package that offers a family of networks, without its version; None if it is our own."""
    if family in NETWORKS.own:
        return None
    packages = [origin.package for origin in NETWORKS.origins if origin.name == family]
    return packages[0].partition(" ")[0] if packages else None


def absent_network(spec: Any) -> tuple[str, str] | None:
    """Return the problem of a saved spec whose network comes from a missing package.

    Args:
        spec: The values of a spec in a file.

    Returns:
        The reason and the fix; None if the network is there, or the spec names no package.
    """
    family, package = (spec.get("family"), spec.get("package")) if isinstance(spec, Mapping) else (None, None)
    if not isinstance(family, str) or not isinstance(package, str) or not _PACKAGE.fullmatch(package):
        return None
    if family in NETWORKS.own or family in NETWORKS:
        return None
    for origin in NETWORKS.origins:
        if origin.name == family and origin.reason is not None:
            return f"its network {shown(family)} of {origin.package} cannot be used: {origin.reason}", UPDATE
    return (
        f"its network {shown(family)} comes from the package {package}, which is not installed",
        f"if you trust that package, run: pip install {package}",
    )


UPDATE = "update that package"

_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
