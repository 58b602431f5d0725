"""Additive noise, which the network has to remove: white (the paper's alternative to squares), coarse or smooth.

Coarse noise looks like lesions rather than grain: Kascenas et al. 2022, *Denoising Autoencoders for Unsupervised
Anomaly Detection in Brain MRI*. Smooth noise has its size in mm, and no trace of a grid. None of them clips: pixels may
leave the range of the images, so that the noise keeps its mean of 0.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from ..models.precision import without_autocast
from .blobs import Spacing, between, ordered


class GaussianNoise(BaseModel):
    """White Gaussian noise of mean 0, independent in each pixel.

    Attributes:
        kind: Which corruption this is.
        sigma: Smallest and largest standard deviation in units of intensity; one is drawn per image.
        inside_brain: Whether only non-zero pixels change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gaussian"] = "gaussian"
    sigma: tuple[float, float] = (0.05, 0.25)
    inside_brain: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> GaussianNoise:
        if not 0 < self.sigma[0] <= self.sigma[1] <= 10:
            raise ValueError("sigma is two numbers above 0 and up to 10, the smaller first")
        return self


class CoarseNoise(BaseModel):
    """Gaussian noise drawn on a coarse grid, enlarged bilinearly and rolled at random, added inside the brain.

    Attributes:
        kind: Which corruption this is.
        sigma: Standard deviation on the coarse grid, in units of intensity. In the image it is about two thirds of
            that, for between grid points the noise is an average.
        cells: Sides of the coarse grids; one is drawn per image. 16 on 128x128 is the publication's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["coarse"] = "coarse"
    sigma: float = Field(default=0.25, gt=0, le=10)
    cells: tuple[Annotated[int, Field(ge=2, le=256)], ...] = Field(default=(8, 16, 32), min_length=1)


class SmoothNoise(BaseModel):
    """White noise smoothed by a Gaussian to unit variance, times a standard deviation, added inside the brain.

    Attributes:
        kind: Which corruption this is.
        sigma: Smallest and largest standard deviation in units of intensity; one is drawn per image.
        length_mm: Smallest and largest sigma of the Gaussian in mm; each order of size is equally likely.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["smooth"] = "smooth"
    sigma: tuple[float, float] = (0.05, 0.3)
    length_mm: tuple[float, float] = (2.0, 20.0)

    @model_validator(mode="after")
    def _ordered(self) -> SmoothNoise:
        ordered(self.sigma, 0.001, 10, "sigma")
        ordered(self.length_mm, 0.1, 200, "length_mm")
        return self


def add_gaussian(
    images: Tensor, settings: GaussianNoise, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Add white noise to each image.

    Args:
        images: (N, 1, S, S) float.
        settings: How much, and where.
        generator: Source of randomness, on the device of the images.

    Returns:
        The images and where noise was added, (N, 1, S, S) and (N, 1, S, S) bool.
    """
    low, high = settings.sigma
    share = torch.rand((len(images), 1, 1, 1), device=images.device, dtype=images.dtype, generator=generator)
    noise = torch.randn(images.shape, device=images.device, dtype=images.dtype, generator=generator)
    changed = images != 0 if settings.inside_brain else torch.ones_like(images, dtype=torch.bool)
    return images + noise * (low + share * (high - low)) * changed, changed


def add_coarse(
    images: Tensor, settings: CoarseNoise, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Add coarse noise to the non-zero pixels of each image.

    Args:
        images: (N, 1, S, S) float.
        settings: How much, and how coarse.
        generator: Source of randomness, on the device of the images.

    Returns:
        The images and where noise was added, (N, 1, S, S) and (N, 1, S, S) bool.
    """
    count, device, finest = len(images), images.device, max(settings.cells)
    choice = torch.randint(len(settings.cells), (count,), device=device, generator=generator)
    cells = torch.full_like(choice, settings.cells[0])
    for number, side in enumerate(settings.cells):  # a lookup table would have to be copied to the device
        cells = cells.masked_fill(choice == number, side)
    shares = torch.rand((2, count), device=device, generator=generator)
    grid = torch.randn((count, finest, finest), device=device, generator=generator) * settings.sigma
    rows = _enlargement(images.shape[-2], cells, shares[0], finest)
    columns = _enlargement(images.shape[-1], cells, shares[1], finest)
    with without_autocast(device):
        noise = (rows @ grid @ columns.mT).unsqueeze(1).to(images.dtype)
    brain = images != 0
    return images + noise * brain, brain


def _enlargement(size: int, cells: Tensor, share: Tensor, finest: int) -> Tensor:
    """Return the matrix that enlarges a line of grid points bilinearly and rolls it, for each image.

    Grids of different size are enlarged together this way: the columns beyond an image's own grid are 0.

    Args:
        size: Pixels of the line.
        cells: (N,), grid points of each image.
        share: (N,) in [0, 1), how far to roll.
        finest: Columns of the matrices, the largest of ``cells``.

    Returns:
        (N, size, finest) float32, rows that sum to 1.
    """
    pixels = torch.arange(size, device=cells.device)
    rolled = (pixels + (share * size).floor().long()[:, None]) % size
    ratio = cells[:, None] / size
    position = (
        ((rolled + 0.5) * ratio - 0.5).clamp(min=0).minimum(cells[:, None] - 1)
    )  # as align_corners=False
    points = torch.arange(finest, device=cells.device)
    return (1 - (position[..., None] - points).abs()).clamp(min=0)


def add_smooth(
    images: Tensor, settings: SmoothNoise, spacing: Spacing, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Add smooth noise to the non-zero pixels of each image.

    Args:
        images: (N, 1, S, S) float.
        settings: How much, and how smooth.
        spacing: Size of a pixel (y, x) in mm.
        generator: Source of randomness, on the device of the images.

    Returns:
        The images and where noise was added, (N, 1, S, S) and (N, 1, S, S) bool.
    """
    count, height, width = len(images), *images.shape[-2:]
    white = torch.randn((count, height, width), device=images.device, generator=generator)
    length = between(*settings.length_mm, count, images, generator, log=True)
    sigma = between(*settings.sigma, count, images, generator)
    rows, columns = (_smoothing(side, length / mm) for side, mm in zip((height, width), spacing, strict=True))
    with without_autocast(images.device):
        noise = (sigma * (rows @ white @ columns.mT)).unsqueeze(1).to(images.dtype)
    brain = images != 0
    return images + noise * brain, brain


def _smoothing(size: int, sigma: Tensor) -> Tensor:
    """Return the matrices (N, size, size) that smooth lines of white noise by sigma (N, 1, 1) at unit variance."""
    pixels = torch.arange(size, device=sigma.device)
    weights = (-0.5 * ((pixels[:, None] - pixels) / sigma).square()).exp()
    return weights / weights.square().sum(dim=-1, keepdim=True).sqrt()
