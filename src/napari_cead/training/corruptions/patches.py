"""Patches of irregular outline inside the brain: like squares, without their unnatural edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from . import Corrupted, CorruptionKind, Irregularity, ordered

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from . import Spacing


class BrainPatches(CorruptionKind):
    """Parts of the brain are overwritten, and the network has to fill them in from their surroundings.

    Attributes:
        kind: Name of the kind.
        patches: Smallest and largest number in an image, each number equally likely.
        diameter_mm: Smallest and largest mean diameter in mm; each order of size is equally likely.
        fill: ``"uniform"`` draws a value for each patch between the batch's extremes, ``"other"`` takes the same place
            of another slice of the batch, ``"zero"`` blackens it.
        rim_mm: Narrowest and widest rim in which a patch fades, in mm.
        irregularity: How far an outline is from an ellipse, in radii.
    """

    kind: Literal["patches"] = "patches"
    patches: tuple[int, int] = (1, 3)
    diameter_mm: tuple[float, float] = (8.0, 80.0)
    fill: Literal["uniform", "other", "zero"] = "uniform"
    rim_mm: tuple[float, float] = (0.5, 4.0)
    irregularity: Irregularity = Field(default=0.3)

    @model_validator(mode="after")
    def _ordered(self) -> BrainPatches:
        ordered(self.patches, 1, 16, "patches")
        ordered(self.diameter_mm, 1, 200, "diameter_mm")
        ordered(self.rim_mm, 0.1, 50, "rim_mm")
        return self

    def apply(self, images: Tensor, spacing: Spacing, generator: torch.Generator | None = None) -> Corrupted:
        """Overwrite patches with values of the batch's range."""
        import torch

        from ..blobs import between, blob, numbers

        brain, count = images[:, 0] != 0, len(images)
        how_many, every = numbers(*self.patches, count, images, generator)
        low, high = images.amin(), images.amax()
        # The batch is in random order: its next slice is any. A lone slice meets its mirror image.
        other = images.roll(1, 0) if count > 1 else images.flip(-1)
        result, covered = images, torch.zeros_like(images, dtype=torch.bool)
        for number in every:
            weight = blob(brain, self.diameter_mm, self.rim_mm, self.irregularity, spacing, generator)
            weight = (weight * (number < how_many)).unsqueeze(1).to(images.dtype)
            if self.fill == "uniform":
                share = between(0, 1, count, images, generator)[..., None].to(images.dtype)
                filling = low + share * (high - low)
            else:
                filling = other if self.fill == "other" else torch.zeros_like(images)
            result = torch.where(weight > 0, result + weight * (filling - result), result)
            covered = covered | (weight > 0)
        return Corrupted.without_lesion(result, covered)


OFFERED = (BrainPatches(),)
