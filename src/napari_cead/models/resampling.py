"""Enlarging and reducing images by matrices: the same bits of arithmetic on every device, and in an ONNX file."""

from __future__ import annotations

import torch
from torch import Tensor

from .precision import single, without_autocast


def resampling_matrix(source: int, target: int, like: Tensor) -> Tensor:
    """Return the matrix (target, source) that resamples a line of pixels bilinearly, antialiased when it reduces.

    Args:
        source: Pixels of the line.
        target: Pixels wanted; the first and last edge stay where they are.
        like: A tensor with the device and type wanted.
    """
    ratio = source / target
    reach = max(ratio, 1.0)  # a reduced pixel is a mean over as many as it covers, and its neighbours' share
    centres = (torch.arange(target, device=like.device, dtype=like.dtype) + 0.5) * ratio
    pixels = torch.arange(source, device=like.device, dtype=like.dtype) + 0.5
    weights = (1 - (pixels - centres[:, None]).abs() / reach).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)


def resample(images: Tensor, size: int) -> Tensor:
    """Resample square images bilinearly (antialiased when they become smaller), in at least single precision.

    Args:
        images: (N, C, S, S).
        size: Side wanted in pixels.

    Returns:
        (N, C, size, size).
    """
    if images.shape[-1] == size:
        return images
    with without_autocast(images.device):
        values = single(images)
        matrix = resampling_matrix(values.shape[-1], size, values)
        return matrix @ values @ matrix.T
