"""White noise, which the network has to remove: the paper's alternative to squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from . import Corrupted, CorruptionKind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from . import Spacing


class GaussianNoise(CorruptionKind):
    """White Gaussian noise of mean 0, independent in each pixel.

    Attributes:
        kind: Name of the kind.
        sigma: Smallest and largest standard deviation in units of intensity; one is drawn per image.
        inside_brain: Whether only non-zero pixels change.
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma: tuple[float, float] = (0.05, 0.25)
    inside_brain: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> GaussianNoise:
        if not 0 < self.sigma[0] <= self.sigma[1] <= 10:
            raise ValueError("sigma is two numbers above 0 and up to 10, the smaller first")
        return self

    def apply(self, images: Tensor, spacing: Spacing, generator: torch.Generator | None = None) -> Corrupted:
        """Add white noise, without clipping."""
        import torch

        low, high = self.sigma
        share = torch.rand(
            (len(images), 1, 1, 1), device=images.device, dtype=images.dtype, generator=generator
        )
        noise = torch.randn(images.shape, device=images.device, dtype=images.dtype, generator=generator)
        changed = images != 0 if self.inside_brain else torch.ones_like(images, dtype=torch.bool)
        return Corrupted.without_lesion(images + noise * (low + share * (high - low)) * changed, changed)


OFFERED = (GaussianNoise(),)
