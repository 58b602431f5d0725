"""Lesion-wise figures: which lesions were found, and which detected components are false.

Policy, for lesions as for detected components:

- A *lesion* is a connected component of the reference, a *detection* one of the detected mask (26-connected in 3-D,
  8-connected in 2-D, by default).
- **Any overlap matches**: a lesion is found if at least one of its voxels is detected; a detection is true if at
  least one of its voxels is lesion.
- Matching is many-to-many: one detection may find several lesions, and one lesion may make several detections true.
- No component is too small to count. Filter the masks first if you want a minimum size.
- Empty cases: without lesions the sensitivity is NaN, without detections the precision is NaN; false positives are
  then just counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .components import Mask, as_voxels
from .overlap import NAN

_RANK = {2: {4: 1, 8: 2}, 3: {6: 1, 18: 2, 26: 3}}  # neighbours -> number of axes in which they may differ


@dataclass(frozen=True)
class Component:
    """A lesion or a detection.

    Attributes:
        id: Number from 1, in the order in which a scan along x, then y, then z first meets the components.
        volume_mm3: Volume in mm³ (area in mm² in 2-D).
        overlap_mm3: Volume shared with the other mask.
        matches: Numbers of the components of the other mask that it overlaps.
    """

    id: int
    volume_mm3: float
    overlap_mm3: float
    matches: tuple[int, ...]

    @property
    def matched(self) -> bool:
        """Whether it overlaps the other mask at all."""
        return bool(self.matches)


@dataclass(frozen=True)
class LesionMatch:
    """Lesions and detections of one patient, matched; the module states the policy.

    Attributes:
        lesions: All lesions of the reference.
        detections: All components of the detected mask.
    """

    lesions: tuple[Component, ...]
    detections: tuple[Component, ...]

    @property
    def found(self) -> tuple[Component, ...]:
        """Lesions that at least one detection overlaps."""
        return tuple(lesion for lesion in self.lesions if lesion.matched)

    @property
    def missed(self) -> tuple[Component, ...]:
        """Lesions that no detection overlaps."""
        return tuple(lesion for lesion in self.lesions if not lesion.matched)

    @property
    def true_detections(self) -> tuple[Component, ...]:
        """Detections that overlap a lesion."""
        return tuple(detection for detection in self.detections if detection.matched)

    @property
    def false_detections(self) -> tuple[Component, ...]:
        """Detections that overlap no lesion."""
        return tuple(detection for detection in self.detections if not detection.matched)

    @property
    def sensitivity(self) -> float:
        """Share of the lesions that were found; NaN without lesions."""
        return len(self.found) / len(self.lesions) if self.lesions else NAN

    @property
    def precision(self) -> float:
        """Share of the detections that are true; NaN without detections."""
        return len(self.true_detections) / len(self.detections) if self.detections else NAN


def lesion_f1(sensitivity: float, precision: float) -> float:
    """Return the lesion-wise F1: the harmonic mean of lesion-wise sensitivity and precision.

    Args:
        sensitivity: Share of the lesions that were found; NaN without lesions.
        precision: Share of the detections that are true; NaN without detections.

    Returns:
        0 if there are lesions or detections and none of them match; NaN if there are neither.
    """
    if math.isnan(sensitivity) and math.isnan(precision):
        return NAN
    total = sensitivity + precision
    return 0.0 if math.isnan(total) or total == 0 else 2 * sensitivity * precision / total


def match_lesions(
    mask: Mask,
    reference: Mask,
    spacing: Sequence[float] | None = None,
    connectivity: int | None = None,
) -> LesionMatch:
    """Match the components of a detected mask with the lesions of a reference.

    Args:
        mask: Detected mask, (Z, Y, X) or (Y, X); values > 0 are in it.
        reference: Lesion mask of the same shape; values > 0 are in it.
        spacing: Size of a voxel in mm, one number per axis; None takes 1 mm.
        connectivity: Neighbours of a voxel: 6, 18 or 26 in 3-D, 4 or 8 in 2-D; None takes the most.

    Raises:
        ValueError: If the shapes differ or are neither (Z, Y, X) nor (Y, X), if the number of spacings differs from
            the number of axes, or if the connectivity is none of these.

    Example:
        >>> match = match_lesions([[1, 0, 0, 0, 1]], [[1, 1, 0, 0, 0]])
        >>> match.sensitivity, len(match.false_detections)
        (1.0, 1)
    """
    detections, lesions = as_voxels(mask, reference)
    detected = detections.mask
    if detected.ndim not in _RANK:
        raise ValueError(f"lesions are matched in 2 or 3 dimensions, not {detected.ndim}")
    if spacing is not None and len(spacing) != detected.ndim:
        raise ValueError(f"masks of {detected.ndim} dimensions need as many spacings, not {len(spacing)}")
    ranks = _RANK[detected.ndim]
    if connectivity is not None and connectivity not in ranks:
        raise ValueError(f"connectivity must be one of {sorted(ranks)}, not {connectivity}")
    rank = ranks[connectivity or max(ranks)]
    voxel = 1.0 if spacing is None else math.prod(float(size) for size in spacing)
    lesion_labels, lesion_count = lesions.labels(rank)
    detection_labels, detection_count = detections.labels(rank)
    _, one, other = np.intersect1d(lesions.places, detections.places, assume_unique=True, return_indices=True)
    width = detection_count + 1
    pairs, shared = np.unique(
        lesion_labels[one].astype(np.int64) * width + detection_labels[other], return_counts=True
    )
    found, by = np.divmod(pairs, width)
    return LesionMatch(
        _components(lesion_labels, lesion_count, found, by, shared, voxel),
        _components(detection_labels, detection_count, by, found, shared, voxel),
    )


def _components(
    labels: NDArray[np.integer[Any]],
    count: int,
    own: NDArray[np.integer[Any]],
    other: NDArray[np.integer[Any]],
    shared: NDArray[np.integer[Any]],
    voxel: float,
) -> tuple[Component, ...]:
    """Describe ``count`` labelled components; ``own[i]`` shares ``shared[i]`` voxels with ``other[i]``."""
    sizes = np.bincount(labels, minlength=count + 1)
    overlaps = np.bincount(own, weights=shared, minlength=count + 1)
    matches: dict[int, list[int]] = {}
    for number, match in zip(own.tolist(), other.tolist(), strict=True):
        matches.setdefault(number, []).append(match)
    return tuple(
        Component(
            id=number,
            volume_mm3=float(sizes[number] * voxel),
            overlap_mm3=float(overlaps[number] * voxel),
            matches=tuple(matches.get(number, ())),
        )
        for number in range(1, count + 1)
    )
