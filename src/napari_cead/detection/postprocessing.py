"""From an anomaly map to a detected mask: threshold, closing, hole filling, area opening, dilation.

The steps and their order are those of Paolini, Boracchi and Matteucci, *Unsupervised Detection of Lesion in Brain
MRI using Context Encoding AutoEncoders*. Each slice stands alone:

1. pixels ``> threshold`` (NaN is never above);
2. binary closing with a digital disk, on a plane of zeros that goes on beyond the slice;
3. holes filled (the background is 4-connected);
4. of the 8-connected components, those smaller than ``area_fraction`` times the slice's largest one, or smaller
   than ``min_area_mm2``, dropped;
5. binary dilation with a digital disk;
6. with ``inside_brain``, what lies outside the brain dropped, where it is known which voxels those are.

Everything up to the dilation happens inside the bounding box of step 1, for a closing never leaves it: a half-plane is
closed under any disk, and the box is the meet of four.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import Cancelled, ParameterError
from .params import PostprocessParams

_CHUNK = 8  # slices per task: large enough that handing out tasks costs nothing beside the work
_MAX_WORKERS = 8
_LARGE_RADIUS = 8  # with smaller disks the calls are so short that threads only get in each other's way
_MAX_OUTLINES = 256  # more contours than this cost more, as Python objects, than an image of labels


def postprocess(
    anomaly_map: ArrayLike,
    params: PostprocessParams,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    brain: ArrayLike | None = None,
    *,
    workers: int | None = None,
) -> NDArray[np.bool_]:
    """Return the detected mask of an anomaly map, slice by slice.

    Args:
        anomaly_map: (Z, Y, X) or (Y, X), real numbers.
        params: Threshold, radii and areas; radii are pixels of this map.
        spacing: Size of a voxel in mm, (z, y, x) or (y, x); turns ``min_area_mm2`` into pixels.
        brain: Of the map's shape, above 0 is brain. The mask stays inside it if ``inside_brain`` says so; None: nobody
            knows where the brain ends, and the mask may leave it by what closing and dilation add.
        workers: Threads to spread slices over, 1 stays in the calling thread; None takes one per core for large
            radii and 1 for small ones, where more do not help.

    Returns:
        Boolean mask of the map's shape.

    Raises:
        ParameterError: If the map has not two or three dimensions or holds no real numbers, if the brain has another
            shape, or if the spacing is not two or three positive numbers.

    Example:
        >>> postprocess(np.eye(4), PostprocessParams(dilation_radius=0)).sum()
        np.int64(4)
    """
    slices = _real(anomaly_map)
    if slices.ndim not in (2, 3):
        raise ParameterError(
            f"an anomaly map has 2 or 3 dimensions, not {slices.ndim}", mend="give (Z, Y, X) or (Y, X)"
        )
    pixel_area = _pixel_area(spacing)
    mask = np.zeros(slices.shape, dtype=np.bool_)
    inside = _brain(brain, slices.shape)
    if slices.ndim == 2:
        stack, target, inside = slices[None], mask[None], None if inside is None else inside[None]
    else:
        stack, target = slices, mask

    def one(z: int) -> None:
        here = None if inside is None else inside[z]
        _advance(None, stack[z], params, pixel_area, here).detected.paint(target[z])

    _for_each(len(stack), one, _threads(workers, params))
    return mask


class StagedPostprocessor:
    """Post-processing of one anomaly map that redoes only what a changed setting invalidates.

    Of each slice it keeps the components, the kept components and the detected mask. A new dilation radius then
    costs a dilation; a new area fraction or smallest area costs nothing unless the set of kept components
    changes; a new threshold or closing radius redoes the slice. The masks are those of `postprocess`.

    Memory: the map itself is referenced, not copied, and must not change. Of each slice, one result is kept,
    inside the bounding box of what is above the threshold: at most four bytes a pixel (six if the box has more
    than 260,000 pixels), so never much more than the float32 map, and far less on real anatomy. Results of
    earlier settings are not kept.

    Threads: `slice` and `volume` may run at the same time in different threads, with different settings. A
    slice's state is one immutable object, replaced as a whole, so that the worst a race can cost is doing a
    slice twice.

    Args:
        anomaly_map: (Z, Y, X), real numbers.
        spacing: Size of a voxel in mm, (z, y, x) or (y, x).
        brain: (Z, Y, X), above 0 is brain: where the mask has to stay, if the settings say so; None: anywhere.
        workers: Threads of `volume`, 1 stays in the calling thread; None takes one per core for large radii and 1
            for small ones, where more do not help.

    Raises:
        ParameterError: If the map has not three dimensions or holds no real numbers, if the brain has another shape,
            or if the spacing is not two or three positive numbers.
    """

    def __init__(
        self,
        anomaly_map: ArrayLike,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        brain: ArrayLike | None = None,
        *,
        workers: int | None = None,
    ) -> None:
        self._map = _real(anomaly_map)
        if self._map.ndim != 3:
            raise ParameterError(
                f"an anomaly map to explore has 3 dimensions, not {self._map.ndim}", mend="give (Z, Y, X)"
            )
        self._pixel_area = _pixel_area(spacing)
        self._brain = _brain(brain, self._map.shape)
        self._workers = workers
        self._states: list[_State | None] = [None] * len(self._map)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (Z, Y, X) of the map."""
        depth, height, width = self._map.shape
        return depth, height, width

    def slice(self, z: int, params: PostprocessParams) -> NDArray[np.bool_]:
        """Return the detected mask (Y, X) of slice ``z``, a new array.

        Raises:
            IndexError: If there is no such slice.
        """
        mask = np.zeros(self._map.shape[1:], dtype=np.bool_)
        self._advance(z, params).detected.paint(mask)
        return mask

    def volume(
        self, params: PostprocessParams, should_stop: Callable[[], bool] | None = None
    ) -> NDArray[np.bool_]:
        """Return the detected mask (Z, Y, X), a new array.

        Args:
            params: Threshold, radii and areas.
            should_stop: Asked before every slice, from several threads.

        Raises:
            Cancelled: If ``should_stop()`` returned true. The slices done so far stay known.
        """
        mask = np.zeros(self._map.shape, dtype=np.bool_)

        def one(z: int) -> None:
            self._advance(z, params).detected.paint(mask[z])

        _for_each(len(mask), one, _threads(self._workers, params), should_stop)
        return mask

    def _advance(self, z: int, params: PostprocessParams) -> _State:
        brain = None if self._brain is None else self._brain[z]
        state = _advance(self._states[z], self._map[z], params, self._pixel_area, brain)
        self._states[z] = state
        return state


