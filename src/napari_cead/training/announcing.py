"""What a training at full size would take on a processor, measured before it begins, and a smaller one."""

from __future__ import annotations

from dataclasses import dataclass

from ..corruption.kinds import Spacing
from ..devices import pick_device
from ..models.networks import find_design
from ..models.specs import spec
from ..runs.training_settings import Hardware, TrainingSettings
from ..wording import duration
from .cost import Cost, cost_of
from .presets import training_settings

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
