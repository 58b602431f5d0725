"""Lesion-wise Dice and HD95 as in the metastases task of BraTS 2023 (Moawad et al., arXiv:2306.00838).

Policy, that of the challenge's published code for ``BraTS-MET``:

- *Lesions* are the 26-connected components of the reference; those that meet when each grows by one voxel (in its 18
  neighbours) are one.
- A detection belongs to a lesion if it overlaps the lesion grown by one voxel. Dice and HD95 of a lesion compare it
  with all detections that belong to it; a detection may belong to several lesions.
- A lesion without a detection has Dice 0 and HD95 374 mm, and so has every detection that belongs to no lesion.
- Lesions of at most 2 mm³ do not count, but a detection that belongs to one is not false.
- The score of a patient is the mean over lesions and false detections; NaN if there are neither (the challenge gives
  1 and 0 then).

HD95 is :func:`~napari_cead.metrics.hd95`, the challenge's weights surfaces by their area.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from .overlap import NAN, as_masks, bounding_box, dice
from .surface import hd95

SMALLEST_MM3 = 2.0
"""Lesions of this volume or less do not count."""

PENALTY_MM = 374.0
"""HD95 of a missed lesion and of a false detection."""


@dataclass(frozen=True)
class LesionWise:
    """The lesion-wise scores of one patient.

    Attributes:
        dice: Mean Dice over lesions and false detections.
        hd95: Mean HD95 in mm over the same.
        lesions: Lesions that count.
        missed: Those of them without a detection.
        false_detections: Detections that belong to no lesion.
    """

    dice: float = NAN
    hd95: float = NAN
    lesions: int = 0
    missed: int = 0
    false_detections: int = 0


def lesionwise(mask: ArrayLike, reference: ArrayLike, spacing: Sequence[float]) -> LesionWise:
    """Return the lesion-wise scores of one patient.

    Args:
        mask: Detected mask (Z, Y, X); values > 0 are in it.
        reference: Lesion mask of the same shape; values > 0 are in it.
        spacing: Size of a voxel (z, y, x) in mm.

    Raises:
        ValueError: If the shapes differ or are not (Z, Y, X), or the number of spacings differs.
    """
    detected, lesion = as_masks(mask, reference)
    if detected.ndim != 3 or len(spacing) != 3:
        raise ValueError(f"lesion-wise scores take masks (Z, Y, X) and 3 spacings, not {detected.shape}")
    one_slice, box = len(detected) == 1, bounding_box(detected | lesion)
    detected, lesion = np.pad(detected[box], 1), np.pad(lesion[box], 1)
    everywhere, grown = np.ones((3, 3, 3)), ndimage.generate_binary_structure(3, 2)
    detections, count = ndimage.label(detected, everywhere)
    extents = ndimage.find_objects(detections)
    around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in bounding_box(lesion))
    groups = np.zeros(lesion.shape, np.int32)
    groups[around], _ = ndimage.label(ndimage.binary_dilation(lesion[around], grown), everywhere)
    belongs = np.zeros(count + 1, np.bool_)
    scores: list[tuple[float, float]] = []
    missed = 0
    for index, place in enumerate(ndimage.find_objects(groups), start=1):
        own = lesion[place] & (groups[place] == index)
        near = np.unique(detections[place][ndimage.binary_dilation(own, grown)])
        near = near[near > 0]
        belongs[near] = True
        if np.count_nonzero(own) * math.prod(spacing) <= SMALLEST_MM3:
            continue
        if not near.size:
            missed += 1
            scores.append((0.0, PENALTY_MM))
            continue
        # The smallest box with the lesion and its detections: their surfaces are the same as in the whole scan.
        sides = zip(place, *(extents[number - 1] for number in near), strict=True)
        hull = tuple(slice(min(one.start for one in side), max(one.stop for one in side)) for side in sides)
        hull = (slice(1, 2), *hull[1:]) if one_slice else hull  # measured in the plane, without the padding
        whole, found = lesion[hull] & (groups[hull] == index), np.isin(detections[hull], near)
        scores.append((dice(found, whole), hd95(found, whole, spacing)))
    false = count - int(np.count_nonzero(belongs))
    lesions = len(scores)
    scores += [(0.0, PENALTY_MM)] * false
    means = np.mean(scores, axis=0) if scores else (NAN, NAN)
    return LesionWise(float(means[0]), float(means[1]), lesions, missed, false)
