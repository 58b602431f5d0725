"""Random changes that leave a healthy slice healthy, applied to a whole batch on its device."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from ..models.resampling import resample
from .blobs import tissue_level


class Augmentation(BaseModel):
    """What to vary.

    Attributes:
        flip: Whether to mirror left and right, half of the time.
        intensity: Largest relative change of brightness, 0.1 for ±10 %.
        contrast: Largest change of the exponent of a power curve, as a logarithm: 0.25 for exponents of 0.78 to
            1.28. It keeps 0 and the tissue's level.
        bias: Standard deviation of a smooth factor over the image, as a bright or dark side of a coil makes it.
        scale: Largest relative change of size along each axis, 0.05 for ±5 %.
        rotation: Largest turn in the plane, in degrees.
        shift: Largest move along each axis, as a share of the image's side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: bool = True
    intensity: float = Field(default=0.1, ge=0, lt=1)
    contrast: float = Field(default=0.0, ge=0, le=1)
    bias: float = Field(default=0.0, ge=0, le=0.3)
    scale: float = Field(default=0.0, ge=0, lt=1)
    rotation: float = Field(default=0.0, ge=0, le=180)
    shift: float = Field(default=0.0, ge=0, lt=1)


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
    if settings.scale or settings.rotation or settings.shift:
        moves = _affine(len(images), settings, images, generator)
        grid = _grid(moves, images.shape[-2], images.shape[-1])
        images = functional.grid_sample(images, grid, align_corners=False)
    if settings.contrast:
        share = torch.rand(shape, device=images.device, dtype=images.dtype, generator=generator)
        level = tissue_level(images).clamp(min=1e-3)
        images = level * (images / level) ** (settings.contrast * (2 * share - 1)).exp()
    if settings.bias:
        images = images * (1 + settings.bias * _smooth_field(images, generator))
    if settings.intensity or settings.contrast or settings.bias:
        share = torch.rand(shape, device=images.device, dtype=images.dtype, generator=generator)
        images = (images * (1 + settings.intensity * (2 * share - 1))).clamp(0, 1)
    return images


def _smooth_field(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return a field over each image from a grid of 4 x 4 numbers of deviation 1."""
    grid = torch.randn((len(images), 1, 4, 4), device=images.device, generator=generator)
    return resample(grid, images.shape[-1]).to(images.dtype)


def _affine(count: int, settings: Augmentation, images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return random moves (count, 2, 3) from output to input coordinates, x first, both in [-1, 1]."""
    draws = torch.rand((5, count), device=images.device, dtype=images.dtype, generator=generator) * 2 - 1
    angle = torch.deg2rad(settings.rotation * draws[0])
    wide, high = 1 + settings.scale * draws[1], 1 + settings.scale * draws[2]
    cosine, sine = angle.cos(), angle.sin()
    aside, along = 2 * settings.shift * draws[3], 2 * settings.shift * draws[4]
    rows = (
        torch.stack((cosine / wide, -sine / high, aside), -1),
        torch.stack((sine / wide, cosine / high, along), -1),
    )
    return torch.stack(rows, dim=1)


def _grid(moves: Tensor, height: int, width: int) -> Tensor:
    """Return where each pixel is read, as ``affine_grid`` does without ``align_corners``.

    A sum of rows and columns: ``affine_grid`` multiplies matrices instead, which takes twice as long on a processor,
    and on a GPU that may round products (TF32) moves pixels.

    Args:
        moves: (N, 2, 3) from output to input coordinates, x first.
        height: Rows of the images.
        width: Columns of the images.

    Returns:
        (N, height, width, 2), x first.
    """
    x, y = (
        (2 * torch.arange(size, device=moves.device, dtype=moves.dtype) + 1) / size - 1
        for size in (width, height)
    )
    columns = moves[:, None, :, 0] * x[:, None]
    rows = moves[:, None, :, 1] * y[:, None] + moves[:, None, :, 2]
    return rows.unsqueeze(2) + columns.unsqueeze(1)
