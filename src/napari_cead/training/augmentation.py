"""Random changes that leave a healthy slice healthy, applied to a whole batch on its device."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class Augmentation(BaseModel):
    """What to vary.

    Attributes:
        flip: Whether to mirror left and right, half of the time.
        intensity: Largest relative change of brightness, 0.1 for ±10 %.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: bool = True
    intensity: float = Field(default=0.1, ge=0, lt=1)


def augment(images: Tensor, settings: Augmentation, generator: torch.Generator | None = None) -> Tensor:
    """Return a varied copy of a batch.

    Args:
        images: (N, 1, S, S) in [0, 1].
        settings: What to vary.
        generator: Source of randomness, on the device of the images.
    """
    shape = (len(images), 1, 1, 1)
    if settings.flip:
        chosen = torch.rand(shape, device=images.device, generator=generator) < 0.5
        images = torch.where(chosen, images.flip(-1), images)
    if settings.intensity:
        share = torch.rand(shape, device=images.device, dtype=images.dtype, generator=generator)
        images = (images * (1 + settings.intensity * (2 * share - 1))).clamp(0, 1)
    return images
