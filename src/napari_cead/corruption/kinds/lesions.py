"""Simulated lesions: smooth blobs, brighter (or darker) than the tissue under them, which the network removes.

They say where the network may change a slice and by how much, not what a lesion of some disease looks like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from . import LARGEST_ASPECT, Corrupted, CorruptionKind, Irregularity, ordered

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from . import Spacing

Probability = Annotated[float, Field(ge=0, le=1)]


SEEN = 0.03
"""Mean change of the intensity above which a lesion is visible."""

DEEP_MM, BESIDE_MM, WHOLLY = 15.0, 4.0, 0.99
"""Liquid is deep if the brain reaches so far around it (but for a hundredth); tissue lies beside it so near to it."""

LEAST = 0.4
"""Smallest share by which a blending lesion replaces the tissue under it."""


class SimulatedLesions(CorruptionKind):
    """Blobs of random place, size, outline and rim that shift the intensity, inside the brain.

    Attributes:
        kind: Name of the kind.
        lesions: Smallest and largest number in an image, each number equally likely.
        diameter_mm: Smallest and largest mean diameter in mm; each order of size is equally likely.
        shift: Smallest and largest change of the intensity, which lies in [0, 1]; the result is clipped to that.
        darker: Share of the lesions that darken; 0: all brighten, as on FLAIR, 0.5: either is equally likely.
        blending: Share of the lesions that replace what lies under them by a level beside that of the tissue, by 40 to
            100 %; the others are added to it, so that all its texture shows through.
        sparing: Share of the lesions that leave liquid (less than half the tissue's level) as it is.
        rim_mm: Narrowest and widest rim in which a lesion fades, in mm.
        irregularity: How far an outline is from an ellipse, in radii.
        aspect: Largest ratio of a lesion's axes.
        periventricular: Share of the lesions that lie beside deep liquid, as caps and bands around the ventricles do.
    """

    kind: Literal["lesions"] = "lesions"
    lesions: tuple[int, int] = (1, 5)
    diameter_mm: tuple[float, float] = (3.0, 50.0)
    shift: tuple[float, float] = (0.08, 0.6)
    darker: Probability = 0.0
    blending: Probability = 0.0
    sparing: Probability = 0.0
    rim_mm: tuple[float, float] = (1.0, 6.0)
    irregularity: Irregularity = Field(default=0.3)
    aspect: float = Field(default=LARGEST_ASPECT, ge=1, le=6)
    periventricular: Probability = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> SimulatedLesions:
        ordered(self.lesions, 1, 16, "lesions")
        ordered(self.diameter_mm, 1, 200, "diameter_mm")
        ordered(self.shift, 0.01, 1, "shift")
        ordered(self.rim_mm, 0.1, 50, "rim_mm")
        return self

    def apply(self, images: Tensor, spacing: Spacing, generator: torch.Generator | None = None) -> Corrupted:
        """Add lesions to images in [0, 1], and stay within that.

        ``lesion`` says how far each pixel belongs to a lesion brighter than the tissue before: one that darkens,
        or that is invisible, is none.
        """
        import torch

        from ...models.tissue import tissue_level
        from ..blobs import between, blob, numbers

        brain, count = images != 0, len(images)
        how_many, every = numbers(*self.lesions, count, images, generator)
        level = tissue_level(images)
        tissue = images > 0.5 * level

        def happens(probability: float) -> Tensor:
            return between(0, 1, count, images, generator)[..., None] < probability

        beside = _beside_deep_liquid(brain, tissue, spacing)[:, 0] if self.periventricular else None
        result, touched, lesion = images, torch.zeros_like(brain), torch.zeros_like(images)
        for number in every:
            preferred = None if beside is None else beside & happens(self.periventricular)[:, 0]
            weight = blob(
                brain[:, 0],
                self.diameter_mm,
                self.rim_mm,
                self.irregularity,
                spacing,
                generator,
                aspect=self.aspect,
                preferred=preferred,
            )
            weight = (weight * (number < how_many)).unsqueeze(1).to(images.dtype)
            if self.sparing:
                weight = weight * (tissue | ~happens(self.sparing))
            shift = between(*self.shift, count, images, generator)[..., None].to(images.dtype)
            if self.darker:
                shift = torch.where(happens(self.darker), -shift, shift)
            if self.blending:
                how_far = between(LEAST, 1, count, images, generator)[..., None].to(images.dtype)
                shift = torch.where(happens(self.blending), how_far * (level + shift - images), shift)
            touched = touched | (weight > 0)
            change = (weight * shift).sum(dim=(2, 3), keepdim=True)
            bright = change > SEEN * weight.sum(dim=(2, 3), keepdim=True)
            lesion = torch.maximum(lesion, weight * bright)
            result = result + weight * shift
        return Corrupted(torch.where(touched, result.clamp(0, 1), images), touched, lesion)


def _beside_deep_liquid(brain: Tensor, tissue: Tensor, spacing: Spacing) -> Tensor:
    """Return the tissue within :data:`BESIDE_MM` of liquid that lies deep in the brain: (N, 1, S, S) bool."""
    import torch
    from torch.nn import functional

    def around(mask: Tensor, radius_mm: float) -> Tensor:
        """Return the share of a mask in a window around each pixel, one axis after the other."""
        rows, columns = (max(1, round(radius_mm / mm)) for mm in spacing)
        share = functional.avg_pool2d(mask.to(torch.float32), (2 * rows + 1, 1), 1, (rows, 0))
        return functional.avg_pool2d(share, (1, 2 * columns + 1), 1, (0, columns))

    deep = brain & ~tissue & (around(brain, DEEP_MM) > WHOLLY)
    return tissue & (around(deep, BESIDE_MM) > 0)


OFFERED = (SimulatedLesions(),)
