"""Training: the slice store, context-encoding masks, losses, and the engine.

The names are imported when first used, so that the store can be read and written without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augmentation import Augmentation
    from .augmenting import augment
    from .corruption import (
        CoarseNoise,
        ContextEncoding,
        Corrupted,
        CorruptionKind,
        GaussianNoise,
        Mixture,
    )
    from .engine import train
    from .preparation import prepare
    from .runs import RunFolder
    from .settings import Hardware, TrainingSettings
    from .store import SliceStore

_HOMES = {
    "Augmentation": "augmentation",
    "CoarseNoise": "corruption",
    "ContextEncoding": "corruption",
    "Corrupted": "corruptions",
    "CorruptionKind": "corruptions",
    "GaussianNoise": "corruption",
    "Hardware": "settings",
    "Mixture": "corruption",
    "RunFolder": "runs",
    "SliceStore": "store",
    "TrainingSettings": "settings",
    "augment": "augmenting",
    "prepare": "preparation",
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
