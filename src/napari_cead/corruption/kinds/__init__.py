"""Corruptions of healthy slices, which a network learns to repair: one file per kind.

A kind is a subclass of :class:`CorruptionKind`; its fields are its settings, and every field but ``kind`` has a
default. Other packages offer theirs under the entry point ``napari_cead.corruptions``. Nothing here imports torch
before a corruption is applied, so that the command line can list the kinds at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ...plugins import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Spacing = tuple[float, float]
"""Size of a pixel (y, x) in mm."""

MIXTURE = "mixture"
"""Name of a corruption made of several kinds, which the user describes."""

LARGEST_ASPECT = 1.6
"""Largest ratio of a blob's axes, unless its kind says otherwise."""

Irregularity = Annotated[float, Field(ge=0, le=1)]


class Corrupted(NamedTuple):
    """Corrupted images.

    Attributes:
        images: (N, 1, S, S), as the originals but where the mask is set.
        mask: (N, 1, S, S) bool, where they were changed.
        lesion: (N, 1, S, S) from 0 to 1, how far a pixel belongs to a simulated lesion.
    """

    images: Tensor
    mask: Tensor
    lesion: Tensor

    @classmethod
    def without_lesion(cls, images: Tensor, mask: Tensor) -> Corrupted:
        """Return changed images without a simulated lesion."""
        import torch

        return cls(images, mask, torch.zeros_like(images))


class CorruptionKind(BaseModel, ABC):
    """A way to corrupt images, with its settings.

    Attributes:
        kind: The name of the kind, in files and on the command line: a ``Literal`` with a default in each subclass.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    @property
    def name(self) -> str:
        """The name of the kind."""
        return self.kind

    @abstractmethod
    def apply(self, images: Tensor, spacing: Spacing, generator: torch.Generator | None = None) -> Corrupted:
        """Corrupt each image differently, all at once and on their device.

        Args:
            images: (N, 1, S, S) float, 0 outside the brain; they stay unchanged.
            spacing: Size of a pixel (y, x) in mm.
            generator: Source of randomness, on the device of the images.
        """

    @classmethod
    def kinds(cls) -> tuple[type[CorruptionKind], ...]:
        """Return the classes that a field of this type may hold."""
        if cls is not CorruptionKind:
            return (cls,)
        registered = map(type, CORRUPTIONS)
        return tuple(dict.fromkeys((*registered, *cls.__subclasses__())))


def ordered(values: tuple[float, float], low: float, high: float, what: str) -> None:
    """Check a range.

    Raises:
        ValueError: If it is not two numbers from ``low`` to ``high``, the smaller first.
    """
    if not low <= values[0] <= values[1] <= high:
        raise ValueError(f"{what} is two numbers from {low:g} to {high:g}, the smaller first")


def _lacking(thing: Any) -> str | None:
    if not isinstance(thing, CorruptionKind):
        return "it is no CorruptionKind"
    return "its name is that of a mixture" if thing.name in (MIXTURE, *CORRUPTIONS.sets) else None


CORRUPTIONS: Registry[CorruptionKind] = Registry(
    "corruptions", "corruption", __name__, _lacking, sets=("scanners",)
)
"""All kinds of corruption by name, each with its default settings."""
