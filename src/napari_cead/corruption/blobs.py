"""Irregular blobs inside the brain: the outlines of simulated lesions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models.precision import without_autocast
from ..models.resampling import resampling_matrix
from .kinds import LARGEST_ASPECT, Spacing

CELL_MM = 10.0
"""Finest grid of the random field that bends outlines: finer than a lobe, coarser than a gyrus is thick."""

LOBES = 2
"""Cells of that grid across a blob of middle size: more would break large blobs into pieces."""


def between(
    low: float, high: float, count: int, like: Tensor, generator: torch.Generator | None, *, log: bool = False
) -> Tensor:
    """Return (count, 1, 1) float32 numbers from low to high, each equally likely (or each order of size, ``log``)."""
    share = torch.rand((count, 1, 1), device=like.device, generator=generator)
    if log:
        return low * (share * math.log(high / low)).exp()
    return low + share * (high - low)


def numbers(
    fewest: int, most: int, count: int, like: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, range]:
    """Draw how many blobs each image has: (count, 1, 1) int64, and the numbers to go through."""
    drawn = torch.randint(fewest, most + 1, (count, 1, 1), device=like.device, generator=generator)
    return drawn, range(most)


def blob(
    brain: Tensor,
    diameter_mm: tuple[float, float],
    rim_mm: tuple[float, float],
    irregularity: float,
    spacing: Spacing,
    generator: torch.Generator | None = None,
    *,
    aspect: float = LARGEST_ASPECT,
    preferred: Tensor | None = None,
) -> Tensor:
    """Draw one blob in each image, centred on any of its brain pixels.

    A blob is an ellipse whose outline a smooth random field bends, with a rim in which it fades. All images are worked
    on at once. An image without brain has an empty one.

    Args:
        brain: (N, S, S) bool.
        diameter_mm: Smallest and largest mean diameter; each order of size is equally likely.
        rim_mm: Narrowest and widest rim.
        irregularity: Standard deviation of the outline's distance from the ellipse's, in radii.
        spacing: Size of a pixel (y, x) in mm.
        generator: Source of randomness, on the device of ``brain``.
        aspect: Largest ratio of a blob's axes.
        preferred: (N, S, S) bool, pixels to centre on where an image has such; None: any of the brain.

    Returns:
        (N, S, S) float32 from 0 (outside, and outside the brain) to 1; at least one pixel is above 0.
    """
    count, height, width = brain.shape
    place = torch.rand((count, height * width), device=brain.device, generator=generator)
    if preferred is not None:
        place = place + (preferred & brain).flatten(1)
    centre = (place + brain.flatten(1)).argmax(1)  # the largest of the numbers above 1 is any brain pixel's
    radius = between(*diameter_mm, count, brain, generator, log=True) / 2
    rim = between(*rim_mm, count, brain, generator)
    angle = between(0, math.pi, count, brain, generator)
    ratio = between(1, aspect, count, brain, generator, log=True).sqrt()
    y = torch.arange(height, device=brain.device)[None, :, None] - (centre // width)[:, None, None]
    x = torch.arange(width, device=brain.device)[None, None, :] - (centre % width)[:, None, None]
    y, x = y * spacing[0], x * spacing[1]
    along = (angle.cos() * y + angle.sin() * x) / ratio
    across = (angle.cos() * x - angle.sin() * y) * ratio
    inside = radius - (along.square() + across.square()).sqrt()
    if irregularity:
        middle = math.sqrt(diameter_mm[0] * diameter_mm[1])
        field = _field(brain, max(CELL_MM, middle / LOBES), spacing, generator)
        # Nothing at the centre, so that no blob is bent away.
        field = field - field.flatten(1).gather(1, centre[:, None])[..., None]
        inside = inside + irregularity * radius * field
    return (inside / rim + 0.5).clamp(0, 1) * brain


def _field(brain: Tensor, cell_mm: float, spacing: Spacing, generator: torch.Generator | None) -> Tensor:
    """Return a smooth random field of mean 0 and variance about 1 for each image, (N, S, S) float32."""
    count, *size = brain.shape
    cells = [max(2, round(side * mm / cell_mm)) for side, mm in zip(size, spacing, strict=True)]
    grid = torch.randn((count, *cells), device=brain.device, generator=generator)
    with without_autocast(brain.device):
        rows, columns = (resampling_matrix(cell, side, grid) for cell, side in zip(cells, size, strict=True))
        enlarged = rows @ grid @ columns.T
    return enlarged * 1.5  # between grid points it is an average, with two thirds of the deviation
