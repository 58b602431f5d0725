"""The settings of a training run, as data: stored with the run, checked when it is resumed.

A setting that does not apply to a design is refused there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from ..corruption.augmentation import Augmentation
from ..corruption.mixtures import ContextEncoding, Corruption
from ..errors import ParameterError
from ..models.networks import NETWORKS, design_names
from ..models.specs import ModelSpec, spec

Schedule = Literal["constant", "linear", "one-cycle"]
Positive = Annotated[FiniteFloat, Field(gt=0)]

FINE_TUNING_RATE = 0.2
"""Fine-tuning starts with this share of the usual learning rate: the weights are already near a minimum."""

FINE_TUNING_EPOCHS = 20
"""Usual number of epochs of a fine-tuning."""


class TrainingSettings(BaseModel):
    """Everything that determines the weights of a training, except the data and the machine.

    The defaults are the paper's, with augmentation added; ``augmentation=None`` is the paper's training. A setting that
    does not apply to the architecture (``beta`` of an autoencoder) is refused unless it is the default.

    Attributes:
        spec: The architecture; whether context encoding is used is part of it.
        epochs: Passes over the slices.
        batch_size: Slices per update, over all devices together.
        learning_rate: Learning rate of the optimiser; with ``"one-cycle"`` its peak, with ``"linear"`` its start.
        schedule: ``"constant"`` (the paper), ``"linear"``: down to 0 along a line, or ``"one-cycle"``: up during the
            first tenth, down to 0 along a cosine.
        optimizer: ``"adam"`` (the paper), or ``"adamw"``: Adam with decoupled weight decay.
        weight_decay: Weight decay of AdamW.
        seed: Seed of all random numbers.
        beta: Weight of a VAE's divergence beside the sum of squares; 1 is the ELBO of a Gaussian with the variance ½.
        commitment: Weight of a VQ-VAE's commitment term; 1.0 in the paper.
        codebook_decay: Move a VQ-VAE's codebook by moving averages with this decay instead of its loss.
        reset_dead_codes: Replace code vectors that were not used during an epoch.
        corruption: The corruption of images if the spec uses context encoding, or is a denoiser's.
        loss: A denoiser's loss inside the brain: the mean ``"absolute"`` or ``"squared"`` error. The families
            of the paper have their own sums (see :mod:`~napari_cead.models.losses`), which are squared.
        bright_limit: Leave spots brighter than this many times the tissue of their slice out of a denoiser's loss, for
            slices that are called healthy and yet show white-matter hyperintensities; None: no limit.
        emphasis: Weight of corrupted pixels in a denoiser's loss, relative to 1 for the others.
        small_emphasis: Largest extra factor for small corruptions, so that few pixels count beside thousands.
        lesion_weight: Weight of the second head's loss relative to the repair's, for a network that marks lesions.
        balance: How often slices are shown: ``"slices"``, each once per epoch; ``"folders"``, at random, and all
            folders of patients equally often, however many slices each has (one real slice of each of 300 patients
            beside thousands of a few synthetic ones).
        augmentation: The augmentation of images; None: none.
        clip: Largest norm of the gradient; None: no limit.
        patience: Epochs without a smaller healthy validation loss after which training ends; None: never.
        freeze_encoder: Whether only the decoder (and codebook) learns, for fine-tuning.
        precision: ``"32"``, ``"bf16"`` (mixed precision), or ``"auto"``: bf16 if the device supports it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: ModelSpec
    epochs: int = Field(default=200, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: Positive = 1e-4
    schedule: Schedule = "constant"
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.01
    seed: int = Field(default=0, ge=0, lt=1 << 31)
    beta: Annotated[FiniteFloat, Field(ge=0)] = 1.0
    commitment: Annotated[FiniteFloat, Field(ge=0)] = 1.0
    codebook_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    reset_dead_codes: bool = False
    corruption: Corruption = ContextEncoding()
    loss: Literal["squared", "absolute"] = "squared"
    bright_limit: Annotated[FiniteFloat, Field(ge=1, le=10)] | None = None
    emphasis: Annotated[FiniteFloat, Field(ge=1, le=100)] = 1.0
    small_emphasis: Annotated[FiniteFloat, Field(ge=1, le=100)] = 1.0
    lesion_weight: Annotated[FiniteFloat, Field(gt=0, le=100)] = 1.0
    balance: Literal["slices", "folders"] = "slices"
    augmentation: Augmentation | None = Augmentation(scale=0.06, rotation=6, shift=0.02)
    clip: Positive | None = None
    patience: int | None = Field(default=None, ge=1)
    freeze_encoder: bool = False
    precision: Literal["auto", "32", "bf16"] = "auto"

    @model_validator(mode="after")
    def _of_the_design(self) -> TrainingSettings:
        for name in unused(dict(self), self.defaults(), self.spec):
            raise ValueError(no_use(name, [self.spec.name]))
        return self

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the default of every setting that has one."""
        return {name: field.default for name, field in cls.model_fields.items() if name != "spec"}

    @classmethod
    def checked(cls, **values: Any) -> TrainingSettings:
        """Build settings from a user's values.

        Raises:
            ParameterError: If a value is out of range, in one sentence.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if not first["loc"]:
                raise ParameterError(
                    str(first["ctx"]["error"]), hint="leave it out, or choose another design"
                ) from None
            names = [str(part) for part in first["loc"] if isinstance(part, str)]
            name = names[-1].replace("_", " ") if names else "a setting"
            raise ParameterError(
                f"{name}: {first['msg'].lower()}, not {first['input']!r}", hint="give another value"
            ) from None

    def differences(self, other: TrainingSettings) -> list[str]:
        """Name the settings that differ and would make a resumed run another one.

        A run may be resumed for more or fewer epochs if its learning rate does not depend on their number.
        """
        may_change = {"patience"} | ({"epochs"} if self.schedule == "constant" else set())
        return [
            name
            for name in type(self).model_fields
            if name not in may_change and getattr(self, name) != getattr(other, name)
        ]


@dataclass(frozen=True)
class Hardware:
    """The hardware of a training; it should not change the result.

    Attributes:
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
        devices: Devices (processes) per machine.
        num_nodes: Machines; more than one needs a launcher (torchrun, SLURM).
        strategy: ``"auto"``, ``"ddp"`` or any other strategy of Lightning Fabric.
        compile: Whether to compile the network (``torch.compile``).
        data: ``"device"`` keeps all slices on the device, ``"loader"`` reads them from the store as needed,
            ``"auto"`` chooses by the free memory.
        workers: Reader processes of the loader.
        checkpoint_minutes: Longest time between two checkpoints within an epoch.
    """

    device: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    compile: bool = False
    data: Literal["auto", "device", "loader"] = "auto"
    workers: int = 2
    checkpoint_minutes: float = 10.0


def rate(step: int, total: int, schedule: Schedule) -> float:
    """Return the factor on the learning rate at a step counted from 0."""
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return max(0.0, 1 - step / max(1, total))
    warm = max(1, total // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


OF_SOME: tuple[str, ...] = (
    "corruption",
    *sorted(set().union(*(each.settings for each in NETWORKS.own.values()))),
)
"""The settings that not every family of networks has a use for; all others belong to all."""


def belongs(setting: str, design: ModelSpec) -> bool:
    """Whether a setting applies to a network."""
    if setting == "corruption":
        return design.corrupts
    return setting not in OF_SOME or design.network.uses(setting, design)


def owners(setting: str) -> tuple[str, ...]:
    """Return the named designs that a setting applies to."""
    return tuple(name for name in design_names() if belongs(setting, spec(name)))


def no_use(setting: str, names: Iterable[str], called: str | None = None) -> str:
    """Return the sentence that refuses a setting.

    Args:
        setting: The setting.
        names: The designs that it does not apply to.
        called: The name that the user typed; None: its own name.
    """
    return f"{called or setting} does nothing for {listed(names)}: it belongs to {listed(owners(setting))}"


def unused(values: Mapping[str, Any], defaults: Mapping[str, Any], design: ModelSpec) -> list[str]:
    """Return the settings that differ from their defaults and do not apply to a network.

    Args:
        values: Values by name of the setting.
        defaults: The default of each.
        design: The network.
    """
    return [
        name
        for name in OF_SOME
        if name in values and values[name] != defaults[name] and not belongs(name, design)
    ]


def listed(names: Iterable[str]) -> str:
    """Return names as a sentence has them: "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
