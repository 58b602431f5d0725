"""Corruptions of healthy images, which the network learns to undo: one interface for all kinds.

Each kind is a frozen, JSON-serialisable object of its own file in ``corruptions``, or of another package;
:data:`Corruption` is any of them, told apart by ``kind``.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny

from ..errors import ParameterError
from .kinds import CORRUPTIONS, MIXTURE, Corrupted, CorruptionKind, Spacing
from .kinds.bias_field import BiasField
from .kinds.coarse import CoarseNoise
from .kinds.gaussian import GaussianNoise
from .kinds.lesions import SimulatedLesions
from .kinds.squares import ContextEncoding

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "NAMED",
    "PAPER",
    "REMOVED",
    "SCANNERS",
    "BiasField",
    "CoarseNoise",
    "ContextEncoding",
    "Corrupted",
    "Corruption",
    "CorruptionKind",
    "GaussianNoise",
    "Mixture",
    "Share",
    "SimulatedLesions",
    "absent_kind",
    "corrupt",
    "corruption_called",
    "corruption_names",
]


def _of_its_kind(value: Any) -> Any:
    """Return the corruption described by a mapping, by its ``kind``; the check of the type handles anything else."""
    if not isinstance(value, AnyMapping):
        return value
    if (kind := value.get("kind")) == MIXTURE:
        return Mixture.model_validate(value)
    if not isinstance(kind, str):
        raise ValueError("a corruption needs a kind")
    if kind in REMOVED and kind not in CORRUPTIONS:
        raise ValueError(
            f"napari-cead no longer has the corruption {kind!r}, so a run with it cannot be resumed; use one of "
            f"{', '.join(CORRUPTIONS.names)} in a new one"
        )
    return type(CORRUPTIONS.find(kind)).model_validate(value)


def _simple(value: Any) -> Any:
    found = _of_its_kind(value)
    if isinstance(found, Mixture):
        raise ValueError("a mixture is not made of mixtures")
    return found


Corruption: TypeAlias = Annotated[SerializeAsAny[CorruptionKind], BeforeValidator(_of_its_kind)]
"""Any corruption, as the type of a field of a pydantic model."""


class Share(BaseModel):
    """A part of a mixture.

    Attributes:
        share: How often, relative to the other parts; with ``together`` the probability.
        corruption: The corruption.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(gt=0, le=1)
    corruption: Annotated[SerializeAsAny[CorruptionKind], BeforeValidator(_simple)]


REMOVED = ("patches", "smooth")
"""Kinds of earlier versions. Runs with them are on disks, and cannot be resumed."""


class Mixture(CorruptionKind):
    """Several corruptions: each image gets one of them, or each with its own probability.

    Attributes:
        kind: Name of the kind.
        parts: The corruptions and how often.
        together: False draws one part for each image; True applies one part after the other, each with the probability
            ``share``, so that an image may get several of them, or none.
    """

    kind: Literal["mixture"] = "mixture"
    parts: tuple[Share, ...] = Field(min_length=1, max_length=16)
    together: bool = False

    def apply(self, images: Tensor, spacing: Spacing, generator: torch.Generator | None = None) -> Corrupted:
        """Corrupt each image by the parts drawn for it."""
        import torch

        shares = torch.rand(len(images), device=images.device, generator=generator)
        total = sum(part.share for part in self.parts)
        result, changed, below = images, torch.zeros_like(images, dtype=torch.bool), 0.0
        lesion = torch.zeros_like(images)
        for number, part in enumerate(self.parts):
            if self.together:
                drawn = torch.rand(len(images), device=images.device, generator=generator) < part.share
            else:
                above = below + part.share / total
                last = number == len(self.parts) - 1  # whatever rounding leaves belongs to it
                drawn = (shares >= below) if last else (shares >= below) & (shares < above)
                below = above
            found = _some(result, drawn, part.corruption, generator, spacing)
            result, changed = found.images, changed | found.mask
            lesion = torch.maximum(lesion, found.lesion)
        return Corrupted(result, changed, lesion)


PAPER = ContextEncoding()
"""The paper's: one square of random size per image."""

_HYPERINTENSE = SimulatedLesions(
    shift=(0.06, 0.5), blending=0.5, sparing=0.7, irregularity=0.4, aspect=3.0, periventricular=0.3
)

