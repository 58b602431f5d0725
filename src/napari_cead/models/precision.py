"""Keeping distances and losses in single precision where the network itself runs in half (autocast)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def single(x: Tensor) -> Tensor:
    """Return a tensor in single precision if it is in half, else as it is (double stays double)."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products keep the precision of their factors."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
