"""Random changes that leave a healthy slice healthy, applied to a whole batch on its device."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ..models.resampling import resample
from ..models.tissue import tissue_level
from .augmentation import Augmentation

SOME = 1 / 3
"""Share of the images that are blurred, and of those whose rim is brighter."""

WHOLE = 0.99
"""Share of brain below which a pixel's neighbourhood reaches out of the brain."""

DARKEST = 0.005
"""What liquid is left with where contrast grows: 0 is outside the brain."""

RIM_CELL = 5
"""Size of a bright patch of the rim, in pixels."""


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
    if settings.blur:
        images = torch.where(_some(images, generator), _blurred(images, settings.blur, generator), images)
    if settings.scale or settings.rotation or settings.shift:
        moves = _affine(len(images), settings, images, generator)
        grid = _grid(moves, images.shape[-2], images.shape[-1])
        images = functional.grid_sample(images, grid, align_corners=False)
    if settings.contrast:
        share = torch.rand(shape, device=images.device, dtype=images.dtype, generator=generator)
        level = tissue_level(images).clamp(min=1e-3)
        images = level * (images / level) ** (settings.contrast * (2 * share - 1)).exp()
    if settings.tissue_contrast:
        images = _spread(images, settings.tissue_contrast, generator)
    if settings.bias:
        images = images * (1 + settings.bias * _smooth_field(images, generator))
    if settings.rim:
        images = torch.where(_some(images, generator), _brighter_rim(images, settings.rim, generator), images)
    if settings.intensity or settings.contrast or settings.tissue_contrast or settings.bias:
        share = torch.rand(shape, device=images.device, dtype=images.dtype, generator=generator)
        images = images * (1 + settings.intensity * (2 * share - 1))
    return images.clamp(0, 1) if settings.changes_intensity else images


def _spread(images: Tensor, largest: float, generator: torch.Generator | None) -> Tensor:
    """Return images whose brain lies nearer to the tissue's level, or farther from it; it stays above 0."""
    share = torch.rand((len(images), 1, 1, 1), device=images.device, dtype=images.dtype, generator=generator)
    level = tissue_level(images)
    spread = level + (images - level) * (largest * (2 * share - 1)).exp()
    return torch.where(images != 0, spread.clamp(min=DARKEST), images)


def _some(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Choose a third of the images: (N, 1, 1, 1) bool."""
    return torch.rand((len(images), 1, 1, 1), device=images.device, generator=generator) < SOME


def _blurred(images: Tensor, largest: float, generator: torch.Generator | None) -> Tensor:
    """Return each image smoothed by a Gaussian of its own along each axis; what lies outside the brain stays 0."""
    count, radius = len(images), max(1, math.ceil(3 * largest))
    sigma = torch.rand((2, count, 1), device=images.device, generator=generator) * largest
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernels = (-0.5 * (offsets / sigma.clamp(min=1e-2)).square()).exp()
    rows, columns = (kernels / kernels.sum(-1, keepdim=True)).to(images.dtype)
    # Each image has its own kernel: the images are the channels of one.
    smooth = functional.conv2d(
        images.transpose(0, 1), rows[:, None, :, None], padding=(radius, 0), groups=count
    )
    smooth = functional.conv2d(smooth, columns[:, None, None, :], padding=(0, radius), groups=count)
    return smooth.transpose(0, 1) * (images != 0)


def _brighter_rim(images: Tensor, largest: float, generator: torch.Generator | None) -> Tensor:
    """Return images whose outermost one or two pixels of brain are brighter here and there."""
    brain = (images != 0).to(images.dtype)
    thick = torch.rand((len(images), 1, 1, 1), device=images.device, generator=generator) < 0.5
    rim = functional.avg_pool2d(brain, 3, 1, 1) < WHOLE
    rim = rim | ((functional.avg_pool2d(brain, 5, 1, 2) < WHOLE) & thick)
    cells = [max(2, side // RIM_CELL) for side in images.shape[-2:]]
    patches = torch.randn((len(images), 1, *cells), device=images.device, generator=generator)
    patches = functional.interpolate(patches, images.shape[-2:], mode="bilinear").clamp(0, 2)
    height = torch.rand((len(images), 1, 1, 1), device=images.device, generator=generator) * largest
    return images + (rim * brain * patches * height).to(images.dtype)


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
