"""Training: the engine, the recipe of a training, and starting and following runs.

The public names of the rooms below it are here too. They are imported when first used, so that the store
can be read and written without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..corruption.augmentation import Augmentation
    from ..corruption.augmenting import augment
    from ..corruption.mixtures import (
        CoarseNoise,
        ContextEncoding,
        Corrupted,
        CorruptionKind,
        GaussianNoise,
        Mixture,
    )
    from ..runs.run_folder import RunFolder
    from ..runs.training_settings import Hardware, TrainingSettings
    from ..store.prepare import prepare
    from ..store.store import SliceStore
    from .engine import train

_HOMES = {
    "Augmentation": ".corruption.augmentation",
    "CoarseNoise": ".corruption.mixtures",
    "ContextEncoding": ".corruption.mixtures",
    "Corrupted": ".corruption.kinds",
    "CorruptionKind": ".corruption.kinds",
    "GaussianNoise": ".corruption.mixtures",
    "Hardware": ".runs.training_settings",
    "Mixture": ".corruption.mixtures",
    "RunFolder": ".runs.run_folder",
    "SliceStore": ".store.store",
    "TrainingSettings": ".runs.training_settings",
    "augment": ".corruption.augmenting",
    "prepare": ".store.prepare",
    "train": "engine",
}

__all__ = [
    "Augmentation",
    "CoarseNoise",
    "ContextEncoding",
    "Corrupted",
    "CorruptionKind",
    "GaussianNoise",
    "Hardware",
    "Mixture",
    "RunFolder",
    "SliceStore",
    "TrainingSettings",
    "augment",
    "prepare",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
