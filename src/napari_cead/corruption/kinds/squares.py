"""Context encoding: squares of the image are overwritten, and the network has to restore them.

Pathak et al. 2016, *Context Encoders: Feature Learning by Inpainting*; used on brain MRI by Zimmerer et al. 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from . import Corrupted, CorruptionKind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from . import Spacing


class ContextEncoding(CorruptionKind):
    """Squares of random size and place. The defaults are the paper's: one square, anywhere in the image.

    Public reference code draws several squares, keeps the last alone, and leaves a third of the images whole; that is
    a slip, not a method, and is not on offer: here every square drawn is in the image, and every image has one.

    Attributes:
        kind: Name of the kind.
        squares: Smallest and largest number of squares in an image, each number equally likely.
        largest_side: Largest side of a square as a fraction of the image's; all sides up to it are equally likely.
        inside_brain: Whether squares stay inside the bounding box of the image's non-zero pixels.
        fill: ``"uniform"`` draws a value for each square between the batch's extremes, ``"zero"`` blackens it.
    """

    kind: Literal["squares"] = "squares"
    squares: tuple[int, int] = (1, 1)
    largest_side: float = Field(default=0.5, gt=0, le=1)
    inside_brain: bool = False
    fill: Literal["uniform", "zero"] = "uniform"

    @model_validator(mode="after")
    def _ordered(self) -> ContextEncoding:
        if not 1 <= self.squares[0] <= self.squares[1] <= 16:
            raise ValueError("squares are two numbers from 1 to 16, the smaller first")
        return self

    def apply(self, images: Tensor, spacing: Spacing, generator: torch.Generator | None = None) -> Corrupted:
        """Overwrite squares; each image has at least one, of at least one pixel, with values of the batch's range."""
        import torch

        count, size = len(images), images.shape[-1]
        device = images.device
        top, left, bottom, right = _brain_boxes(images) if self.inside_brain else _whole(images)

        def draw(low: Tensor, high: Tensor) -> Tensor:
            """Draw a whole number per image from low to high, both included."""
            share = torch.rand(count, device=device, generator=generator)
            return low + (share * (high - low + 1)).floor().long().minimum(high - low)

        one = torch.ones_like(top)
        fewest, most = self.squares
        squares = draw(one * fewest, one * most)
        room = torch.minimum(bottom - top, right - left).clamp(max=max(1, int(size * self.largest_side)))
        low, high = images.amin(), images.amax()
        index = torch.arange(size, device=device)
        result, covered = images, torch.zeros_like(images, dtype=torch.bool)
        for number in range(most):
            side = draw(one, room)
            y, x = draw(top, bottom - side), draw(left, right - side)
            rows = (index >= y[:, None]) & (index < (y + side)[:, None])
            columns = (index >= x[:, None]) & (index < (x + side)[:, None])
            square = (
                rows[:, None, :, None] & columns[:, None, None, :] & (number < squares)[:, None, None, None]
            )
            if self.fill == "uniform":
                share = torch.rand(count, 1, 1, 1, device=device, dtype=images.dtype, generator=generator)
                result = torch.where(square, low + share * (high - low), result)
            else:
                result = result.masked_fill(square, 0)
            covered = covered | square
        return Corrupted.without_lesion(result, covered)


def _whole(images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    import torch

    zero = torch.zeros(len(images), dtype=torch.long, device=images.device)
    return zero, zero, zero + images.shape[-2], zero + images.shape[-1]


def _brain_boxes(images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return top, left, bottom, right (the last two excluded), each (N,), of the non-zero pixels.

    An image without any counts as a whole.
    """
    bounds = []
    for axis in (3, 2):
        present = (images != 0).any(dim=axis).flatten(1)
        present = present | ~present.any(dim=1, keepdim=True)
        first = present.int().argmax(1)
        last = present.shape[1] - present.flip(1).int().argmax(1)
        bounds.append((first, last))
    (top, bottom), (left, right) = bounds
    return top, left, bottom, right


OFFERED = (ContextEncoding(),)