@dataclass(frozen=True, eq=False)
class _Patch:
    """A mask (h, w) whose first pixel lies at (row, column) of its slice; all the rest of the slice is empty."""

    row: int
    column: int
    mask: NDArray[np.bool_]

    def paint(self, target: NDArray[np.bool_]) -> None:
        height, width = self.mask.shape
        target[self.row : self.row + height, self.column : self.column + width] = self.mask

    def within(self, brain: NDArray[np.bool_]) -> _Patch:
        """Return what of it lies inside the brain (Y, X) of its slice."""
        height, width = self.mask.shape
        here = brain[self.row : self.row + height, self.column : self.column + width]
        return _Patch(self.row, self.column, self.mask & here)


_EMPTY = _Patch(0, 0, np.zeros((0, 0), dtype=np.bool_))


class _Components(Protocol):
    """The filled components of a slice, the largest first."""

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each component, descending."""
        ...

    def largest(self, count: int) -> _Patch:
        """Return the union of the ``count`` largest."""
        ...


@dataclass(frozen=True, eq=False)
class _Outlines:
    """Components as their outer contours: the cheaper form as long as there are few."""

    areas: NDArray[np.int64]
    contours: tuple[NDArray[np.int32], ...]

    def largest(self, count: int) -> _Patch:
        if count == 0:
            return _EMPTY
        kept = self.contours[:count]
        boxes = np.array([cv2.boundingRect(contour) for contour in kept])
        left, top = (int(start) for start in boxes[:, :2].min(axis=0))
        right, bottom = (int(end) for end in (boxes[:, :2] + boxes[:, 2:]).max(axis=0))
        canvas = np.zeros((bottom - top, right - left), dtype=np.uint8)
        cv2.drawContours(canvas, kept, -1, 1, cv2.FILLED, offset=(-left, -top))
        return _Patch(top, left, canvas.view(np.bool_))


@dataclass(frozen=True, eq=False)
class _Labels:
    """Components as an image of labels (h, w), 0 for the background, at (row, column) of the slice."""

    areas: NDArray[np.int64]
    order: NDArray[np.intp]
    labels: NDArray[np.integer[Any]]
    row: int
    column: int

    def largest(self, count: int) -> _Patch:
        if count == 0:
            return _EMPTY
        keep = np.zeros(len(self.order) + 1, dtype=np.uint8)
        keep[self.order[:count]] = 1
        mask = keep.take(self.labels)
        top, bottom, left, right = _bounding_box(mask.view(np.bool_))
        tight = mask[top:bottom, left:right].copy()
        return _Patch(self.row + top, self.column + left, tight.view(np.bool_))


@dataclass(frozen=True, eq=False)
class _State:
    """Every stage of one slice, with the settings that gave it."""

    threshold: float
    closing_radius: int
    components: _Components
    count: int
    kept: _Patch
    dilation_radius: int
    inside_brain: bool
    detected: _Patch


def _advance(
    state: _State | None,
    pixels: NDArray[Any],
    params: PostprocessParams,
    pixel_area: float,
    brain: NDArray[np.bool_] | None,
) -> _State:
    """Return the state of a slice at ``params``, taking over the stages of ``state`` that still hold."""
    threshold, closing_radius = params.threshold, params.closing_radius
    if state is not None and (state.threshold, state.closing_radius) == (threshold, closing_radius):
        components = state.components
    else:
        state, components = None, _components(pixels, threshold, closing_radius)
    count = _count_kept(components.areas, params, pixel_area)
    if state is not None and state.count == count:
        if (state.dilation_radius, state.inside_brain) == (params.dilation_radius, params.inside_brain):
            return state
        kept = state.kept
    else:
        kept = components.largest(count)
    detected = _dilated(kept, params.dilation_radius, pixels.shape)
    if params.inside_brain and brain is not None:
        detected = detected.within(brain)
    return _State(
        threshold,
        closing_radius,
        components,
        count,
        kept,
        params.dilation_radius,
        params.inside_brain,
        detected,
    )


def _components(pixels: NDArray[Any], threshold: float, closing_radius: int) -> _Components:
    """Threshold, close and fill one slice (Y, X), and take it apart into its 8-connected components."""
    above = np.greater(pixels, threshold, order="C")
    top, bottom, left, right = _bounding_box(above)
    if top == bottom:
        return _Outlines(np.zeros(0, dtype=np.int64), ())
    margin = max(closing_radius, 1)  # room for the dilation inside the closing, and a frame of background
    box = above[top:bottom, left:right].view(np.uint8)
    image = cv2.copyMakeBorder(box, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    if closing_radius:
        # The border value must be given: by default an erosion takes what lies outside for foreground.
        image = cv2.morphologyEx(
            image,
            cv2.MORPH_CLOSE,
            _disk(closing_radius),
            borderType=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
    # Outer contours are 8-connected foreground against 4-connected background: just the holes to be filled
    # lie inside them, and each is one component of the filled image.
    contours, _ = cv2.findContours(
        image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left - margin, top - margin)
    )
    # Eight bytes a point: not to take more memory than 16-bit labels would.
    if len(contours) <= _MAX_OUTLINES and 4 * sum(map(len, contours)) <= image.size:
        return _outlines(contours)
    return _labels(image, margin, top, left)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of the true pixels (ends excluded), all 0 if there is none."""
    # Not cv2.boundingRect: OpenCV 4.9 gets masks of a few columns wrong.
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return 0, 0, 0, 0
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return top, bottom, int(columns[0]), int(columns[-1]) + 1


