"""The corruption of a training: random in each update, and the same again and again on validation slices."""

from __future__ import annotations

import torch
from torch import Tensor

from ..corruption.kinds import Corrupted, Spacing
from ..corruption.mixtures import corrupt
from ..runs.training_settings import TrainingSettings


class Corruptor:
    """Corrupts images as the settings say.

    Args:
        settings: The corruption, and the seed.
        spacing: Size of a pixel (y, x) in mm.
        device: Where the images are.
        rank: This process.
        world: Processes in all.
    """

    def __init__(
        self, settings: TrainingSettings, spacing: Spacing, device: torch.device, rank: int, world: int
    ) -> None:
        self.settings, self.spacing, self.device = settings, spacing, device
        self._seed = settings.seed * world + rank

    def __call__(self, images: Tensor, generator: torch.Generator) -> Corrupted:
        """Return images (N, 1, S, S) corrupted."""
        return corrupt(images, self.settings.corruption, generator, spacing=self.spacing)

    def fixed(self) -> torch.Generator:
        """Return a generator that starts at the same place whenever it is asked for."""
        return torch.Generator(self.device).manual_seed(self._seed)

    def again(self, images: Tensor) -> Tensor:
        """Return images corrupted in the same way each time."""
        return self(images, self.fixed()).images
