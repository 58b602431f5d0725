"""Agreement of a detected mask with the reference, as the user reads it: figures of a slice and of the volume.

With nothing to compare with (no reference, or no lesion in the slice or volume) a figure is None, shown as "–": neither
0, which would mean a miss, nor 1, which would mean a hit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..metrics import Counts, LesionMatch, confusion, match_lesions
from ..metrics.overlap import as_mask, as_masks, bounding_box


@dataclass(frozen=True)
class Figures:
    """Agreement of a detected mask with a reference.

    Lesions and components are 26-connected in the volume and 8-connected in a slice; any overlap makes a lesion
    found and a component true, as in :func:`~napari_cead.metrics.match_lesions`.

    Attributes:
        dice: Dice; None if there is no lesion to compare with.
        precision: Share of the detected voxels that are lesion; None without a lesion or a detection.
        recall: Share of the lesion voxels that are detected; None without a lesion.
        lesions: Lesions of the reference; None without a reference.
        found: How many of them are detected; None without a lesion.
        false_components: Detected components that touch no lesion; None without a reference.
        volume_ml: Detected volume in mL; for a slice, its area times its thickness.
    """

    dice: float | None
    precision: float | None
    recall: float | None
    lesions: int | None
    found: int | None
    false_components: int | None
    volume_ml: float

    @classmethod
    def of_slice(
        cls, mask: ArrayLike, reference: ArrayLike | None, spacing: Sequence[float] = (1.0, 1.0, 1.0)
    ) -> Self:
        """Return the figures of one slice; fast enough to be called while a slider moves.

        Args:
            mask: Detected mask (Y, X); values > 0 are in it.
            reference: Lesion mask (Y, X), or None.
            spacing: Size of a voxel (z, y, x) in mm.

        Raises:
            ValueError: If the shapes differ.
        """
        if reference is None:
            return cls._unmatched(int(np.count_nonzero(as_mask(mask))), spacing)
        detected, lesion = as_masks(mask, reference)
        # Lesions and components are much smaller than the slice: all that follows stays inside their boxes.
        lesions, found = _touched(lesion, detected)
        components, true = _touched(detected, lesion)
        return cls._of(confusion(detected, lesion), lesions, found, components - true, spacing)

    @classmethod
    def of_volume(
        cls,
        mask: ArrayLike,
        reference: ArrayLike | None,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        *,
        counts: Counts | None = None,
        match: LesionMatch | None = None,
    ) -> Self:
        """Return the figures of a volume. Matching takes about a tenth of a second: call it in a thread.

        Args:
            mask: Detected mask (Z, Y, X); values > 0 are in it.
            reference: Lesion mask (Z, Y, X), or None.
            spacing: Size of a voxel (z, y, x) in mm.
            counts: Voxel counts of the two masks, if already known.
            match: Matched lesions of the two masks, if already known.

        Raises:
            ValueError: If the shapes differ.
        """
        if reference is None:
            return cls._unmatched(int(np.count_nonzero(as_mask(mask))), spacing)
        counts = confusion(mask, reference) if counts is None else counts
        match = match_lesions(mask, reference, spacing) if match is None else match
        lesions, found = len(match.lesions), len(match.found)
        return cls._of(counts, lesions, found, len(match.false_detections), spacing)

    @classmethod
    def _unmatched(cls, voxels: int, spacing: Sequence[float]) -> Self:
        return cls(None, None, None, None, None, None, voxels * _voxel_ml(spacing))

    @classmethod
    def _of(cls, counts: Counts, lesions: int, found: int, false: int, spacing: Sequence[float]) -> Self:
        there = counts.lesion > 0
        return cls(
            dice=counts.dice() if there else None,
            precision=counts.precision() if there and counts.detected else None,
            recall=counts.recall() if there else None,
            lesions=lesions,
            found=found if there else None,
            false_components=false,
            volume_ml=counts.detected * _voxel_ml(spacing),
        )


def _voxel_ml(spacing: Sequence[float]) -> float:
    return math.prod(float(size) for size in spacing) / 1000.0


def _touched(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the number of 8-connected components of a mask (Y, X), and how many of them touch the other mask."""
    box = bounding_box(mask)
    if not box[0].stop:
        return 0, 0
    count, labels = cv2.connectedComponents(
        np.ascontiguousarray(mask[box]).view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    hit = np.zeros(count, dtype=np.bool_)
    hit[labels[other[box]]] = True
    hit[0] = False
    return count - 1, int(np.count_nonzero(hit))
