"""Named sets of training settings, and how they meet what a user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from ..corruption.augmentation import Augmentation
from ..corruption.mixtures import ContextEncoding, corruption_called
from ..errors import ParameterError
from ..models.networks import find_design
from ..models.specs import ModelSpec, spec
from ..runs.belonging import belongs
from ..runs.training_settings import FINE_TUNING_EPOCHS, FINE_TUNING_RATE, TrainingSettings

Preset = Literal["paper", "small"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Paolini, Boracchi, Matteucci: one square per image, 200 epochs, learning rate 1e-4, batches of 64.
    "paper": {
        "size": "paper",
        "epochs": 200,
        "batch_size": 64,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "corruption": ContextEncoding(),
        "augmentation": None,
    },
    # The eight bundled designs: minutes on a processor.
    "small": {
        "size": "small",
        "epochs": 16,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "schedule": "one-cycle",
        "augmentation": Augmentation(scale=0.06, rotation=6, shift=0.02),
    },
}
"""By name: the settings that differ from the defaults. Each family of networks may add some of its own."""

OF_PRESETS = ("size", "epochs")
"""What a design with a recipe of its own takes from a preset."""


def training_settings(
    model: str, *, preset: str | None = None, parent: ModelSpec | None = None, **given: Any
) -> TrainingSettings:
    """Return complete settings: what was given, else the design's or the preset's, else the defaults.

    Args:
        model: One of the named designs.
        preset: ``"paper"``, ``"small"`` or None.
        parent: Spec of the model to start from: its size and image size are taken, a lower learning rate and fewer
            epochs.
        given: Fields of :class:`TrainingSettings`, and ``size`` and ``image_size``; None counts as not given. A
            ``spec`` of one's own stands in place of the design's architecture.

    Raises:
        ParameterError: If the model or preset is unknown, a value out of range, or a setting given that does nothing
            for the design.
    """
    if preset is not None and preset not in get_args(Preset):
        raise ParameterError(
            f"there is no preset called {preset!r}", hint=f"use one of {', '.join(get_args(Preset))}"
        )
    family, named = find_design(model)
    values: dict[str, Any] = {"size": "paper", **PRESETS.get(preset or "", {})}
    values |= family.presets.get(preset or "", {})
    if named.recipe:
        values = {name: value for name, value in values.items() if name in OF_PRESETS} | dict(named.recipe)
        if isinstance(values.get("corruption"), str):
            values["corruption"] = corruption_called(values["corruption"])
    if parent is not None:
        rate = values.get("learning_rate", TrainingSettings.model_fields["learning_rate"].default)
        values |= {
            "size": parent.size,
            "image_size": parent.image_size,
            "learning_rate": rate * FINE_TUNING_RATE,
            "epochs": FINE_TUNING_EPOCHS,
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
