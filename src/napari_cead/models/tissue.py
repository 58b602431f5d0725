"""How bright tissue is."""

from __future__ import annotations

import torch
from torch import Tensor


def tissue_level(images: Tensor) -> Tensor:
    """Return the mean intensity of each image's tissue, liquid left out: (N, 1, S, S) to (N, 1, 1, 1), the same type.

    Tissue is what is brighter than half the mean of the brain; an image without brain has the level 0.
    """

    def mean(of: Tensor) -> Tensor:
        count = of.sum(dim=(1, 2, 3), keepdim=True, dtype=torch.float32).clamp(min=1)
        return (images * of).sum(dim=(1, 2, 3), keepdim=True, dtype=torch.float32) / count

    return mean(images > 0.5 * mean(images != 0)).to(images.dtype)
