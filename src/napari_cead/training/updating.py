"""One update of a training: a batch in, better weights out, in pieces if the device has too little memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..corruption.augmenting import augment
from ..corruption.kinds import Spacing
from ..corruption.mixtures import Corrupted, corrupt
from ..devices import is_out_of_memory
from ..errors import OutOfMemoryError
from ..runs.training_settings import TrainingSettings
from .network import TERMS, Objective, initial_network, optimizer_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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


class Updater:
    """A network with its optimizer.

    Args:
        fabric: Lightning Fabric, launched.
        settings: The settings that determine the weights.
        spacing: Size of a pixel (y, x) in mm.
        batch: Slices of an update, over all processes.
        weights: Weights to start from; None: random ones.
        compile: Whether to compile the network.
        say: Told of what is changed on the way.
        run: The run's folder, for error messages.

    Attributes:
        network: The network.
        micro: Slices that pass through the network at a time.
        running: Sum of the terms of all updates since it was last set to 0.
        generator: Source of this process's randomness.
    """

    def __init__(
        self,
        fabric: Fabric,
        settings: TrainingSettings,
        spacing: Spacing,
        batch: int,
        weights: Mapping[str, Tensor] | None = None,
        *,
        compile: bool = False,
        say: Callable[[str], None] = lambda message: None,
        run: Path | None = None,
    ) -> None:
        self.fabric, self.settings, self._say, self._run = fabric, settings, say, run
        device = fabric.device
        self.micro = math.ceil(batch / fabric.world_size)
        self.network = initial_network(settings, weights)
        if device.type != "mps":  # not reliable on Apple's GPUs
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = Objective(self.network, settings)
        optimizer = optimizer_of(settings, self.network, device)
        compiled: nn.Module = torch.compile(self.objective) if compile else self.objective  # type: ignore[assignment]
        self.module, self.optimizer = fabric.setup(compiled, optimizer)
        self.tracker = settings.spec.network.tracker(self.network, settings)
        seed = np.random.SeedSequence((settings.seed, fabric.global_rank)).generate_state(1, np.uint64)[0]
        self.generator = torch.Generator(device).manual_seed(int(seed >> np.uint64(1)))
        self.running = torch.zeros(len(TERMS), device=device)
        self.spoil = Corruptor(settings, spacing, device, fabric.global_rank, fabric.world_size)

    def update(self, images: Tensor) -> None:
        """Make one update; if the device has too little memory, in smaller pieces with the same total gradient.

        Args:
            images: (N, 1, S, S) in [0, 1], on the device.

        Raises:
            OutOfMemoryError: If not even one slice at a time fits.
        """
        before = self.generator.get_state()
        while True:
            try:
                return self._attempt(images)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.micro == 1 or self.fabric.world_size > 1:
                    raise OutOfMemoryError(
                        f"out of memory with {self.micro} slices at a time on {self.fabric.device}",
                        file=self._run,
                        hint="use a smaller --batch-size, more --devices, or --size small, and add --resume",
                    ) from error
            self.optimizer.zero_grad(set_to_none=True)
            self.micro = math.ceil(self.micro / 2)
            self.generator.set_state(before)
            if self.fabric.device.type == "cuda":
                torch.cuda.empty_cache()
            self._say(
                f"out of memory: continuing with {self.micro} slices at a time, adding up the gradients",
            )

    def _attempt(self, images: Tensor) -> None:
        settings = self.settings
        if settings.augmentation is not None:
            images = augment(images, settings.augmentation, self.generator)
        corrupted = self.spoil(images, self.generator) if settings.spec.corrupts else None
        self.optimizer.zero_grad(set_to_none=True)
        found, terms = [], torch.zeros_like(self.running)
        for start in range(0, len(images), self.micro):
            piece = images[start : start + self.micro]
            share = len(piece) / len(images)
            total, piece_terms, *kept = self.module(
                piece, *self._beside(corrupted, start), generator=self.generator
            )
            self.fabric.backward(total if share == 1 else total * share)
            terms += piece_terms * share
            if self.tracker is not None:
                found.append(kept)
        if settings.clip is not None:
            self.fabric.clip_gradients(
                self.module, self.optimizer, max_norm=settings.clip, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.running += terms
        if self.tracker is not None:
            joined = (torch.cat(part) for part in zip(*found, strict=True))
            self.tracker.take(*joined, generator=self.generator)

    @torch.no_grad()
    def judge(self, images: Tensor, fixed: torch.Generator) -> Tensor:
        """Return the loss of validation images (N, 1, S, S), all :data:`~napari_cead.training.network.TERMS`.

        Args:
            images: At most :attr:`micro` slices.
            fixed: Source of the corruption of a denoiser's slices: without it nothing is random.
        """
        corrupted = self.spoil(images, fixed) if self.settings.spec.denoising else None
        with self.fabric.autocast():
            terms: Tensor = self.objective(images, *self._beside(corrupted))[1]
        return terms

    def _beside(self, corrupted: Corrupted | None, start: int = 0) -> tuple[Tensor | None, Tensor | None]:
        """Return a piece of the corrupted images, and the places of simulated lesions if the network learns them."""
        if corrupted is None:
            return None, None
        there = slice(start, start + self.micro)
        wanted = self.settings.spec.predicts_lesion
        return corrupted.images[there], corrupted.lesion[there] if wanted else None
