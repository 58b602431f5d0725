"""The figures of one patient under one model, score and rule, with its lesions one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import PatientCounts
from .overlap import NAN


@dataclass(frozen=True)
class LesionRecord:
    """One lesion of the reference.

    Attributes:
        diameter_mm: Diameter of the ball of its volume, or of the disk of its area if the patient has one slice.
        volume_mm3: Its volume.
        overlap_mm3: The volume that was detected.
        found: Whether at least one of its voxels was detected.
    """

    diameter_mm: float
    volume_mm3: float
    overlap_mm3: float
    found: bool


@dataclass(frozen=True, eq=False)
class PatientFigures:
    """One patient under one model, score and rule.

    Attributes:
        name: Name of the patient.
        counts: True positive, false positive and false negative voxels, slice by slice.
        reference_ml: Volume of the lesion mask in mL.
        detected_ml: Volume of the detected mask in mL.
        lesions: Lesions (26-connected components of the lesion mask).
        lesions_found: Lesions with at least one detected voxel.
        detections: Components of the detected mask.
        false_detections: Components of the detected mask without a lesion voxel.
        lesion_records: The lesions one by one.
        hd95: 95th percentile Hausdorff distance in mm; NaN if either mask is empty.
        lesionwise_dice: Lesion-wise Dice, see `metrics.lesionwise`.
        lesionwise_hd95: Lesion-wise HD95 in mm.
        trained_on: Whether the model was trained on this scan; None if its card does not say.
    """

    name: str
    counts: PatientCounts = field(repr=False)
    reference_ml: float
    detected_ml: float
    lesions: int
    lesions_found: int
    detections: int
    false_detections: int
    lesion_records: tuple[LesionRecord, ...] = field(default=(), repr=False)
    hd95: float = NAN
    lesionwise_dice: float = NAN
    lesionwise_hd95: float = NAN
    trained_on: bool | None = None

    def as_dict(self) -> dict[str, str | float | int | bool | None]:
        """Return the figures of the volume by name, without the lesions; Dice is NaN if both masks are empty."""
        total = self.counts.total
        return {
            "patient": self.name,
            "dice": total.dice(),
            "precision": total.precision(),
            "recall": total.recall(),
            "tp": total.tp,
            "fp": total.fp,
            "fn": total.fn,
            "lesion_slices": int((self.counts.tp + self.counts.fn > 0).sum()),
            "brain_slices": int(self.counts.brain.sum()),
            "reference_ml": self.reference_ml,
            "detected_ml": self.detected_ml,
            "lesions": self.lesions,
            "lesions_found": self.lesions_found,
            "detections": self.detections,
            "false_detections": self.false_detections,
            "hd95": self.hd95,
            "trained_on": self.trained_on,
            "lesionwise_dice": self.lesionwise_dice,
            "lesionwise_hd95": self.lesionwise_hd95,
        }
