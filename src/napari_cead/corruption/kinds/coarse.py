"""Coarse noise, which looks like lesions rather than grain.

Kascenas et al. 2022, *Denoising Autoencoders for Unsupervised Anomaly Detection in Brain MRI*. It is not clipped:
pixels may leave the range of the images, so that the noise keeps its mean of 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from . import Corrupted, CorruptionKind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from . import Spacing


class CoarseNoise(CorruptionKind):
    """Gaussian noise drawn on a coarse grid, enlarged bilinearly and rolled at random, added inside the brain.

    Attributes:
        kind: Name of the kind.
        sigma: Standard deviation on the coarse grid, in units of intensity. In the image it is about two thirds of
            that, because between grid points the noise is an average.
        cells: Sides of the coarse grids; one is drawn per image. 16 on 128x128 is the publication's.
    """

    kind: Literal["coarse"] = "coarse"
    sigma: float = Field(default=0.25, gt=0, le=10)
    cells: tuple[Annotated[int, Field(ge=2, le=256)], ...] = Field(default=(8, 16, 32), min_length=1)

    def apply(self, images: Tensor, spacing: Spacing, generator: torch.Generator | None = None) -> Corrupted:
        """Add coarse noise inside the brain, without clipping."""
        import torch

        from ...models.precision import without_autocast

        count, device, finest = len(images), images.device, max(self.cells)
        choice = torch.randint(len(self.cells), (count,), device=device, generator=generator)
        cells = torch.full_like(choice, self.cells[0])
        for number, side in enumerate(self.cells):  # a lookup table would have to be copied to the device
            cells = cells.masked_fill(choice == number, side)
        shares = torch.rand((2, count), device=device, generator=generator)
        grid = torch.randn((count, finest, finest), device=device, generator=generator) * self.sigma
        rows = _enlargement(images.shape[-2], cells, shares[0], finest)
        columns = _enlargement(images.shape[-1], cells, shares[1], finest)
        with without_autocast(device):
            noise = (rows @ grid @ columns.mT).unsqueeze(1).to(images.dtype)
        brain = images != 0
        return Corrupted.without_lesion(images + noise * brain, brain)


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
    import torch

    pixels = torch.arange(size, device=cells.device)
    rolled = (pixels + (share * size).floor().long()[:, None]) % size
    ratio = cells[:, None] / size
    position = (
        ((rolled + 0.5) * ratio - 0.5).clamp(min=0).minimum(cells[:, None] - 1)
    )  # as align_corners=False
    points = torch.arange(finest, device=cells.device)
    return (1 - (position[..., None] - points).abs()).clamp(min=0)


OFFERED = (CoarseNoise(),)
