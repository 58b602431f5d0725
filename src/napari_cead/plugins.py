"""Registries: all things of each kind, from this package and from others.

A kind is a small protocol (a network, an anomaly score, a threshold rule, …) and a folder with one file for each thing
of that kind. A file lists its objects in the tuple ``OFFERED``. Another package offers its own under the
entry points ``napari_cead.KIND``: an object, or a class that is called without arguments. One that cannot be used is
listed with the reason and left out; it never stops the program.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from .errors import ParameterError

OFFERED = "OFFERED"
"""Name of the tuple in each file of a kind's folder."""


class Named(Protocol):
    """The attributes of every registered thing."""

    @property
    def name(self) -> str:
        """Its name for files and commands, unique among its kind."""


Thing = TypeVar("Thing", bound=Named)


@dataclass(frozen=True)
class Origin:
    """A thing of another package, usable or not.

    Attributes:
        kind: The kind of thing, for instance ``"scores"``.
        name: Its name.
        package: The package that offers it, with its version.
        reason: The reason why it cannot be used, one clause; None if it can.
    """

    kind: str
    name: str
    package: str
    reason: str | None


_REGISTRIES: list[Registry[Any]] = []


class Registry(Generic[Thing]):
    """All things of one kind by name: those of this package in their order, then those of others by name.

    Args:
        kind: Name of the kind in the plural, as in its entry points, for instance ``"scores"``.
        what: The name of one thing in messages, for instance ``"anomaly score"``.
        folder: Package of this kind's own files, usually ``__package__``.
        check: Returns a missing part of a thing of another package, one clause; None if it is complete.
        order: Sorts this package's own things; by default they come by file and within it.
        sets: Names that stand for several things together, listed after the others.
    """

    def __init__(
        self,
        kind: str,
        what: str,
        folder: str,
        check: Callable[[Any], str | None],
        *,
        order: Callable[[Thing], Any] | None = None,
        sets: tuple[str, ...] = (),
    ) -> None:
        self.kind, self.what, self.sets = kind, what, sets
        self._folder, self._check, self._order = folder, check, order
        _REGISTRIES.append(self)

    @property
    def group(self) -> str:
        """Name of the entry points by which other packages offer such things."""
        return f"napari_cead.{self.kind}"

    @cached_property
    def own(self) -> Mapping[str, Thing]:
        """The things of this package, by name."""
        package = importlib.import_module(self._folder)
        found: list[Thing] = []
        for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
            if not module.startswith("_"):
                found.extend(getattr(importlib.import_module(f"{self._folder}.{module}"), OFFERED, ()))
        if self._order is not None:
            found.sort(key=self._order)
        names = [each.name for each in found]
        assert len(set(names)) == len(names), f"two {self.kind} share a name: {names}"
        return MappingProxyType({each.name: each for each in found})

    @cached_property
    def _others(self) -> tuple[dict[str, Thing], tuple[Origin, ...]]:
        usable: dict[str, Thing] = {}
        origins: list[Origin] = []
        for point in sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value)):
            thing, reason = self._loaded(point)
            if thing is not None and (thing.name in self.own or thing.name in usable):
                reason = f"there is another {self.what} of that name"
            if thing is not None and reason is None:
                usable[thing.name] = thing
            origins.append(Origin(self.kind, point.name, _package(point), reason))
        return usable, tuple(origins)

    def _loaded(self, point: EntryPoint) -> tuple[Thing | None, str | None]:
        try:
            made = point.load()
            made = made() if isinstance(made, type) else made
            lacking = self._check(made)
        except Exception as error:  # another package's code may raise anything
            return None, f"it cannot be loaded: {type(error).__name__}: {error}"
        if lacking is None and made.name != point.name:
            lacking = f"it calls itself {made.name!r}, not {point.name!r}"
        return (made, None) if lacking is None else (None, lacking)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The things of other packages, usable or not."""
        return self._others[1]

    @property
    def all(self) -> Mapping[str, Thing]:
        """Every usable thing by name."""
        return MappingProxyType({**self.own, **self._others[0]})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all usable things."""
        return tuple(self.all)

    @property
    def listed(self) -> tuple[str, ...]:
        """All names that a user may give."""
        return (*self.names, *self.sets)

    def __iter__(self) -> Iterator[Thing]:
        return iter(self.all.values())

    def __contains__(self, name: object) -> bool:
        return name in self.all

    def find(self, name: str) -> Thing:
        """Return the thing of a name.

        Raises:
            ParameterError: If there is none, or if the package that offers it is broken.
        """
        if name in self.own:  # without looking at other packages
            return self.own[name]
        if name in self.all:
            return self.all[name]
        for origin in self.origins:
            if origin.name == name:
                raise ParameterError(
                    f"the {self.what} {name!r} of {origin.package} cannot be used: {origin.reason}",
                    hint="update or remove that package",
                )
        raise ParameterError(
            f"there is no {self.what} called {name!r}", hint=f"use one of {', '.join(self.names)}"
        )

    def refresh(self) -> None:
        """Look for other packages again, for instance after one has been installed."""
        self.__dict__.pop("_others", None)


def registries() -> tuple[Registry[Any], ...]:
    """Return the registries of all kinds whose modules have been imported."""
    return tuple(_REGISTRIES)


def refresh_all() -> None:
    """Let every registry look for other packages again."""
    for registry in _REGISTRIES:
        registry.refresh()


def lacks(thing: Any, *attributes: str) -> str | None:
    """Return which of some attributes a thing lacks, one clause; None if it has all of them."""
    missing = [name for name in attributes if not hasattr(thing, name)]
    return f"it has no {', '.join(missing)}" if missing else None


def _package(point: EntryPoint) -> str:
    distribution = point.dist
    if distribution is None:
        return point.value.partition(":")[0].partition(".")[0]
    return f"{distribution.name} {distribution.version}"
