"""What a step of the post-processing is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from functools import cached_property
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import ParameterError
from ..params import PARAMETERS, Parameter, PostprocessParams
from ._patch import EMPTY, Components, Patch, closed_and_filled, cut_out

Form = Literal["pixels", "patch", "components"]
"""What goes from step to step: the map itself, a mask inside a box, or its filled components."""


class Slice(NamedTuple):
    """The slice that a step works on.

    Attributes:
        pixels: (Y, X) of the anomaly map.
        brain: (Y, X) bool; None if nobody knows where the brain ends.
        pixel_area: Area of a pixel in mm².
    """

    pixels: NDArray[Any]
    brain: NDArray[np.bool_] | None
    pixel_area: float


class Step(ABC):
    """A step of the post-processing as the chain runs it; those that are added derive from `MaskStep`.

    Attributes:
        name: Unique among the steps.
        after: Name of a setting: it acts after the step that has this setting. Empty: it is the first.
        settings: Its settings.
        takes: What it is given.
        gives: What it returns.
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
        """Return its result; what it is given must not change. ``key`` is what `key` returned for it."""

    def key(self, value: Any, params: PostprocessParams, place: Slice) -> Hashable:
        """Return what its result depends on beside what it is given (``value``, which may be None)."""
        return self._values(params)

    @cached_property
    def _values(self) -> Callable[[PostprocessParams], Hashable]:
        names = [setting.name for setting in self.settings]
        return attrgetter(*names) if names else lambda params: None

    def reach(self, params: PostprocessParams) -> int:
        """Return how many pixels beyond the mask that it is given its result may reach."""
        return 0


class MaskStep(Step):
    """A step from a mask of a slice to another one.

    At its default settings it is off, and not run: the same settings give the same mask whether it is there or not. An
    empty mask stays empty. What it adds has to lie within `reach` pixels of the mask.
    """

    def active(self, params: PostprocessParams) -> bool:
        """Whether it does anything: whether one of its settings is not at its default."""
        # Settings that were made before the package was there do not have it.
        return any(
            getattr(params, setting.name, setting.default) != setting.default for setting in self.settings
        )

    @abstractmethod
    def apply(self, mask: NDArray[np.bool_], params: PostprocessParams, place: Slice) -> NDArray[np.bool_]:
        """Return the changed mask of a slice.

        Args:
            mask: (Y, X) bool, not to be changed.
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
                mend="update or remove the package that adds it",
            )
        return cut_out(found)


class Apart(Step):
    """Takes the mask of a step in between apart again; the chain puts it in where it is needed."""

    name, after, settings = "components", "", ()
    gives = "components"

    def run(self, value: Patch, params: PostprocessParams, place: Slice, key: Any) -> Components:
        """Return the filled components of the mask."""
        return closed_and_filled(value, 0)


class Together(Step):
    """Puts components together to a mask; the chain puts it in where it is needed."""

    name, after, settings = "mask", "", ()
    takes = "components"
    kept = False

    def run(self, value: Components, params: PostprocessParams, place: Slice, key: Any) -> Patch:
        """Return the union of all components."""
        return value.largest(len(value.areas))


def own(*names: str) -> tuple[Parameter, ...]:
    """Return settings that are fields of `PostprocessParams`."""
    return tuple(parameter for parameter in PARAMETERS if parameter.name in names)
