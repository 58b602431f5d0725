"""Size and overlap of the masks of one map under many settings: a search needs these, and never the masks themselves.

The masks are those of :func:`~napari_cead.detection.postprocess`, voxel for voxel. What makes it fast:

- All slices lie below each other in one tall image, far enough apart that they do not touch: one call does them all.
- The map becomes the number of thresholds that each voxel exceeds. A closing of these small numbers is the closing of
  every mask at once, because a closing with a disk and a threshold can change places.
- An outline gives the area of its component, so that only components that stay are ever drawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .params import PostprocessParams
from .postprocessing import StagedPostprocessor
from .steps import chain
from .steps._patch import disk

_PLAIN = PostprocessParams()

_SHIFT = 15
"""Binary digits of a float32 that are left out where values are looked up."""

_KEYS = 1 << (31 - _SHIFT)
"""Number of leading digits that positive values can have."""


def overlaps(
    anomaly_map: NDArray[np.float32],
    reference: NDArray[np.bool_],
    brain: NDArray[np.bool_],
    grid: Sequence[PostprocessParams],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> NDArray[np.int64]:
    """Count the voxels of the mask, and of mask and reference together, with each of many settings.

    Args:
        anomaly_map: (Z, Y, X) float32; voxels of 0 and below, and NaN, are never detected.
        reference: (Z, Y, X) bool lesion mask.
        brain: (Z, Y, X) bool.
        grid: The settings.
        spacing: Size of a voxel (z, y, x) in mm.

    Returns:
        (n, 2): for each of the settings, the voxels of its mask, and those of them in the reference.
    """
    counts = np.zeros((len(grid), 2), np.int64)
    together: dict[int, dict[PostprocessParams, list[int]]] = defaultdict(lambda: defaultdict(list))
    alone: list[int] = []
    for index, params in enumerate(grid):
        # Steps of other packages take one slice at a time.
        if chain(params) is chain(_PLAIN):
            together[params.closing_radius][params].append(index)
        else:
            alone.append(index)
    if together:
        tall = _Tall(
            anomaly_map, reference, brain, [grid[index] for index in set(range(len(grid))) - {*alone}]
        )
        for radius, same in together.items():
            for params, found in tall.counted(radius, list(same), float(spacing[-2]) * float(spacing[-1])):
                counts[same[params]] = found
    if alone:
        stages = StagedPostprocessor(anomaly_map, spacing, brain, workers=1)
        for index in sorted(alone, key=lambda one: (grid[one].threshold, grid[one].closing_radius)):
            mask = stages.volume(grid[index])
            counts[index] = np.count_nonzero(mask), np.count_nonzero(mask & reference)
    return counts


class _Tall:
    """The slices of a map below each other, with room around each for closings and dilations."""

    def __init__(
        self,
        anomaly_map: NDArray[np.float32],
        reference: NDArray[np.bool_],
        brain: NDArray[np.bool_],
        grid: Sequence[PostprocessParams],
    ) -> None:
        self.thresholds = np.unique(np.array([params.threshold for params in grid], np.float32))
        self._room = max(1, *(max(params.closing_radius, params.dilation_radius) for params in grid))
        levels = _levels_of(anomaly_map, self.thresholds)
        # The brightest slice first: those with anything above a threshold are the beginning of the tall image.
        highest = np.array([pixels.max(initial=0) for pixels in levels])
        shown = np.argsort(-highest.astype(np.int64), kind="stable")
        shown = shown[highest[shown] > 0]
        self._levels_in = highest[shown]
        self._levels, frame = self._below(levels[shown]), np.ones((len(shown), *levels.shape[1:]), np.uint8)
        self._allowed = {True: self._below(brain[shown].view(np.uint8)), False: self._below(frame)}
        self._lesion = np.flatnonzero(self._below(reference[shown].view(np.uint8)))
        self._canvas = np.zeros(self._levels.shape, np.uint8)
        self._height = levels.shape[1] + 2 * self._room + 1

    def _below(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Return the slices of a volume as one tall image."""
        room = self._room
        # One row more between two slices than twice the radius: their closings would meet in between.
        padded = np.pad(volume, ((0, 0), (room, room + 1), (room, room)))
        return padded.reshape(-1, padded.shape[2])

    def counted(self, radius: int, grid: Sequence[PostprocessParams], pixel_area: float) -> Any:
        """Yield settings of one closing radius, each with the voxels of its mask and of mask and reference."""
        closed = self._levels
        if radius and closed.size:
            closed = cv2.morphologyEx(
                closed, cv2.MORPH_CLOSE, disk(radius), borderType=cv2.BORDER_CONSTANT, borderValue=0
            )
        by_level: dict[int, list[PostprocessParams]] = defaultdict(list)
        for params in grid:
            by_level[int(np.searchsorted(self.thresholds, np.float32(params.threshold)))].append(params)
        for level, own in by_level.items():
            slices = int(np.count_nonzero(self._levels_in > level))
            if slices:
                above = (closed[: slices * self._height] > level).view(np.uint8)
                yield from self._at(above, slices, own, pixel_area)

    def _at(
        self, above: NDArray[np.uint8], slices: int, grid: Sequence[PostprocessParams], pixel_area: float
    ) -> Any:
        # Outer contours enclose the filled components, see `steps._patch`; corners alone make shorter ones.
        contours, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if not contours:
            yield from ((params, (0, 0)) for params in grid)
            return
        areas, place = self._areas(contours)
        largest = np.zeros(slices, np.int64)
        np.maximum.at(largest, place, areas)
        canvas, drawn = self._canvas[: len(above)], None
        known: dict[Any, tuple[int, int]] = {}
        # The fewest components first: the next settings only add some.
        for params in sorted(grid, key=lambda one: (one.area_fraction, one.min_area_mm2), reverse=True):
            kept = (areas >= params.area_fraction * largest[place]) & (
                areas * pixel_area >= params.min_area_mm2
            )
            key = kept.tobytes(), params.dilation_radius, params.inside_brain
            if key not in known:
                if drawn is None or (drawn & ~kept).any():
                    canvas[:] = 0
                    drawn = np.zeros_like(kept)
                more = np.flatnonzero(kept & ~drawn).tolist()
                cv2.drawContours(canvas, [contours[index] for index in more], -1, 1, cv2.FILLED)
                drawn = kept
                known[key] = self._counts(canvas, params)
            yield params, known[key]

    def _areas(self, contours: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Return the pixels on or inside of outer contours, given by their corners, and their slices."""
        corners = np.fromiter(map(len, contours), np.int64, len(contours))
        last = np.cumsum(corners) - 1
        first = last - corners + 1
        x, y = np.ascontiguousarray(np.concatenate(contours)[:, 0].T)
        right, down = np.empty_like(x), np.empty_like(y)
        for axis, step in ((x, right), (y, down)):
            np.subtract(axis[1:], axis[:-1], out=step[:-1])
            step[last] = axis[first] - axis[last]
        # Pick's theorem as in `steps._patch.areas_of`: twice the area, and the steps along the contour.
        twice = np.add.reduceat((2 * x + right) * down, first, dtype=np.int64)
        steps = np.add.reduceat(np.maximum(np.abs(right), np.abs(down)), first, dtype=np.int64)
        return (np.abs(twice) + np.maximum(steps, 1)) // 2 + 1, y[first] // self._height

    def _counts(self, mask: NDArray[np.uint8], params: PostprocessParams) -> tuple[int, int]:
        if params.dilation_radius:
            mask = cv2.dilate(mask, disk(params.dilation_radius))
        mask = cv2.bitwise_and(mask, self._allowed[params.inside_brain][: len(mask)])
        lesion = self._lesion[: np.searchsorted(self._lesion, mask.size)]
        return cv2.countNonZero(mask), int(np.count_nonzero(mask.reshape(-1)[lesion]))


def _levels_of(volume: NDArray[np.float32], thresholds: NDArray[np.float32]) -> NDArray[Any]:
    """Return how many of the thresholds, ascending and at least 0, each voxel exceeds; NaN exceeds none."""
    kind = np.uint8 if len(thresholds) < np.iinfo(np.uint8).max else np.uint16
    levels = np.zeros(volume.shape, kind)
    above = volume > thresholds[0]
    values = volume[above]
    # To look a value up by its leading digits takes a fifth of a search among the thresholds. Only where a threshold
    # has the same leading digits it has to be compared: most often with that one.
    keys = (values.view(np.uint32) >> _SHIFT).astype(np.intp)
    ends = (thresholds.view(np.uint32) >> _SHIFT).astype(np.intp)
    table = np.repeat(
        np.arange(len(thresholds) + 1, dtype=kind), np.diff(ends, prepend=0, append=_KEYS)
    )
    unclear = np.iinfo(kind).max
    table[ends] = unclear
    found = table[keys]
    where = np.flatnonzero(found == unclear)
    found[where] = np.searchsorted(thresholds, values[where])
    levels[above] = found
    return levels
