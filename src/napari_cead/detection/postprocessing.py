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

Each step is a file of :mod:`~napari_cead.detection.steps`; other packages may add steps in between. Everything up to
the dilation happens inside the bounding box of step 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from ..progress import Stop, check_stop
from .params import PostprocessParams
from .steps import Slice, Step, chain, settings_in_order
from .steps._patch import Patch

_CHUNK = 8  # slices per task: large enough that handing out tasks costs nothing beside the work
_MAX_WORKERS = 8
_LARGE_RADIUS = 8  # with smaller disks the calls are so short that threads only get in each other's way


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
            f"an anomaly map has 2 or 3 dimensions, not {slices.ndim}", hint="give (Z, Y, X) or (Y, X)"
        )
    pixel_area = _pixel_area(spacing)
    mask = np.zeros(slices.shape, dtype=np.bool_)
    inside, steps = _brain(brain, slices.shape), chain(params)
    if slices.ndim == 2:
        stack, target, inside = slices[None], mask[None], None if inside is None else inside[None]
    else:
        stack, target = slices, mask

    def one(z: int) -> None:
        here = None if inside is None else inside[z]
        _advance(None, steps, params, Slice(stack[z], here, pixel_area)).detected.paint(target[z])

    _for_each(len(stack), one, threads_for(params, workers))
    return mask


class StagedPostprocessor:
    """Post-processing of one anomaly map that redoes only what a changed setting invalidates.

    Of each slice it keeps what the steps made: the components, the kept components and the detected mask. A new
    dilation radius then costs a dilation; a new area fraction or smallest area costs nothing unless the set of kept
    components changes; a new threshold or closing radius redoes the slice. The masks are those of `postprocess`.

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
                f"an anomaly map to explore has 3 dimensions, not {self._map.ndim}", hint="give (Z, Y, X)"
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
        self._advance(z, chain(params), params).detected.paint(mask)
        return mask

    def volume(self, params: PostprocessParams, should_stop: Stop | None = None) -> NDArray[np.bool_]:
        """Return the detected mask (Z, Y, X), a new array.

        Args:
            params: Threshold, radii and areas.
            should_stop: Called before every slice, from several threads.

        Raises:
            Cancelled: If ``should_stop()`` returned true. The slices done so far stay known.
        """
        mask, steps = np.zeros(self._map.shape, dtype=np.bool_), chain(params)

        def one(z: int) -> None:
            self._advance(z, steps, params).detected.paint(mask[z])

        _for_each(len(mask), one, threads_for(params, self._workers), should_stop)
        return mask

    def _advance(self, z: int, steps: tuple[Step, ...], params: PostprocessParams) -> _State:
        brain = None if self._brain is None else self._brain[z]
        state = _advance(self._states[z], steps, params, Slice(self._map[z], brain, self._pixel_area))
        self._states[z] = state
        return state


@dataclass(frozen=True, eq=False)
class _State:
    """The results of each step for one slice, and what they depend on.

    Attributes:
        chain: The steps.
        keys: By step, what its result depends on beside what it was given.
        results: By step, its result; None if it is not kept.
    """

    chain: tuple[Step, ...]
    keys: tuple[Hashable, ...]
    results: tuple[Any, ...]

    @property
    def detected(self) -> Patch:
        """The mask at the end, which is always kept."""
        last: Patch = self.results[-1]
        return last


def _advance(
    state: _State | None, steps: tuple[Step, ...], params: PostprocessParams, place: Slice
) -> _State:
    """Return the state of a slice at ``params``, taking over the results of ``state`` that still hold."""
    if state is not None and state.chain is not steps:
        state = None
    keys: list[Hashable] = []
    results: list[Any] = []
    value: Any = place.pixels
    for number, step in enumerate(steps):
        key = step.key(value, params, place)
        if state is not None and key == state.keys[number]:
            value = state.results[number]  # None where it is not kept: it may not be needed
        else:
            if value is None:
                value = _again(steps[:number], keys, results, params, place)
            value, state = step.run(value, params, place, key), None
        keys.append(key)
        results.append(value if step.kept else None)
    return _State(steps, tuple(keys), tuple(results)) if state is None else state


def _again(
    steps: Sequence[Step],
    keys: Sequence[Hashable],
    results: Sequence[Any],
    params: PostprocessParams,
    place: Slice,
) -> Any:
    """Return the result of the last of some steps, from the last result that was kept."""
    known = [number for number, result in enumerate(results) if result is not None]
    value, first = (results[known[-1]], known[-1] + 1) if known else (place.pixels, 0)
    for step, key in zip(steps[first:], keys[first:], strict=True):
        value = step.run(value, params, place, key)
    return value


def _for_each(
    count: int,
    job: Callable[[int], None],
    workers: int,
    should_stop: Stop | None = None,
) -> None:
    """Run ``job(z)`` for all slices, in threads if there is more than one worker."""

    def chunk(start: int) -> None:
        for z in range(start, min(start + _CHUNK, count)):
            check_stop(should_stop)
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


def threads_for(params: PostprocessParams, workers: int | None = None) -> int:
    """Return how many threads to use: those asked for, else as many as help.

    With small disks the calls are so short that threads wait for each other.
    """
    if workers is not None:
        return workers
    radii = (getattr(params, row.name) for row in settings_in_order() if row.unit == "px")
    if max(radii) < _LARGE_RADIUS:
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
            f"anomaly map {shape} and brain {inside.shape} differ in shape", hint="give both on one grid"
        )
    return inside


def _real(anomaly_map: ArrayLike) -> NDArray[Any]:
    array = np.asarray(anomaly_map)
    if array.dtype.kind not in "fiub":
        raise ParameterError(
            f"an anomaly map holds real numbers, not {array.dtype}", hint="convert it to float32"
        )
    return array


def _pixel_area(spacing: Sequence[float]) -> float:
    """Return the area of a pixel in mm² from a spacing (z, y, x) or (y, x)."""
    values = np.asarray(spacing, dtype=np.float64)
    if values.shape not in ((2,), (3,)) or not np.all(np.isfinite(values) & (values > 0)):
        raise ParameterError(
            f"the spacing must be two or three positive numbers in mm, not {spacing!r}",
            hint="give (z, y, x) or (y, x)",
        )
    return float(values[-2] * values[-1])
