"""What a training costs, measured with a few of its own updates before it begins; and what a smaller one would."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psutil
import torch

from ..corruption.kinds import Spacing
from ..devices import pick_device
from ..models.building import parameter_count
from ..models.networks import find_design
from ..models.specs import spec
from ..runs.training_settings import Hardware, TrainingSettings
from ..wording import duration
from .engine import check_start
from .presets import training_settings
from .updating import Updater

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MEASURING = 8.0
"""Measuring ends with the first update after this many seconds."""

ENOUGH = 5
"""Most updates that are measured; the first does not count if there are several."""


@dataclass(frozen=True)
class Cost:
    """The measured cost of a training.

    Attributes:
        device: The device it was measured on.
        weights: Trainable weights of the network.
        slice_seconds: Seconds that a training slice takes, from reading it to better weights.
        validation_seconds: Seconds that a validation slice takes.
        memory: Peak memory in bytes: of this process, on a GPU of the GPU.
        updates: Number of measured updates.
        epochs: Planned epochs.
    """

    device: str
    weights: int
    slice_seconds: float
    validation_seconds: float
    memory: int
    updates: int
    epochs: int

    def epoch(self, slices: int, validation: int) -> float:
        """Return the seconds of an epoch with these numbers of slices."""
        return slices * self.slice_seconds + validation * self.validation_seconds

    def total(self, slices: int, validation: int) -> float:
        """Return the seconds of all epochs."""
        return self.epochs * self.epoch(slices, validation)


def measure(fabric: Fabric, settings: TrainingSettings, spacing: Spacing, *, most: int | None = None) -> Cost:
    """Measure a few real updates on made-up slices: the speed does not depend on what they show.

    Nothing is written. The random numbers of the training itself stay as they are.

    Args:
        fabric: Lightning Fabric for the device (:func:`~napari_cead.training.engine.check_start`).
        settings: The training.
        spacing: Size of a pixel (y, x) in mm.
        most: Most slices of an update: the number of training slices, if it is known.

    Raises:
        OutOfMemoryError: If not even one slice fits into memory.
    """
    batch = settings.batch_size if most is None else min(settings.batch_size, most)
    device = fabric.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    updater = Updater(fabric, settings, spacing, batch)
    images = _discs(batch, settings.spec.image_size, device)
    times: list[float] = []
    while not times or (len(times) < ENOUGH and sum(times) < MEASURING):
        times.append(_timed(lambda: updater.update(images), device))
    counted = times[1:] or times
    piece = images[: updater.micro]
    updater.network.eval()
    judging = _timed(lambda: updater.judge(piece, updater.spoil.fixed()), device) / len(piece)
    return Cost(
        device=str(device),
        weights=parameter_count(updater.network),
        slice_seconds=sum(counted) / len(counted) / batch,
        validation_seconds=judging,
        memory=_peak(device),
        updates=len(counted),
        epochs=settings.epochs,
    )


def _discs(count: int, side: int, device: torch.device) -> torch.Tensor:
    """Return slices (N, 1, S, S) with something round in them, where a brain would be."""
    line = torch.linspace(-1, 1, side, device=device)
    disc = (line**2 + line[:, None] ** 2 < 0.5) * 0.5
    return disc.expand(count, 1, side, side).contiguous()


def _timed(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def cost_of(
    settings: TrainingSettings, hardware: Hardware, spacing: Spacing, *, most: int | None = None
) -> Cost:
    """Measure a training on its hardware; see :func:`measure`. Several devices count as so many times faster."""
    one = replace(hardware, devices=1, num_nodes=1, strategy="auto", compile=False)
    found = measure(check_start(settings, hardware=one, resumed=True), settings, spacing, most=most)
    processes = hardware.devices * hardware.num_nodes
    return replace(
        found,
        slice_seconds=found.slice_seconds / processes,
        validation_seconds=found.validation_seconds / processes,
    )


LONG = 3600.0
"""Trainings on a processor that take longer than this many seconds are announced before they begin."""

Slices = tuple[int, int]
"""Number of training and of validation slices."""


def is_costly(settings: TrainingSettings, hardware: Hardware) -> bool:
    """Whether a training is at full size and on a processor, and so may take very long."""
    return settings.spec.size == "paper" and pick_device(hardware.device).type == "cpu"


@dataclass(frozen=True)
class Smaller:
    """The same training at size small.

    Attributes:
        cost: Its cost.
        epochs: The epochs of preset ``small``.
    """

    cost: Cost
    epochs: int

    def preset(self, slices: Slices) -> str:
        """Return what preset ``small`` takes, in words."""
        return f"({self.epochs} epochs) about {duration(self.epochs * self.cost.epoch(*slices))}"


def smaller(
    settings: TrainingSettings, hardware: Hardware, spacing: Spacing, *, most: int | None = None
) -> Smaller | None:
    """Measure the same training at size small; None if its design has none.

    Raises:
        OutOfMemoryError: If not even one slice fits into memory.
    """
    own = settings.spec
    if find_design(own.name)[1].small is None:
        return None
    small = settings.model_copy(update={"spec": spec(own.name, "small", own.image_size)})
    epochs = training_settings(own.name, preset="small", image_size=own.image_size).epochs
    return Smaller(cost_of(small, hardware, spacing, most=most), epochs)


def in_words(settings: TrainingSettings, cost: Cost, slices: Slices) -> str:
    """Return what a training at full size takes, as the beginning of a sentence."""
    return (
        f"{settings.spec.name} at full size ({cost.weights / 1e6:.0f} million weights) takes about "
        f"{duration(cost.epoch(*slices))} per epoch on this processor, {duration(cost.total(*slices))} for "
        f"{settings.epochs}"
    )
