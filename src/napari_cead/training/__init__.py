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
        BrainPatches,
        CoarseNoise,
        ContextEncoding,
        Corrupted,
        Corruption,
        CorruptionKind,
        GaussianNoise,
        Mixture,
        Share,
        SimulatedLesions,
        SmoothNoise,
        corrupt,
    )
    from .engine import TrainingResult, train
    from .losses import Losses, kl_divergence, objective, squared_error
    from .preparation import prepare
    from .runs import RunFolder
    from .settings import Hardware, TrainingSettings
    from .store import SliceStore

_HOMES = {
    "Augmentation": "augmentation",
    "BrainPatches": "corruption",
    "CoarseNoise": "corruption",
    "ContextEncoding": "corruption",
    "Corrupted": "corruptions",
    "Corruption": "corruption",
    "CorruptionKind": "corruptions",
    "GaussianNoise": "corruption",
    "Hardware": "settings",
    "Losses": "losses",
    "Mixture": "corruption",
    "RunFolder": "runs",
    "Share": "corruption",
    "SimulatedLesions": "corruption",
    "SliceStore": "store",
    "SmoothNoise": "corruption",
    "TrainingResult": "engine",
    "TrainingSettings": "settings",
    "augment": "augmenting",
    "corrupt": "corruption",
    "kl_divergence": "losses",
    "objective": "losses",
    "prepare": "preparation",
    "squared_error": "losses",
    "train": "engine",
}

__all__ = [
    "Augmentation",
    "BrainPatches",
    "CoarseNoise",
    "ContextEncoding",
    "Corrupted",
    "Corruption",
    "CorruptionKind",
    "GaussianNoise",
    "Hardware",
    "Losses",
    "Mixture",
    "RunFolder",
    "Share",
    "SimulatedLesions",
    "SliceStore",
    "SmoothNoise",
    "TrainingResult",
    "TrainingSettings",
    "augment",
    "corrupt",
    "kl_divergence",
    "objective",
    "prepare",
    "squared_error",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