def _outlines(contours: Sequence[NDArray[np.int32]]) -> _Outlines:
    # Pick's theorem for a closed walk of n steps over lattice points: area + n / 2 + 1 points on it or inside.
    points = [
        cv2.contourArea(contour) + len(contour) / 2 + 1 if len(contour) > 1 else 1 for contour in contours
    ]
    areas = np.rint(points).astype(np.int64)
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


def _count_kept(areas: NDArray[np.int64], params: PostprocessParams, pixel_area: float) -> int:
    """Return how many components stay, out of ``areas`` in descending order."""
    if areas.size == 0:
        return 0
    dropped = (areas < params.area_fraction * areas[0]) | (areas * pixel_area < params.min_area_mm2)
    return int(areas.size - np.count_nonzero(dropped))


def _dilated(patch: _Patch, radius: int, shape: tuple[int, ...]) -> _Patch:
    """Return ``patch`` dilated by a disk and cut at the borders of a slice of ``shape``."""
    if radius == 0 or patch.mask.size == 0:
        return patch
    image = patch.mask.view(np.uint8)
    image = cv2.copyMakeBorder(image, radius, radius, radius, radius, cv2.BORDER_CONSTANT, value=0)
    mask = cv2.dilate(image, _disk(radius)).view(np.bool_)
    row, column = patch.row - radius, patch.column - radius
    above, before = max(0, -row), max(0, -column)
    mask = mask[above : shape[0] - row, before : shape[1] - column]
    return _Patch(row + above, column + before, mask)


