"""The masks of one map under many settings, or their size and overlap alone, which is all that a search needs.

The masks are those of :func:`~napari_cead.detection.postprocess`, voxel for voxel. What makes it fast:

- All slices lie below each other in one tall image, far enough apart that they do not touch: one call does them all.
- The map becomes the number of thresholds that each voxel exceeds. A closing of these small numbers is the closing of
  every mask at once, because a closing with a disk and a threshold can change places.
- An outline gives the area of its component, so that only components that stay are ever drawn.
- Thresholds go down, so that components only grow: the largest of a slice is at least what it was. Specks that are too
  small beside it to stay are wiped out at all thresholds at once, and never outlined.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .params import PostprocessParams
from .postprocessing import StagedPostprocessor, postprocess
from .steps import chain, reach
from .steps._patch import disk

_PLAIN = PostprocessParams()

_SHIFT = 15
"""Binary digits of a float32 that are left out where values are looked up."""

_KEYS = 1 << (31 - _SHIFT)
"""Number of leading digits that positive values can have."""

_SPECKS = (1, 3, 7)
"""Sides of the squares in which specks lie that are wiped out."""

_MANY = 1000
"""Components above a threshold from which on it takes less time to wipe specks out than to outline them."""


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
    found: dict[PostprocessParams, tuple[int, int]] = {}
    together, alone = _apart(grid)
    if together:
        tall = _Tall(anomaly_map, brain, together, spacing)
        lesion = np.flatnonzero(tall.below(reference.view(np.uint8)))
        for same, mask in tall.masks():
            within = mask.reshape(-1)[lesion[: np.searchsorted(lesion, mask.size)]]
            counts = cv2.countNonZero(mask) if mask.size else 0, int(np.count_nonzero(within))
            found |= dict.fromkeys(same, counts)
    if alone:
        stages = StagedPostprocessor(anomaly_map, spacing, brain, workers=1)
        for params in sorted(alone, key=lambda one: (one.threshold, one.closing_radius)):
            volume = stages.volume(params)
            found[params] = int(np.count_nonzero(volume)), int(np.count_nonzero(volume & reference))
    return np.array([found[params] for params in grid], np.int64).reshape(-1, 2)


def masks_of(
    anomaly_map: NDArray[np.float32],
    brain: NDArray[np.bool_],
    grid: Sequence[PostprocessParams],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> Iterator[tuple[PostprocessParams, NDArray[np.bool_]]]:
    """Yield each of some settings once, with the mask (Z, Y, X), in any order.

    Args:
        anomaly_map: As for `overlaps`.
        brain: As for `overlaps`.
        grid: The settings.
        spacing: Size of a voxel (z, y, x) in mm.
    """
    together, alone = _apart(grid)
    if together:
        tall = _Tall(anomaly_map, brain, together, spacing)
        for same, mask in tall.masks():
            volume = tall.volume(mask)
            yield from ((params, volume) for params in same)
    for params in alone:
        yield params, postprocess(anomaly_map, params, spacing, brain, workers=1)


def room_for(grid: Sequence[PostprocessParams]) -> int:
    """Return how many pixels of the slices around a brain count for the masks of some settings.

    It is 0 if all masks are cut at the brain: a closing has its room here.
    """
    _, alone = _apart(grid)
    return 0 if not alone and all(params.inside_brain for params in grid) else reach(grid)


def _apart(
    grid: Sequence[PostprocessParams],
) -> tuple[list[PostprocessParams], list[PostprocessParams]]:
    """Return each of the settings once: those of the paper's steps, and those with steps of other packages.

    Such steps take one slice at a time.
    """
    plain = {params: chain(params) is chain(_PLAIN) for params in grid}
    return [params for params in plain if plain[params]], [params for params in plain if not plain[params]]


class _Tall:
    """The slices of a map below each other, with room around each for closings and dilations."""

    def __init__(
        self,
        anomaly_map: NDArray[np.float32],
        brain: NDArray[np.bool_],
        grid: Sequence[PostprocessParams],
        spacing: Sequence[float],
    ) -> None:
        self._grid, self._pixel_area = grid, float(spacing[-2]) * float(spacing[-1])
        self.thresholds = np.unique(np.array([params.threshold for params in grid], np.float32))
        self._room = max(1, *(max(params.closing_radius, params.dilation_radius) for params in grid))
        levels = _levels_of(anomaly_map, self.thresholds)
        # The brightest slice first: those with anything above a threshold are the beginning of the tall image.
        highest = np.array([pixels.max(initial=0) for pixels in levels])
        shown = np.argsort(-highest.astype(np.int64), kind="stable")
        self._shown = shown[highest[shown] > 0]
        self._shape, self._levels_in = levels.shape, highest[self._shown]
        # Of each slice the rows that a mask can reach, by the radius beyond what is above a threshold.
        self._rows = []
        for filled in np.asarray(levels[self._shown].any(axis=2)):
            where = np.flatnonzero(filled)
            self._rows.append(
                slice(max(int(where[0]) - self._room, 0), min(int(where[-1]) + self._room + 1, len(filled)))
            )
        heights = [rows.stop - rows.start + 2 * self._room + 1 for rows in self._rows]
        self._starts = np.cumsum([0, *heights])
        self._levels, self._brain = self.below(levels), self.below(brain.view(np.uint8))
        self._frame = (
            None if all(params.inside_brain for params in grid) else self.below(np.ones_like(levels))
        )
        self._canvas = np.zeros(self._levels.shape, np.uint8)

    def below(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Return the slices of a volume (Z, Y, X) with anything above a threshold as one tall image."""
        room = self._room
        tall = np.zeros((self._starts[-1], volume.shape[2] + 2 * room), volume.dtype)
        for number, rows, part in zip(self._shown, self._rows, self._parts(tall), strict=True):
            part[:] = volume[number, rows]
        return tall

    def _parts(self, tall: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield the place of each slice in a tall image, or in the beginning of one."""
        # One row more between two slices than twice the radius: their closings would meet in between.
        room, width = self._room, self._shape[2]
        for start, rows in zip(self._starts[:-1].tolist(), self._rows, strict=True):
            if start < len(tall):
                top = start + room
                yield tall[top : top + rows.stop - rows.start, room : room + width]

    def volume(self, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return the volume (Z, Y, X) of the beginning of a tall image, false elsewhere."""
        found = np.zeros(self._shape, np.bool_)
        for number, rows, part in zip(self._shown, self._rows, self._parts(mask), strict=False):
            found[number, rows] = part.view(np.bool_)
        return found

    def masks(self) -> Iterator[tuple[list[PostprocessParams], NDArray[np.uint8]]]:
        """Yield settings that have one mask, with the beginning of it as a tall image; the rest is empty."""
        by_radius: dict[int, dict[int, list[PostprocessParams]]] = defaultdict(lambda: defaultdict(list))
        for params in self._grid:
            level = int(np.searchsorted(self.thresholds, np.float32(params.threshold)))
            by_radius[params.closing_radius][level].append(params)
        for radius, by_level in by_radius.items():
            closed = self._levels
            if radius and closed.size:
                closed = cv2.morphologyEx(
                    closed, cv2.MORPH_CLOSE, disk(radius), borderType=cv2.BORDER_CONSTANT, borderValue=0
                )
            specks = _Specks(closed, self._starts)
            for level, own in sorted(by_level.items(), reverse=True):
                slices = int(np.count_nonzero(self._levels_in > level))
                closed = specks.without(slices, min(params.area_fraction for params in own))
                above = (closed[: self._starts[slices]] > level).view(np.uint8)
                yield from self._at(above, own, specks)

    def _at(
        self, above: NDArray[np.uint8], grid: Sequence[PostprocessParams], specks: _Specks
    ) -> Iterator[tuple[list[PostprocessParams], NDArray[np.uint8]]]:
        if not above.size:
            yield [*grid], above
            return
        # Outer contours enclose the filled components, see `steps._patch`; corners alone make shorter ones.
        contours, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        areas, place = self._areas(contours)
        largest = np.zeros(np.searchsorted(self._starts, len(above)), np.int64)
        np.maximum.at(largest, place, areas)
        specks.seen(largest, len(contours))
        same: dict[Any, tuple[NDArray[np.bool_], list[PostprocessParams]]] = {}
        # The fewest components first: the next settings only add some.
        for params in sorted(grid, key=lambda one: (one.area_fraction, one.min_area_mm2), reverse=True):
            kept = (areas >= params.area_fraction * largest[place]) & (
                areas * self._pixel_area >= params.min_area_mm2
            )
            key = kept.tobytes(), params.dilation_radius, params.inside_brain
            same.setdefault(key, (kept, []))[1].append(params)
        canvas, drawn = self._canvas[: len(above)], np.zeros_like(place, np.bool_)
        canvas[:] = 0
        for kept, own in same.values():
            if (drawn & ~kept).any():
                canvas[:] = 0
                drawn = np.zeros_like(kept)
            more = [contours[index] for index in np.flatnonzero(kept & ~drawn).tolist()]
            cv2.drawContours(canvas, more, -1, 1, cv2.FILLED)
            drawn = kept
            yield own, self._grown(canvas, own[0])

    def _grown(self, mask: NDArray[np.uint8], params: PostprocessParams) -> NDArray[np.uint8]:
        """Return a mask dilated, and cut at the brain."""
        allowed = self._brain if params.inside_brain else self._frame
        assert allowed is not None
        if params.dilation_radius:
            mask = cv2.dilate(mask, disk(params.dilation_radius))
        return np.asarray(cv2.bitwise_and(mask, allowed[: len(mask)]), np.uint8)

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
        place = np.searchsorted(self._starts, y[first], side="right") - 1
        return (np.abs(twice) + np.maximum(steps, 1)) // 2 + 1, place


class _Specks:
    """The levels of a tall image without the specks that are too small to stay beside a slice's largest component.

    Args:
        levels: The tall image.
        starts: The first row of each slice, and the end.
    """

    def __init__(self, levels: NDArray[Any], starts: NDArray[np.int64]) -> None:
        self._starts, count = starts, len(starts) - 1
        self._wiped, self._shown = [levels], levels
        self._largest, self._many = np.zeros(count, np.int64), False
        self._sides = np.zeros(count, np.int64)

    def seen(self, largest: NDArray[np.int64], components: int) -> None:
        """Take the largest component of the first slices, and the number of all, at a threshold above the next ones."""
        self._largest[: len(largest)] = largest
        self._many = components > _MANY

    def without(self, slices: int, area_fraction: float) -> NDArray[Any]:
        """Return the levels, in the first slices without specks that an area opening drops at lower thresholds."""
        if self._many and len(self._wiped) == 1:
            for side in _SPECKS:
                self._wiped.append(_wiped(self._wiped[-1], side))
            self._shown = self._shown.copy()
        if len(self._wiped) > 1:
            smallest = area_fraction * self._largest[:slices]
            # A speck is at most as large as its square, which has to be smaller than what stays.
            sides = np.searchsorted(np.square(_SPECKS), smallest)
            for number in np.flatnonzero(sides != self._sides[:slices]).tolist():
                rows = slice(*self._starts[number : number + 2])
                self._shown[rows] = self._wiped[sides[number]][rows]
            self._sides[:slices] = sides
        return self._shown


def _wiped(levels: NDArray[Any], side: int) -> NDArray[Any]:
    """Return levels without what lies, at a threshold, in a square of a side with nothing all around it.

    Components stay whole, or go as a whole.
    """
    reach = side // 2 + 1
    long = 2 * reach + 1
    # Across the end of a row, the rows above and below are taken for its continuation: that wipes out less.
    flat, width = levels.reshape(-1), levels.shape[1]
    beside = np.zeros_like(flat)
    for line, step in (((1, long), reach * width), ((long, 1), reach)):
        ends = cv2.dilate(levels, np.ones(line, np.uint8)).reshape(-1)
        np.maximum(beside[step:], ends[:-step], out=beside[step:])
        np.maximum(beside[:-step], ends[step:], out=beside[:-step])
    around = cv2.erode(beside.reshape(levels.shape), np.ones((side, side), np.uint8))
    return np.asarray(np.minimum(levels, around))


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
    table = np.repeat(np.arange(len(thresholds) + 1, dtype=kind), np.diff(ends, prepend=0, append=_KEYS))
    unclear = np.iinfo(kind).max
    table[ends] = unclear
    found = table[keys]
    where = np.flatnonzero(found == unclear)
    found[where] = np.searchsorted(thresholds, values[where])
    levels[above] = found
    return levels
