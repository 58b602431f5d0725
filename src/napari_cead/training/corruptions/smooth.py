"""Smooth noise, whose size is in mm, without a trace of a grid. It is not clipped, so that it keeps its mean of 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from . import Corrupted, CorruptionKind, ordered

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from . import Spacing


class SmoothNoise(CorruptionKind):
    """White noise smoothed by a Gaussian to unit variance, times a standard deviation, added inside the brain.

    Attributes:
        kind: Name of the kind.
        sigma: Smallest and largest standard deviation in units of intensity; one is drawn per image.
        length_mm: Smallest and largest sigma of the Gaussian in mm; each order of size is equally likely.
    """

    kind: Literal["smooth"] = "smooth"
    sigma: tuple[float, float] = (0.05, 0.3)
    length_mm: tuple[float, float] = (2.0, 20.0)

    @model_validator(mode="after")
    def _ordered(self) -> SmoothNoise:
        ordered(self.sigma, 0.001, 10, "sigma")
        ordered(self.length_mm, 0.1, 200, "length_mm")
        return self

    def apply(self, images: Tensor, spacing: Spacing, generator: torch.Generator | None = None) -> Corrupted:
        """Add smooth noise inside the brain, without clipping."""
        import torch

        from ...models.precision import without_autocast
        from ..blobs import between

        count, height, width = len(images), *images.shape[-2:]
        white = torch.randn((count, height, width), device=images.device, generator=generator)
        length = between(*self.length_mm, count, images, generator, log=True)
        sigma = between(*self.sigma, count, images, generator)
        rows, columns = (
            _smoothing(side, length / mm) for side, mm in zip((height, width), spacing, strict=True)
        )
        with without_autocast(images.device):
            noise = (sigma * (rows @ white @ columns.mT)).unsqueeze(1).to(images.dtype)
        brain = images != 0
        return Corrupted.without_lesion(images + noise * brain, brain)


def _smoothing(size: int, sigma: Tensor) -> Tensor:
    """Return the matrices (N, size, size) that smooth lines of white noise by sigma (N, 1, 1) at unit variance."""
    import torch

    pixels = torch.arange(size, device=sigma.device)
    weights = (-0.5 * ((pixels[:, None] - pixels) / sigma).square()).exp()
    return weights / weights.square().sum(dim=-1, keepdim=True).sqrt()


OFFERED = (SmoothNoise(),)
