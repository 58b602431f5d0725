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
from .steps._patch import areas_of, disk

_PLAIN = PostprocessParams()


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
        # The brightest slice first: those with anything above a threshold are the beginning of the tall image.
        highest = np.array([np.fmax.reduce(pixels, axis=None, initial=0) for pixels in anomaly_map])
        shown = np.argsort(-highest, kind="stable")
        shown = shown[highest[shown] > self.thresholds[0]]
        self._levels_in = np.searchsorted(self.thresholds, highest[shown])
        values = anomaly_map[shown]
        above = values > self.thresholds[0]
        levels = np.zeros(values.shape, np.uint8 if len(self.thresholds) < 256 else np.uint16)
        levels[above] = np.searchsorted(self.thresholds, values[above])
        self._levels, frame = self._below(levels), np.ones(values.shape, np.uint8)
        self._allowed = {True: self._below(brain[shown].view(np.uint8)), False: self._below(frame)}
        self._lesion = np.flatnonzero(self._below(reference[shown].view(np.uint8)))
        self._canvas = np.zeros(self._levels.shape, np.uint8)
        self._height = values.shape[1] + 2 * self._room + 1

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
        # Outer contours enclose the filled components, see `steps._patch`.
        contours, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        steps = np.fromiter(map(len, contours), np.int64, len(contours))
        place = np.fromiter((contour[0, 0, 1] for contour in contours), np.int64, len(contours))
        place //= self._height
        # The longest outline of a slice has at least the area of its own, which most components are far from: n steps
        # enclose at most n² / 8 + n / 2 + 1 pixels, those of a diamond. Their areas need not be known.
        longest = np.zeros(slices, np.int64)
        order = np.argsort(steps, kind="stable")
        longest[place[order]] = order
        enough = areas_of([contours[index] for index in longest.tolist()]) * min(
            params.area_fraction for params in grid
        )
        some = np.flatnonzero(steps**2 / 8 + steps / 2 + 1 >= enough[place])
        contours, place = [contours[index] for index in some.tolist()], place[some]
        areas = areas_of(contours)
        largest = np.zeros(slices, np.int64)
        np.maximum.at(largest, place, areas)
        known: dict[Any, tuple[int, int]] = {}
        for params in grid:
            dropped = (areas < params.area_fraction * largest[place]) | (
                areas * pixel_area < params.min_area_mm2
            )
            kept = np.flatnonzero(~dropped)
            key = kept.tobytes(), params.dilation_radius, params.inside_brain
            if key not in known:
                known[key] = self._drawn([contours[index] for index in kept.tolist()], params, len(above))
            yield params, known[key]

    def _drawn(self, kept: Sequence[Any], params: PostprocessParams, rows: int) -> tuple[int, int]:
        mask, allowed = self._canvas[:rows], self._allowed[params.inside_brain][:rows]
        mask[:] = 0
        cv2.drawContours(mask, kept, -1, 1, cv2.FILLED)
        if params.dilation_radius:
            mask = cv2.dilate(mask, disk(params.dilation_radius))
        mask = cv2.bitwise_and(mask, allowed, dst=mask)
        lesion = self._lesion[: np.searchsorted(self._lesion, mask.size)]
        return cv2.countNonZero(mask), int(np.count_nonzero(mask.reshape(-1)[lesion]))
