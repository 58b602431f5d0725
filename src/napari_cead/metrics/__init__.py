"""How well a detected mask agrees with a reference: overlap, cohort averages, ranking, lesions.

Masks are arrays whose values > 0 belong to the mask. Nothing here knows files, models or settings.
"""

from .averages import (
    Averages,
    PatientCounts,
    averages,
    dice_all_slices,
    dice_lesion_slices,
    dice_patient,
    dice_pooled,
)
from .lesions import Component, LesionAverages, LesionMatch, lesion_averages, match_lesions
from .overlap import Counts, confusion, dice, precision, recall, slice_dice, volume_ml
from .ranking import auroc, average_precision

__all__ = [
    "Averages",
    "Component",
    "Counts",
    "LesionAverages",
    "LesionMatch",
    "PatientCounts",
    "auroc",
    "average_precision",
    "averages",
    "confusion",
    "dice",
    "dice_all_slices",
    "dice_lesion_slices",
    "dice_patient",
    "dice_pooled",
    "lesion_averages",
    "match_lesions",
    "precision",
    "recall",
    "slice_dice",
    "volume_ml",
]
