"""Running a network over the slices of a patient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import Cancelled
from ..slices import SliceStack
from ..zoo import Detector

GROUP = 16
"""Slices per forward pass. Groups are fixed and aligned, so that a slice always meets the same company."""

Progress = Callable[[int, int], None]
Stop = Callable[[], bool]


def reconstruct(
    stack: SliceStack,
    detector: Detector,
    *,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> NDArray[np.float32]:
    """Reconstruct every slice that holds brain.

    Args:
        stack: Slices on the model grid.
        detector: A loaded model.
        on_progress: Called with (slices done, slices in all) after every group.
        should_stop: Asked before every group.

    Returns:
        (Z, S, S) float32 on the model grid, 0 in slices without brain.

    Raises:
        Cancelled: If ``should_stop`` returned true.
    """
    result = np.zeros_like(stack.images)
    total = len(stack.occupied)
    for start in range(0, total, GROUP):
        if should_stop is not None and should_stop():
            raise Cancelled
        group = stack.occupied[start : start + GROUP]
        batch = torch.from_numpy(stack.images[group])[:, None].to(detector.device)
        result[group] = detector.reconstruct(batch)[:, 0].float().cpu().numpy()
        if on_progress is not None:
            on_progress(min(start + GROUP, total), total)
    return result
