"""A strip of validation slices after an epoch: input, reconstruction and residual."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from ..atomic import atomic_path, make_folder
from ..errors import OutputError
from ..runs.run_files import PREVIEWS
from ..store.store import SliceStore
from .batches import as_images

COLUMNS = 6
TILE = 98
"""Pixels on a side of one slice."""

RESIDUAL_SCALE = 0.4
"""The residual that is drawn white: the same in every epoch, so that strips can be compared."""

INTERVAL = 5.0
"""Shortest time between two strips, in seconds."""

SHARE = 0.02
"""Largest share of the time spent on strips."""


class Previews:
    """Draws the same few validation slices repeatedly, without any effect on the training.

    No random number is drawn, and the network is left in evaluation mode, as after validation.

    Args:
        run: The run's folder.
        store: Source of the slices.
        spoil: A denoiser's corruption, applied to slices (N, 1, S, S) before drawing; None: unchanged.
    """

    def __init__(
        self, run: Path, store: SliceStore, spoil: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> None:
        self.run, self.store, self.spoil = run, store, spoil
        self.images: torch.Tensor | None = None
        self.begun = time.monotonic()
        self.drawn = self.cost = 0.0

    def due(self) -> bool:
        """Whether another strip stays within the share of the time."""
        now = time.monotonic()
        if not self.drawn:
            return True
        return now - self.drawn >= INTERVAL and self.cost <= SHARE * (now - self.begun)

    @torch.no_grad()
    def draw(
        self,
        network: nn.Module,
        epoch: int,
        device: torch.device,
        autocast: AbstractContextManager[object],
        *,
        last: bool = False,
    ) -> str | None:
        """Write ``previews/epoch-NNNN.png`` if one is due.

        Args:
            network: The network, in evaluation mode.
            epoch: From 1.
            device: Its device.
            autocast: The precision of its validation.
            last: Whether no epoch follows: then one is always due.

        Returns:
            The picture's path inside the run; None if none was written.
        """
        if not (last or self.due()):
            return None
        began = time.monotonic()
        if self.images is None:
            rows = self.store.healthy_rows("validation")
            self.images = as_images(torch.from_numpy(self.store.read(rows[spread(len(rows))])).to(device))
            if self.spoil is not None:
                self.images = self.spoil(self.images)
        with autocast:
            made = network(self.images, sample=False).reconstruction
        if self.spoil is not None:  # a denoiser learns only inside the brain
            made = made * (self.images != 0)
        picture = strip(self.images[:, 0].cpu().numpy(), made[:, 0].float().cpu().numpy())
        name = f"{PREVIEWS}/epoch-{epoch:04d}.png"
        written: str | None = None
        with suppress(OutputError):  # optional: a full disk is reported elsewhere
            make_folder(self.run / PREVIEWS)
            with atomic_path(self.run / name) as temporary:
                Image.fromarray(picture).save(temporary, format="PNG")
            written = name
        self.drawn = time.monotonic()
        self.cost += self.drawn - began
        return written


def spread(count: int) -> NDArray[np.int64]:
    """Return up to :data:`COLUMNS` numbers below ``count``, evenly spread."""
    columns = min(COLUMNS, count)
    return ((np.arange(columns) + 0.5) * count / columns).astype(np.int64)


def strip(images: NDArray[np.float32], reconstructions: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return three rows of tiles: slices, reconstructions, and residuals |x - x̂| on a fixed scale.

    Args:
        images: (N, S, S) in [0, 1].
        reconstructions: (N, S, S).

    Returns:
        (3 · 98, N · 98) gray values.
    """
    residuals = np.abs(images - reconstructions) / RESIDUAL_SCALE
    rows = [np.hstack([_tile(each) for each in row]) for row in (images, reconstructions, residuals)]
    return np.vstack(rows)


def _tile(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    gray = np.round(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
    return np.asarray(Image.fromarray(gray).resize((TILE, TILE), Image.Resampling.BOX))
