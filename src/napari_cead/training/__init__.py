"""Training: context-encoding masks, losses, and the loop. Importing this imports torch."""

from .augmentation import Augmentation, augment
from .corruption import ContextEncoding, Corrupted, corrupt
from .losses import Losses, kl_divergence, objective, squared_error
from .trainer import TrainingResult, healthy_loss, train

__all__ = [
    "Augmentation",
    "ContextEncoding",
    "Corrupted",
    "Losses",
    "TrainingResult",
    "augment",
    "corrupt",
    "healthy_loss",
    "kl_divergence",
    "objective",
    "squared_error",
    "train",
]
