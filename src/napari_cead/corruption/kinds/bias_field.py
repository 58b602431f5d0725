"""Bias fields: an uneven coil makes one side of a scan brighter. The network has to restore the even image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from . import Corrupted, CorruptionKind, ordered

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from . import Spacing


class BiasField(CorruptionKind):
    """A smooth factor over the image.

    Attributes:
        kind: Name of the kind.
        strength: Smallest and largest change in an image, 0.4 for factors from 1 / 1.4 to 1.4; each equally likely.
        cells: Grid points of the field along each axis: 2 for a slope, more for a field that also bends.
    """

    kind: Literal["bias-field"] = "bias-field"
    strength: tuple[float, float] = (0.0, 0.4)
    cells: int = Field(default=3, ge=2, le=8)

    @model_validator(mode="after")
    def _ordered(self) -> BiasField:
        ordered(self.strength, 0, 1, "strength")
        return self

    def apply(self, images: Tensor, spacing: Spacing, generator: torch.Generator | None = None) -> Corrupted:
        """Multiply images in [0, 1] by fields whose logarithm has the mean 0 over the brain; clips to [0, 1]."""
        import torch

        from ...models.resampling import resample
        from ..blobs import between

        brain, count = images != 0, len(images)
        grid = torch.randn((count, 1, self.cells, self.cells), device=images.device, generator=generator)
        field = resample(grid, images.shape[-1])
        pixels = brain.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        field = (field - (field * brain).sum(dim=(2, 3), keepdim=True) / pixels) * brain
        field = field / field.abs().amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)
        strength = between(*self.strength, count, images, generator)[..., None]
        shaded = (images * (field * (1 + strength).log()).exp()).clamp(0, 1).to(images.dtype)
        return Corrupted.without_lesion(shaded, brain)


OFFERED = (BiasField(),)
