"""The lesion list: every lesion of the reference and every detected component, with a voxel to navigate to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ..metrics import LesionMatch, match_lesions
from ..metrics.overlap import as_mask

Position = tuple[int, int, int]
"""(z, y, x) of a voxel."""


@dataclass(frozen=True)
class LesionRow:
    """A lesion of the reference.

    Attributes:
        id: Its number; it stays the same as long as the reference does.
        volume_mm3: Volume in mm³.
        found: Whether the detected mask touches it.
        overlap_mm3: Detected volume of it in mm³.
        position: A voxel of it (z, y, x), near its middle on the slice where it is largest.
    """

    id: int
    volume_mm3: float
    found: bool
    overlap_mm3: float
    position: Position

    @property
    def overlap_percent(self) -> float:
        """Share of the lesion that is detected, in %."""
        return 100.0 * self.overlap_mm3 / self.volume_mm3


@dataclass(frozen=True)
class DetectionRow:
    """A component of the detected mask.

    Attributes:
        id: Its number in this mask; numbers change with the mask.
        volume_mm3: Volume in mm³.
        mean_score: Mean of the anomaly map over its voxels.
        true: Whether it touches a lesion; None without a reference.
        position: A voxel of it (z, y, x), near its middle on the slice where it is largest.
    """

    id: int
    volume_mm3: float
    mean_score: float
    true: bool | None
    position: Position


@dataclass(frozen=True)
class LesionTable:
    """Lesions and detected components of a volume, largest first. Components are 26-connected.

    Attributes:
        reference: Lesions of the reference; None without one.
        detected: Components of the detected mask.
        match: Their matching; None without a reference.
    """

    reference: tuple[LesionRow, ...] | None
    detected: tuple[DetectionRow, ...]
    match: LesionMatch | None = field(repr=False)

    @classmethod
    def of(
        cls,
        mask: ArrayLike,
        reference: ArrayLike | None,
        anomaly_map: ArrayLike,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> Self:
        """List the lesions and components of a volume. Takes a fraction of a second: call it in a thread.

        Args:
            mask: Detected mask (Z, Y, X); values > 0 are in it.
            reference: Lesion mask (Z, Y, X), or None.
            anomaly_map: (Z, Y, X), real numbers.
            spacing: Size of a voxel (z, y, x) in mm.

        Raises:
            ValueError: If the shapes differ or are not (Z, Y, X).
        """
        detected, scores = as_mask(mask), np.asarray(anomaly_map)
        if detected.ndim != 3 or scores.shape != detected.shape:
            raise ValueError(f"mask {detected.shape} and map {scores.shape} must have one shape (Z, Y, X)")
        voxel = math.prod(float(size) for size in spacing)
        components = _Components.of(detected)
        if reference is None:
            match, lesions, true = None, None, None
        else:
            lesion = as_mask(reference)
            match = match_lesions(detected, lesion, spacing)
            # Both number components in scanning order.
            places = _Components.of(lesion).positions()
            lesions = tuple(
                LesionRow(row.id, row.volume_mm3, row.matched, row.overlap_mm3, place)
                for row, place in zip(match.lesions, places, strict=True)
            )
            true = [row.matched for row in match.detections]
        places, means = components.positions(), components.means(scores)
        rows = tuple(
            DetectionRow(
                id=number + 1,
                volume_mm3=float(size * voxel),
                mean_score=float(means[number]),
                true=None if true is None else true[number],
                position=places[number],
            )
            for number, size in enumerate(components.sizes)
        )
        return cls(
            None if lesions is None else tuple(sorted(lesions, key=_largest_first)),
            tuple(sorted(rows, key=_largest_first)),
            match,
        )


def _largest_first(row: LesionRow | DetectionRow) -> tuple[float, int]:
    return -row.volume_mm3, row.id


@dataclass(frozen=True, eq=False)
class _Components:
    """The voxels of a mask's 26-connected components.

    Attributes:
        where: z, y and x of all voxels, (n,) each, in scanning order.
        label: Number of each voxel's component (n,), from 0.
        count: Number of components.
    """

    where: tuple[NDArray[np.intp], ...]
    label: NDArray[np.intp]
    count: int

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Self:
        box = ndimage.find_objects(mask.view(np.uint8), max_label=1)[0]
        if box is None:
            none = np.zeros(0, dtype=np.intp)
            return cls((none, none, none), none, 0)
        inside = mask[box]
        labels, count = ndimage.label(inside, ndimage.generate_binary_structure(3, 3))
        where = np.nonzero(inside)
        label = labels[where].astype(np.intp) - 1
        return cls(tuple(axis + side.start for axis, side in zip(where, box, strict=True)), label, int(count))

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Voxels of each component."""
        return np.bincount(self.label, minlength=self.count)

    def means(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the mean of ``values`` (Z, Y, X) over each component."""
        return np.bincount(self.label, weights=values[self.where], minlength=self.count) / self.sizes

    def positions(self) -> list[Position]:
        """Return, for each component, the voxel nearest to its centre on the slice where it is largest."""
        if self.count == 0:
            return []
        z, y, x = self.where
        depth = int(z.max()) + 1
        areas = np.bincount(self.label * depth + z, minlength=self.count * depth).reshape(self.count, depth)
        largest = areas.argmax(axis=1)
        there = np.flatnonzero(z == largest[self.label])
        label, y, x = self.label[there], y[there], x[there]
        area = np.bincount(label, minlength=self.count)
        middle_y = np.bincount(label, weights=y, minlength=self.count) / area
        middle_x = np.bincount(label, weights=x, minlength=self.count) / area
        # The centre itself may lie outside, in the hole of a ring or the bay of a crescent.
        distance = (y - middle_y[label]) ** 2 + (x - middle_x[label]) ** 2
        order = np.lexsort((distance, label))
        first = order[np.searchsorted(label[order], np.arange(self.count))]
        return [
            (int(plane), int(row), int(column))
            for plane, row, column in zip(largest, y[first], x[first], strict=True)
        ]
