"""Masks of a slice inside a box, and their components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

_MAX_OUTLINES = 256  # more contours than this cost more, as Python objects, than an image of labels


@dataclass(frozen=True, eq=False)
class Patch:
    """A mask (h, w) whose first pixel lies at (row, column) of its slice; all the rest of the slice is empty."""

    row: int
    column: int
    mask: NDArray[np.bool_]

    def paint(self, target: NDArray[np.bool_]) -> None:
        """Put it into a slice (Y, X) that is empty."""
        height, width = self.mask.shape
        target[self.row : self.row + height, self.column : self.column + width] = self.mask

    def within(self, brain: NDArray[np.bool_]) -> Patch:
        """Return what of it lies inside the brain (Y, X) of its slice."""
        height, width = self.mask.shape
        here = brain[self.row : self.row + height, self.column : self.column + width]
        return Patch(self.row, self.column, self.mask & here)


EMPTY = Patch(0, 0, np.zeros((0, 0), dtype=np.bool_))


class Components(Protocol):
    """The filled components of a slice, the largest first."""

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each component, descending."""
        ...

    def largest(self, count: int) -> Patch:
        """Return the union of the ``count`` largest."""
        ...


@dataclass(frozen=True, eq=False)
class _Outlines:
    """Components as their outer contours: the cheaper form as long as there are few."""

    areas: NDArray[np.int64]
    contours: tuple[NDArray[np.int32], ...]

    def largest(self, count: int) -> Patch:
        if count == 0:
            return EMPTY
        kept = self.contours[:count]
        boxes = np.array([cv2.boundingRect(contour) for contour in kept])
        left, top = (int(start) for start in boxes[:, :2].min(axis=0))
        right, bottom = (int(end) for end in (boxes[:, :2] + boxes[:, 2:]).max(axis=0))
        canvas = np.zeros((bottom - top, right - left), dtype=np.uint8)
        cv2.drawContours(canvas, kept, -1, 1, cv2.FILLED, offset=(-left, -top))
        return Patch(top, left, canvas.view(np.bool_))


@dataclass(frozen=True, eq=False)
class _Labels:
    """Components as an image of labels (h, w), 0 for the background, at (row, column) of the slice."""

    areas: NDArray[np.int64]
    order: NDArray[np.intp]
    labels: NDArray[np.integer[Any]]
    row: int
    column: int

    def largest(self, count: int) -> Patch:
        if count == 0:
            return EMPTY
        keep = np.zeros(len(self.order) + 1, dtype=np.uint8)
        keep[self.order[:count]] = 1
        mask = keep.take(self.labels)
        return cut_out(mask.view(np.bool_), self.row, self.column)


def cut_out(mask: NDArray[np.bool_], row: int = 0, column: int = 0) -> Patch:
    """Return a mask that lies at (row, column) of its slice, cut to the box of its true pixels, as a copy."""
    top, bottom, left, right = bounding_box(mask)
    return Patch(row + top, column + left, mask[top:bottom, left:right].copy())


def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of the true pixels (ends excluded), all 0 if there is none."""
    # Not cv2.boundingRect: OpenCV 4.9 gets masks of a few columns wrong.
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return 0, 0, 0, 0
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return top, bottom, int(columns[0]), int(columns[-1]) + 1


def closed_and_filled(patch: Patch, closing_radius: int) -> Components:
    """Close a mask, fill its holes, and take it apart into its 8-connected components."""
    if patch.mask.size == 0:
        return _Outlines(np.zeros(0, dtype=np.int64), ())
    margin = max(closing_radius, 1)  # room for the dilation inside the closing, and a frame of background
    box = patch.mask.view(np.uint8)
    image = cv2.copyMakeBorder(box, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    if closing_radius:
        # The border value must be given: by default an erosion takes what lies outside for foreground.
        image = cv2.morphologyEx(
            image,
            cv2.MORPH_CLOSE,
            disk(closing_radius),
            borderType=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
    # Outer contours are 8-connected foreground against 4-connected background: just the holes to be filled
    # lie inside them, and each is one component of the filled image.
    contours, _ = cv2.findContours(
        image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(patch.column - margin, patch.row - margin)
    )
    # Eight bytes a point: not to take more memory than 16-bit labels would.
    if len(contours) <= _MAX_OUTLINES and 4 * sum(map(len, contours)) <= image.size:
        return _outlines(contours)
    return _labels(image, margin, patch.row, patch.column)


def areas_of(contours: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Return the number of pixels on or inside each outer contour."""
    # Pick's theorem for a closed walk of n steps over lattice points: area + n / 2 + 1 points on it or inside.
    points = [
        cv2.contourArea(contour) + len(contour) / 2 + 1 if len(contour) > 1 else 1 for contour in contours
    ]
    return np.rint(points).astype(np.int64)


def _outlines(contours: Sequence[NDArray[np.int32]]) -> _Outlines:
    areas = areas_of(contours)
    order = np.argsort(-areas, kind="stable")
    return _Outlines(areas[order], tuple(contours[index] for index in order))


def _labels(image: NDArray[np.uint8], margin: int, row: int, column: int) -> _Labels:
    """Fill and label a closed image that has a margin of background; ``image`` is overwritten."""
    cv2.floodFill(image, None, (0, 0), 2, flags=4)
    filled = (image[margin:-margin, margin:-margin] != 2).view(np.uint8)
    height, width = filled.shape
    # No 2x2 block can touch two components, which bounds the labels; 16 bits take half the time.
    few = ((height + 1) // 2) * ((width + 1) // 2) < np.iinfo(np.uint16).max
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        filled, connectivity=8, ltype=cv2.CV_16U if few else cv2.CV_32S
    )
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.int64)
    order = np.argsort(-areas, kind="stable")
    return _Labels(areas[order], order + 1, labels, row, column)


@lru_cache(maxsize=64)
def disk(radius: int) -> NDArray[np.uint8]:
    """Return the digital disk, pixels at most ``radius`` from the centre (OpenCV's ellipse is another shape)."""
    offsets = np.arange(-radius, radius + 1)
    found = (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2).astype(np.uint8)
    found.flags.writeable = False
    return found
