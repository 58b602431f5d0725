"""Named sets of training settings, and how they meet what a user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from ..errors import ParameterError
from ..models.specs import ModelSpec, spec
from .augmentation import Augmentation
from .belonging import belongs
from .corruption import SCANNERS, CoarseNoise, ContextEncoding
from .settings import FINE_TUNING_RATE, TrainingSettings

Preset = Literal["paper", "small"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Paolini, Boracchi, Matteucci: one square per image, 200 epochs, learning rate 1e-4, batches of 64.
    "paper": {
        "size": "paper",
        "epochs": 200,
        "batch_size": 64,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "commitment": 1.0,
        "corruption": ContextEncoding(),
        "augmentation": None,
    },
    # The eight bundled designs: minutes on a processor. With the codebook loss alone a VQ-VAE of this size soon uses 3
    # of its 128 codes (measured), so here the codebook follows moving averages and dead codes move.
    "small": {
        "size": "small",
        "epochs": 16,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "schedule": "one-cycle",
        "augmentation": Augmentation(scale=0.06, rotation=6, shift=0.02),
        "codebook_decay": 0.99,
        "reset_dead_codes": True,
    },
}
"""By name: the settings that differ from the defaults."""

_DENOISER: Mapping[str, Any] = {
    "batch_size": 16,
    "learning_rate": 1e-3,
    "schedule": "linear",
    "optimizer": "adamw",
    "loss": "absolute",
    "augmentation": Augmentation(scale=0.04, rotation=4, shift=0.02),
}

DENOISERS: Mapping[str, Mapping[str, Any]] = {
    # Kascenas, Pugeault, O'Neil 2022 draw noise on a grid of 16 x 16; finer and coarser grids beside it found more.
    "dae": {**_DENOISER, "corruption": CoarseNoise()},
    # What the bundled one was trained with: see research/README.md for what these did.
    "ce-unet": {
        **_DENOISER,
        "batch_size": 8,
        "learning_rate": 1.5e-3,
        "schedule": "one-cycle",
        "weight_decay": 1e-3,
        "clip": 1.0,
        "corruption": SCANNERS,
        "emphasis": 5.0,
        "small_emphasis": 5.0,
        "lesion_weight": 0.1,
        "balance": "folders",
        "augmentation": Augmentation(
            scale=0.12,
            rotation=10,
            shift=0.04,
            intensity=0.12,
            contrast=0.35,
            bias=0.03,
            blur=1.2,
            rim=0.25,
        ),
    },
}
"""By design: the settings of the models beside the paper's, whatever the preset; it gives size and epochs."""

OF_DENOISERS = ("size", "epochs")
"""What a denoiser takes from a preset."""


def training_settings(
    model: str, *, preset: str | None = None, parent: ModelSpec | None = None, **given: Any
) -> TrainingSettings:
    """Return complete settings: what was given, else the design's or the preset's, else the defaults.

    Args:
        model: One of the named designs.
        preset: ``"paper"``, ``"small"`` or None.
        parent: Spec of the model to start from: its size and image size are taken, and a lower learning rate.
        given: Fields of :class:`TrainingSettings`, and ``size`` and ``image_size``; None counts as not given. A
            ``spec`` of one's own stands in place of the design's architecture.

    Raises:
        ParameterError: If the model or preset is unknown, a value out of range, or a setting given that does nothing
            for the design.
    """
    if preset is not None and preset not in get_args(Preset):
        raise ParameterError(
            f"there is no preset called {preset!r}", mend=f"use one of {', '.join(get_args(Preset))}"
        )
    values: dict[str, Any] = {"size": "paper", **PRESETS.get(preset or "", {})}
    if model in DENOISERS:
        values = {name: value for name, value in values.items() if name in OF_DENOISERS} | dict(
            DENOISERS[model]
        )
    if parent is not None:
        rate = values.get("learning_rate", TrainingSettings.model_fields["learning_rate"].default)
        values |= {
            "size": parent.size,
            "image_size": parent.image_size,
            "learning_rate": rate * FINE_TUNING_RATE,
        }
    asked = {name: value for name, value in given.items() if value is not None}
    size, image_size = (asked.pop(name, values.pop(name, None)) for name in ("size", "image_size"))
    architecture = asked.pop("spec", None)
    if architecture is None and parent is not None and parent.name == model and size == parent.size:
        architecture = parent  # its own shape: a name may have stood for another one when it was trained
    if architecture is None:
        architecture = spec(model, size) if image_size is None else spec(model, size, image_size)
    design = TrainingSettings.checked(spec=architecture).spec
    usual = {name: value for name, value in values.items() if belongs(name, design)}
    return TrainingSettings.checked(**{**usual, **asked, "spec": design})
