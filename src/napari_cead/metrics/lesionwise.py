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
from scipy import ndimage

from .components import Mask, Voxels, as_voxels
from .overlap import NAN, Counts
from .surface import surface_distance

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


def lesionwise(mask: Mask, reference: Mask, spacing: Sequence[float]) -> LesionWise:
    """Return the lesion-wise scores of one patient.

    Args:
        mask: Detected mask (Z, Y, X); values > 0 are in it.
        reference: Lesion mask of the same shape; values > 0 are in it.
        spacing: Size of a voxel (z, y, x) in mm.

    Raises:
        ValueError: If the shapes differ or are not (Z, Y, X), or the number of spacings differs.
    """
    detections, lesions = as_voxels(mask, reference)
    shape = detections.mask.shape
    if len(shape) != 3 or len(spacing) != 3:
        raise ValueError(f"lesion-wise scores take masks (Z, Y, X) and 3 spacings, not {shape}")
    # Places in an array with a voxel of room on all sides, so that what is around them is in it.
    room = tuple(side + 2 for side in shape)
    found_at, lesion_at = (
        np.ravel_multi_index([axis + 1 for axis in voxels.axes], room) for voxels in (detections, lesions)
    )
    offsets = np.argwhere(ndimage.generate_binary_structure(3, 2)) - 1
    around = offsets @ [room[1] * room[2], room[2], 1]
    labels, count = detections.labels(3)
    detection_at = np.zeros(math.prod(room), np.int32)
    detection_at[found_at] = labels
    sizes = np.bincount(labels, minlength=count + 1)
    grown = np.zeros(room, np.bool_)
    grown.flat[lesion_at[:, None] + around] = True
    grown_voxels = Voxels(grown)
    group_at = np.zeros(grown.size, np.int32)
    group_at[grown_voxels.places], groups = grown_voxels.labels(3)
    group, surface = group_at[lesion_at], detections.points[detections.on_surface]
    belongs = np.zeros(count + 1, np.bool_)
    scores: list[tuple[float, float]] = []
    missed = 0
    for index in range(1, groups + 1):
        own = lesion_at[group == index]
        near = np.unique(detection_at[own[:, None] + around])
        near = near[near > 0]
        belongs[near] = True
        if len(own) * math.prod(spacing) <= SMALLEST_MM3:
            continue
        if not near.size:
            missed += 1
            scores.append((0.0, PENALTY_MM))
            continue
        tp, found = int(np.count_nonzero(detection_at[own])), int(sizes[near].sum())
        # No two components share a face: the surface of some of them is their part of the whole surface.
        wanted = np.zeros(count + 1, np.bool_)
        wanted[near] = True
        one = surface[wanted[labels[detections.on_surface]]]
        other = lesions.points[(group == index) & lesions.on_surface]
        dice = Counts(tp, found - tp, len(own) - tp).dice()
        scores.append((dice, surface_distance(one, other, spacing)))
    false = count - int(np.count_nonzero(belongs))
    number = len(scores)
    scores += [(0.0, PENALTY_MM)] * false
    means = np.mean(scores, axis=0) if scores else (NAN, NAN)
    return LesionWise(float(means[0]), float(means[1]), number, missed, false)
