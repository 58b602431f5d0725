"""Agreement of a detected mask with a reference, and of a reconstruction with its image.

Overlap, cohort averages with their intervals, ranking, lesions, surface distance, image quality. Masks are arrays
whose values > 0 belong to the mask. Nothing here knows files, models or settings.
"""

from .averages import (
    Averages,
    Mixture,
    PatientCounts,
    averages,
    mixture,
)
from .froc import FALSE_POSITIVES, Candidates, candidates, froc
from .image_quality import ImageQuality
from .intervals import INTERVALS, Interval, bootstrap, bootstrap_difference, bootstrap_ratio, bootstrap_seeds
from .lesions import Component, LesionMatch, lesion_f1, match_lesions
from .lesionwise import LesionWise, lesionwise
from .overlap import Counts, confusion, dice, precision, recall, slice_dice, volume_ml
from .ranking import aupro, auroc, average_precision
from .surface import hd95

__all__ = [
    "FALSE_POSITIVES",
    "INTERVALS",
    "Averages",
    "Candidates",
    "Component",
    "Counts",
    "ImageQuality",
    "Interval",
    "LesionMatch",
    "LesionWise",
    "Mixture",
    "PatientCounts",
    "aupro",
    "auroc",
    "average_precision",
    "averages",
    "bootstrap",
    "bootstrap_difference",
    "bootstrap_ratio",
    "bootstrap_seeds",
    "candidates",
    "confusion",
    "dice",
    "froc",
    "hd95",
    "lesion_f1",
    "lesionwise",
    "match_lesions",
    "mixture",
    "precision",
    "recall",
    "slice_dice",
    "volume_ml",
]