SCANNERS = Mixture(
    parts=(
        Share(
            share=0.8,
            corruption=_HYPERINTENSE.model_copy(
                update={"lesions": (1, 8), "diameter_mm": (2.0, 16.0), "rim_mm": (0.5, 4.0)}
            ),
        ),
        Share(
            share=0.4,
            corruption=_HYPERINTENSE.model_copy(
                update={"lesions": (1, 3), "diameter_mm": (8.0, 40.0), "rim_mm": (1.5, 9.0)}
            ),
        ),
        Share(
            share=0.35,
            corruption=_HYPERINTENSE.model_copy(
                update={
                    "lesions": (1, 2),
                    "diameter_mm": (25.0, 90.0),
                    "rim_mm": (2.5, 16.0),
                    "aspect": 1.6,
                    "periventricular": 0.0,
                }
            ),
        ),
        Share(
            share=0.3,
            corruption=_HYPERINTENSE.model_copy(
                update={
                    "lesions": (1, 3),
                    "diameter_mm": (3.0, 40.0),
                    "rim_mm": (1.0, 9.0),
                    "darker": 1.0,
                    "periventricular": 0.0,
                }
            ),
        ),
        Share(share=0.7, corruption=BiasField()),
        Share(share=1.0, corruption=GaussianNoise(sigma=(0.001, 0.03), inside_brain=True)),
    ),
    together=True,
)
"""Lesions from 2 to 90 mm, caps and bands around the ventricles among them, dark remains that are to be repaired and
are no lesions, and what scanners do: uneven coils, of which the even image is to be given back, and noise."""

SPACING: Spacing = (0.94, 0.94)
"""Size of a pixel (y, x) in mm on the usual model grid."""


NAMED: AnyMapping[str, Mixture] = {"scanners": SCANNERS}
"""Mixtures with a name beside the kinds."""


def corruption_names() -> tuple[str, ...]:
    """Return the names of the corruptions that need no further description."""
    return CORRUPTIONS.listed


def absent_kind(saved: Any) -> str | None:
    """Return the first missing kind in a saved corruption; None if none is missing."""
    if not isinstance(saved, AnyMapping):
        return None
    if (kind := saved.get("kind")) != MIXTURE:
        known = not isinstance(kind, str) or kind in CORRUPTIONS.own or kind in CORRUPTIONS
        return None if known else kind
    parts = saved.get("parts")
    if not isinstance(parts, list):
        return None
    found = (absent_kind(part.get("corruption")) for part in parts if isinstance(part, AnyMapping))
    return next((kind for kind in found if kind is not None), None)


def corruption_called(name: str) -> CorruptionKind:
    """Return the corruption of a name, with its default settings.

    Raises:
        ParameterError: If there is none.
    """
    if name in NAMED:
        return NAMED[name]
    if name in CORRUPTIONS.own or name in CORRUPTIONS:
        return CORRUPTIONS.find(name)
    raise ParameterError(
        f"there is no corruption called {name!r}", hint=f"use one of {', '.join(corruption_names())}"
    )


def corrupt(
    images: Tensor,
    settings: CorruptionKind | None = None,
    generator: torch.Generator | None = None,
    *,
    spacing: Spacing = SPACING,
) -> Corrupted:
    """Corrupt each image differently.

    All images are worked on at once, on their own device, without waiting for it. Squares are filled from
    within the range of the batch, lesions stay within [0, 1]; noise is not clipped to any range.

    Args:
        images: (N, 1, S, S) float; they stay unchanged.
        settings: How; None: the paper's way.
        generator: Source of randomness, on the device of the images.
        spacing: Size of a pixel (y, x) in mm, for what has a size in mm.

    Example:
        >>> import torch
        >>> images = torch.rand(4, 1, 64, 64)
        >>> corrupt(images, CoarseNoise(), torch.Generator().manual_seed(0)).images.shape
        torch.Size([4, 1, 64, 64])
    """
    return (settings or PAPER).apply(images, spacing, generator)


def _some(
    images: Tensor,
    drawn: Tensor,
    settings: CorruptionKind,
    generator: torch.Generator | None,
    spacing: Spacing,
) -> Corrupted:
    """Corrupt the images that were drawn (N,) and leave the others."""
    import torch

    if images.device.type == "cpu":  # these alone; elsewhere, choosing them would wait for the device
        chosen = drawn.nonzero()[:, 0]
        if not len(chosen):
            return Corrupted(images, torch.zeros_like(images, dtype=torch.bool), torch.zeros_like(images))
        found = settings.apply(images[chosen], spacing, generator)
        mask = torch.zeros_like(images, dtype=torch.bool).index_copy(0, chosen, found.mask)
        lesion = torch.zeros_like(images).index_copy(0, chosen, found.lesion)
        return Corrupted(images.index_copy(0, chosen, found.images), mask, lesion)
    found = settings.apply(images, spacing, generator)
    wanted = drawn[:, None, None, None]
    return Corrupted(torch.where(wanted, found.images, images), found.mask & wanted, found.lesion * wanted)