@lru_cache(maxsize=64)
def _disk(radius: int) -> NDArray[np.uint8]:
    """Return the digital disk, pixels at most ``radius`` from the centre (OpenCV's ellipse is another shape)."""
    offsets = np.arange(-radius, radius + 1)
    disk = (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2).astype(np.uint8)
    disk.flags.writeable = False
    return disk


def _for_each(
    count: int,
    job: Callable[[int], None],
    workers: int,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Run ``job(z)`` for all slices, in threads if there is more than one worker."""

    def chunk(start: int) -> None:
        for z in range(start, min(start + _CHUNK, count)):
            if should_stop is not None and should_stop():
                raise Cancelled
            job(z)

    starts = range(0, count, _CHUNK)
    workers = min(workers, len(starts))
    if workers <= 1:
        for start in starts:
            chunk(start)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(chunk, starts):
            pass


def _threads(workers: int | None, params: PostprocessParams) -> int:
    """Return how many threads to use: those asked for, else as many as help."""
    if workers is not None:
        return workers
    if max(params.closing_radius, params.dilation_radius) < _LARGE_RADIUS:
        return 1
    # The cores this process may use, which on a shared machine are fewer than there are.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MAX_WORKERS)


def _brain(brain: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return a brain mask of the map's shape as bool."""
    if brain is None:
        return None
    inside: NDArray[np.bool_] = np.asarray(brain)
    inside = inside if inside.dtype == bool else inside > 0
    if inside.shape != shape:
        raise ParameterError(
            f"anomaly map {shape} and brain {inside.shape} differ in shape", mend="give both on one grid"
        )
    return inside


def _real(anomaly_map: ArrayLike) -> NDArray[Any]:
    array = np.asarray(anomaly_map)
    if array.dtype.kind not in "fiub":
        raise ParameterError(
            f"an anomaly map holds real numbers, not {array.dtype}", mend="convert it to float32"
        )
    return array


def _pixel_area(spacing: Sequence[float]) -> float:
    """Return the area of a pixel in mm² from a spacing (z, y, x) or (y, x)."""
    values = np.asarray(spacing, dtype=np.float64)
    if values.shape not in ((2,), (3,)) or not np.all(np.isfinite(values) & (values > 0)):
        raise ParameterError(
            f"the spacing must be two or three positive numbers in mm, not {spacing!r}",
            mend="give (z, y, x) or (y, x)",
        )
    return float(values[-2] * values[-1])
