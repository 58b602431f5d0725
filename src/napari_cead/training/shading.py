"""Bias fields: an uneven coil makes one side of a scan brighter. The network has to give back the even image."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from ..models.resampling import resample
from .blobs import between, ordered


class BiasField(BaseModel):
    """A smooth factor over the image.

    Attributes:
        kind: Which corruption this is.
        strength: Smallest and largest change in an image, 0.4 for a factor of up to 1.4 and down to 1 / 1.4; each
            equally likely.
        cells: Grid points of the field along each axis: 2 for a slope, more for a field that also bends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["bias-field"] = "bias-field"
    strength: tuple[float, float] = (0.0, 0.4)
    cells: int = Field(default=3, ge=2, le=8)

    @model_validator(mode="after")
    def _ordered(self) -> BiasField:
        ordered(self.strength, 0, 1, "strength")
        return self


def shade(
    images: Tensor, settings: BiasField, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Multiply each image by a smooth field of its own whose logarithm has the mean 0 over the brain.

    Args:
        images: (N, 1, S, S) float in [0, 1], square.
        settings: How strong.
        generator: Source of randomness, on the device of the images.

    Returns:
        The images, clipped to [0, 1], and where they were changed, (N, 1, S, S) and (N, 1, S, S) bool.
    """
    brain, count = images != 0, len(images)
    grid = torch.randn((count, 1, settings.cells, settings.cells), device=images.device, generator=generator)
    field = resample(grid, images.shape[-1])
    pixels = brain.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    field = (field - (field * brain).sum(dim=(2, 3), keepdim=True) / pixels) * brain
    field = field / field.abs().amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    strength = between(*settings.strength, count, images, generator)[..., None]
    return (images * (field * (1 + strength).log()).exp()).clamp(0, 1).to(images.dtype), brain
