"""Steps of the post-processing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import ParameterError
from ..settings import Parameter
from ._patch import EMPTY, Components, Patch, closed_and_filled, cut_out
from ._settings import PARAMETERS

if TYPE_CHECKING:
    from ..params import PostprocessParams

Form = Literal["pixels", "patch", "components"]
"""The data between steps: the map itself, a mask inside a box, or its filled components."""


class Slice(NamedTuple):
    """The slice that a step works on.

    Attributes:
        pixels: (Y, X) of the anomaly map.
        brain: (Y, X) bool; None if it is unknown.
        pixel_area: Area of a pixel in mm².
    """

    pixels: NDArray[Any]
    brain: NDArray[np.bool_] | None
    pixel_area: float


class Step(ABC):
    """A step of the post-processing as the chain runs it; added steps derive from `MaskStep`.

    Attributes:
        name: Unique among the steps.
        after: Name of a setting: it acts after the step that has this setting. Empty: it is the first.
        settings: Its settings.
        takes: Form of its input.
        gives: Form of its output.
        kept: Whether its result is kept, so that a later setting does not redo it.
    """

    name: str
    after: str
    settings: tuple[Parameter, ...]
    takes: Form = "patch"
    gives: Form = "patch"
    kept: bool = True

    @abstractmethod
    def run(self, value: Any, params: PostprocessParams, place: Slice, key: Any) -> Any:
        """Return its result; ``value`` must not change. ``key`` is the result of `key`."""

    def key(self, value: Any, params: PostprocessParams, place: Slice) -> Hashable:
        """Return what its result depends on besides ``value``, which may be None."""
        return self._values(params)

    @cached_property
    def _values(self) -> Callable[[PostprocessParams], Hashable]:
        names = [setting.name for setting in self.settings]
        return attrgetter(*names) if names else lambda params: None

    def reach(self, params: PostprocessParams) -> int:
        """Return how many pixels its result may reach beyond its input."""
        return 0


class MaskStep(Step):
    """A step from one mask of a slice to another.

    With its default settings it is off and does not run, so the same settings give the same mask with and without it.
    An empty mask stays empty. Pixels that it adds have to lie within `reach` pixels of the mask.
    """

    def active(self, params: PostprocessParams) -> bool:
        """Whether it runs: whether any of its settings differs from its default."""
        # Settings from before the package was installed lack it.
        return any(
            getattr(params, setting.name, setting.default) != setting.default for setting in self.settings
        )

    @abstractmethod
    def apply(self, mask: NDArray[np.bool_], params: PostprocessParams, place: Slice) -> NDArray[np.bool_]:
        """Return the changed mask of a slice.

        Args:
            mask: (Y, X) bool; do not change it.
            params: All settings; its own are attributes of their names.
            place: The slice.
        """

    def run(self, value: Patch, params: PostprocessParams, place: Slice, key: Any) -> Patch:
        """Return its result."""
        if value.mask.size == 0:
            return EMPTY
        mask = np.zeros(place.pixels.shape, dtype=np.bool_)
        value.paint(mask)
        found = np.asarray(self.apply(mask, params, place))
        if found.shape != mask.shape or found.dtype != np.bool_:
            raise ParameterError(
                f"the step {self.name} returned {found.dtype} {found.shape}, not a mask {mask.shape}",
                hint="update or remove the package that adds it",
            )
        return cut_out(found)


class Apart(Step):
    """Splits a mask into components; the chain inserts it where necessary."""

    name, after, settings = "components", "", ()
    gives = "components"

    def run(self, value: Patch, params: PostprocessParams, place: Slice, key: Any) -> Components:
        """Return the filled components of the mask."""
        return closed_and_filled(value, 0)


class Together(Step):
    """Joins components into a mask; the chain inserts it where necessary."""

    name, after, settings = "mask", "", ()
    takes = "components"
    kept = False

    def run(self, value: Components, params: PostprocessParams, place: Slice, key: Any) -> Patch:
        """Return the union of all components."""
        return value.largest(len(value.areas))


def own(*names: str) -> tuple[Parameter, ...]:
    """Return settings that are fields of `PostprocessParams`."""
    return tuple(parameter for parameter in PARAMETERS if parameter.name in names)
