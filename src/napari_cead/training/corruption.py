"""Corruptions of healthy images, which the network learns to undo: one interface for all kinds.

Each kind is a frozen, JSON-serialisable object; :data:`Corruption` is any of them, told apart by ``kind``.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from .noise import CoarseNoise, GaussianNoise, add_coarse, add_gaussian
from .squares import ContextEncoding, overwrite_squares

__all__ = ["PAPER", "CoarseNoise", "ContextEncoding", "Corrupted", "Corruption", "GaussianNoise", "corrupt"]

Corruption: TypeAlias = Annotated[ContextEncoding | GaussianNoise | CoarseNoise, Field(discriminator="kind")]
"""Any corruption, as the type of a field of a pydantic model."""

PAPER = ContextEncoding()
"""The paper's: one square of random size per image."""


class Corrupted(NamedTuple):
    """Corrupted images.

    Attributes:
        images: (N, 1, S, S), as the originals but where the mask is set.
        mask: (N, 1, S, S) bool, where they were changed.
    """

    images: Tensor
    mask: Tensor


def corrupt(
    images: Tensor, settings: Corruption | None = None, generator: torch.Generator | None = None
) -> Corrupted:
    """Corrupt each image in a way of its own.

    All images are worked on at once, on their own device, without waiting for it. Squares are filled from within the
    range of the batch; noise is not clipped to any range.

    Args:
        images: (N, 1, S, S) float; they are left as they are.
        settings: How; None: the paper's way.
        generator: Source of randomness, on the device of the images.

    Example:
        >>> images = torch.rand(4, 1, 64, 64)
        >>> corrupt(images, CoarseNoise(), torch.Generator().manual_seed(0)).images.shape
        torch.Size([4, 1, 64, 64])
    """
    settings = settings or PAPER
    if isinstance(settings, GaussianNoise):
        return Corrupted(*add_gaussian(images, settings, generator))
    if isinstance(settings, CoarseNoise):
        return Corrupted(*add_coarse(images, settings, generator))
    return Corrupted(*overwrite_squares(images, settings, generator))
