"""Stripes across the slice, as a disturbed scan has them."""

from typing import Literal

from pydantic import Field

from napari_cead.training import Corrupted, CorruptionKind


class Stripes(CorruptionKind):
    """Every so many rows are darkened, from a random row on."""

    kind: Literal["stripes"] = "stripes"  # as the entry point is called
    every: int = Field(default=6, ge=2, le=64)
    darker: float = Field(default=0.5, gt=0, le=1)

    def apply(self, images, spacing, generator=None):
        """Corrupt all images at once; what is not brain stays 0."""
        import torch

        first = torch.randint(self.every, (len(images), 1, 1, 1), device=images.device, generator=generator)
        row = torch.arange(images.shape[-2], device=images.device)[:, None]
        mask = ((row - first) % self.every == 0) & (images != 0)
        return Corrupted.without_lesion(torch.where(mask, images * (1 - self.darker), images), mask)
