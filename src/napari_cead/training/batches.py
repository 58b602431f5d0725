"""Sources of batches: slices on the training device, or slices read from the store as needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..store.store import Part, SliceStore

SHARE = 0.5
"""Largest share of the device's free memory for slices."""


class Batches(Protocol):
    """A source of batches."""

    def __len__(self) -> int:
        """Return the number of slices."""

    def draw(self, batches: list[NDArray[np.int64]]) -> Iterator[Tensor]:
        """Yield the slices of each list of numbers as (N, 1, S, S) float32 in [0, 1] on the device."""


class DeviceBatches:
    """All slices are on the device in their own type; a batch is one indexing there.

    Args:
        slices: (K, S, S) uint8.
        device: The device for the slices.
    """

    def __init__(self, slices: NDArray[np.uint8], device: torch.device) -> None:
        self.slices = torch.from_numpy(slices).to(device)

    def __len__(self) -> int:
        return len(self.slices)

    def draw(self, batches: list[NDArray[np.int64]]) -> Iterator[Tensor]:
        """Yield the slices of each list of numbers as (N, 1, S, S) float32 in [0, 1] on the device."""
        if not batches:
            return
        # One copy for all batches of an epoch: no copy waits between two updates.
        numbers = torch.from_numpy(np.concatenate(batches)).to(self.slices.device)
        for chosen in torch.split(numbers, [len(batch) for batch in batches]):
            yield as_images(self.slices[chosen])


class _Rows(Dataset[Tensor]):
    """A batch of slices per item, read from the store in the loader's processes."""

    def __init__(self, store: SliceStore, rows: NDArray[np.int64], batches: list[NDArray[np.int64]]) -> None:
        self.store, self.rows, self.batches = store, rows, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Tensor:
        return torch.from_numpy(self.store.read(self.rows[self.batches[number]]))


class LoaderBatches:
    """Slices are read from the store by a DataLoader: for stores larger than the device's memory.

    Args:
        store: The store.
        part: Part of the split.
        device: The device for the batches.
        workers: Reader processes; 0 reads in this one.
    """

    def __init__(self, store: SliceStore, part: Part, device: torch.device, workers: int) -> None:
        self.store, self.device, self.workers = store, device, workers
        self.rows = store.healthy_rows(part)

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, batches: list[NDArray[np.int64]]) -> Iterator[Tensor]:
        """Yield the slices of each list of numbers as (N, 1, S, S) float32 in [0, 1] on the device."""
        pinned = self.device.type == "cuda"
        loader = DataLoader(
            _Rows(self.store, self.rows, batches),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=pinned,
            multiprocessing_context="spawn" if self.workers else None,
        )
        for slices in loader:
            yield as_images(slices.to(self.device, non_blocking=pinned))


def batches_of(
    store: SliceStore,
    part: Part,
    device: torch.device,
    data: Literal["auto", "device", "loader"],
    workers: int,
) -> Batches:
    """Return the healthy slices of a part of the store, on the device if they fit there.

    Raises:
        StoreError: If there are none.
    """
    rows = store.healthy_rows(part)
    need = len(rows) * store.settings.image_size**2
    if data == "loader" or (data == "auto" and need > SHARE * _free_memory(device)):
        return LoaderBatches(store, part, device, workers)
    return DeviceBatches(store.healthy_slices(part), device)


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def as_images(slices: Tensor) -> Tensor:
    """Return (N, S, S) uint8 as (N, 1, S, S) float32 in [0, 1]."""
    return slices.unsqueeze(1).float() / 255


def chances(store: SliceStore, part: Part) -> NDArray[np.float64]:
    """Return the probability of drawing each healthy slice of a part if all folders of patients have equal weight.

    Returns:
        (K,), in the order of ``healthy_rows``; they add up to 1.
    """
    folders = np.array([str(Path(patient.source).parent) for patient in store.patients])
    each = folders[store.healthy_rows(part)[:, 0]]
    _, place, count = np.unique(each, return_inverse=True, return_counts=True)
    return 1.0 / (len(count) * count[place])


def order_of(
    count: int,
    batch: int,
    seed: int,
    epoch: int,
    rank: int,
    world: int,
    likely: NDArray[np.float64] | None = None,
) -> list[NDArray[np.int64]]:
    """Return the slices of each update of an epoch, for one of several processes.

    The order depends only on seed and epoch, so that an interrupted epoch can continue where it stopped; a smaller last
    batch is left out.

    Args:
        count: Total slices.
        batch: Slices per update, over all processes.
        seed: Seed of the run.
        epoch: From 1.
        rank: This process.
        world: Number of processes.
        likely: (count,), draw slices with these probabilities, some several times and others not; None: each once.
    """
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(count) if likely is None else generator.choice(count, count, p=likely)
    return [order[start : start + batch][rank::world] for start in range(0, count - batch + 1, batch)]
