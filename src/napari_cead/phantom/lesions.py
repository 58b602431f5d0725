"""Metastases: where they sit, their shape, and what they look like in each sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .anatomy import Anatomy
from .fields import Array, Axes, smooth_field, stream
from .metastases import DEFAULT, Metastases


@dataclass(frozen=True)
class Lesion:
    """One metastasis, painted as layers within a small box of the brain's bounding box.

    Args:
        box: Slices within the brain's bounding box.
        core: Weight in [0, 1] of the enhancing tumour with what it encloses.
        necrosis: Share of the core that is dead tissue, [0, 1].
        oedema: Weight in [0, 1] of the swollen white matter around (not within) the core.
    """

    box: tuple[slice, slice, slice]
    core: Array
    necrosis: Array
    oedema: Array


@dataclass(frozen=True)
class _Ground:
    """What a lesion grows in: fractions of white and grey matter, and mm to the left of the midline."""

    white: Array
    grey: Array
    sagittal: Array

    def within(self, box: tuple[slice, slice, slice]) -> _Ground:
        return _Ground(self.white[box], self.grey[box], self.sagittal[box])


def draw_diameters(
    seed: int, number: int, lesions: int | None, metastases: Metastases = DEFAULT
) -> list[float]:
    """Draw the diameters in mm, largest first; ``lesions=None`` also draws how many."""
    rng = stream(seed, number, "lesions")
    drawn = metastases.count(rng)
    sizes = metastases.diameters(rng, drawn if lesions is None else lesions)
    return sorted((float(size) for size in sizes), reverse=True)


def make_lesions(
    seed: int, number: int, anatomy: Anatomy, lesions: int | None, metastases: Metastases = DEFAULT
) -> list[Lesion]:
    """Return the metastases of one patient, largest first."""
    diameters = draw_diameters(seed, number, lesions, metastases)
    if not diameters:
        return []
    ground = _Ground(*(anatomy.fill(part) for part in (anatomy.white, anatomy.grey, anatomy.place[2])))
    centres = _centres(seed, number, anatomy, diameters)
    return [
        _make(stream(seed, number, f"lesion {n}"), anatomy, ground, centre, diameter, metastases)
        for n, (centre, diameter) in enumerate(zip(centres, diameters, strict=True))
    ]


def _centres(seed: int, number: int, anatomy: Anatomy, diameters: list[float]) -> list[Array]:
    """Place the lesions near the grey-white junction, apart from each other; positions (z, y, x) in mm."""
    rng = stream(seed, number, "places")
    # Tumour cells lodge where arterioles narrow: at the junction, rarely in the deep nuclei or the brain stem.
    allowed = (anatomy.rim > 0.9) & (anatomy.ventricles < 0.05) & (anatomy.place[0] > -45)
    weight = anatomy.grey * anatomy.white * allowed * (1 - np.float32(0.97) * anatomy.deep) + 1e-9
    cumulative = np.cumsum(weight, dtype=np.float64)
    voxels = np.stack(np.nonzero(anatomy.brain))
    chosen: list[Array] = []
    for n, diameter in enumerate(diameters):
        gap = 4.0
        while True:
            pick = int(np.searchsorted(cumulative, rng.uniform(0, cumulative[-1])))
            place = np.array(
                [axis[at] for axis, at in zip(anatomy.axes, voxels[:, pick], strict=True)], np.float32
            )
            apart = all(
                np.linalg.norm(place - other) > (diameter + diameters[m]) / 2 + gap
                for m, other in enumerate(chosen[:n])
            )
            if apart:
                break
            gap -= 0.2  # a crowded brain: let them come closer rather than search for ever
        chosen.append(place)
    return chosen


def _make(
    rng: np.random.Generator,
    anatomy: Anatomy,
    ground: _Ground,
    centre: Array,
    diameter: float,
    metastases: Metastases,
) -> Lesion:
    """Shape one lesion around ``centre`` (z, y, x in mm)."""
    radius = diameter / 2
    swelling = metastases.swelling(rng, diameter)
    reach = radius * 1.5 + swelling * 1.7 + 3
    box, axes = _around(anatomy.axes, centre, reach)
    side = 2 * reach
    extent, middle = (side, side, side), (float(centre[0]), float(centre[1]), float(centre[2]))
    z, y, x = (
        (part - centre[a]).reshape([-1 if a == b else 1 for b in range(3)]) for a, part in enumerate(axes)
    )
    brain = anatomy.brain[box]

    stretch = np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
    distance = np.sqrt((z / stretch[0]) ** 2 + (y / stretch[1]) ** 2 + (x / stretch[2]) ** 2)
    lumps = smooth_field(rng, axes, max(radius * 0.8, 1.2), extent, middle)
    inside = np.float32(radius) * (1 + np.float32(0.14) * lumps) - distance  # mm below the surface
    core = _step(inside / np.float32(0.45)) * brain
    if float(core.max(initial=0)) < 0.55:  # smaller than a voxel: it still shows, in one voxel
        nearest = np.unravel_index(int(np.argmin(np.where(brain, distance, np.inf))), brain.shape)
        core[nearest] = 1.0

    necrosis = np.zeros_like(core)
    if rng.uniform() < np.clip((diameter - 7) / 12, 0, 0.92):
        wall = rng.uniform(1.6, 2.4) + 0.07 * diameter
        necrosis = _step((inside - np.float32(wall) * (1 + np.float32(0.25) * lumps)) / np.float32(0.6))

    oedema = np.zeros_like(core)
    if swelling > 0:
        oedema = _oedema(rng, axes, centre, radius, swelling, ground.within(box), (extent, middle))
        oedema *= (1 - core) * brain
    return Lesion(box, core, necrosis.astype(np.float32), oedema)


def _oedema(
    rng: np.random.Generator,
    axes: Axes,
    centre: Array,
    radius: float,
    swelling: float,
    ground: _Ground,
    region: tuple[tuple[float, float, float], tuple[float, float, float]],
) -> Array:
    """Return vasogenic oedema: it spreads along the white matter and spares the cortex, so it lies off-centre."""
    white = ground.white
    grids = [part.reshape([-1 if a == b else 1 for b in range(3)]) for a, part in enumerate(axes)]
    total = float(white.sum()) + 1e-6
    pull = np.array([float((white * (part - centre[a])).sum()) / total for a, part in enumerate(grids)])
    length = float(np.linalg.norm(pull)) + 1e-6
    middle = centre + pull / length * min(length, 0.6 * swelling)
    stretch = np.exp(rng.normal(0, 0.15, 3))
    squared = np.zeros(white.shape, np.float32)
    for a, part in enumerate(grids):
        squared += ((part - np.float32(middle[a])) / np.float32(stretch[a])) ** 2
    distance = np.sqrt(squared)
    fingers = smooth_field(rng, axes, max(4.0, 0.35 * (radius + swelling)), *region)
    fine = smooth_field(rng, axes, 4.0, *region)
    outer = np.float32(radius + swelling) * (1 + np.float32(0.22) * fingers + np.float32(0.07) * fine)
    spread = _step((outer - distance) / np.float32(1.4))
    patches = np.clip(np.float32(0.88) + np.float32(0.12) * fine, 0.55, 1)
    # Little of it crosses to the other hemisphere.
    at = tuple(min(int(np.searchsorted(part, centre[a])), len(part) - 1) for a, part in enumerate(axes))
    own_side = _step(np.copysign(np.float32(1), ground.sagittal[at]) * ground.sagittal / 3 + 1)
    result: Array = spread * patches * own_side * np.clip(white + np.float32(0.22) * ground.grey, 0, 1)
    return result


def _around(axes: Axes, centre: Array, reach: float) -> tuple[tuple[slice, slice, slice], Axes]:
    """Return the box of voxels within ``reach`` mm of ``centre`` along each axis, and its coordinates."""
    slices, cut = [], []
    for axis, middle in zip(axes, centre, strict=True):
        first = int(np.searchsorted(axis, middle - reach))
        last = int(np.searchsorted(axis, middle + reach, side="right"))
        slices.append(slice(first, last))
        cut.append(axis[first:last])
    return (slices[0], slices[1], slices[2]), (cut[0], cut[1], cut[2])


def _step(value: Array) -> Array:
    """Return the logistic function: a boundary with partial volume."""
    result: Array = 1 / (1 + np.exp(-np.clip(value, -30, 30) * np.float32(1.7)))
    return result.astype(np.float32)


def mask_of(lesions: list[Lesion], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the voxels that are at least half lesion core."""
    mask = np.zeros(shape, dtype=bool)
    for lesion in lesions:
        mask[lesion.box] |= lesion.core > 0.5
    return mask
