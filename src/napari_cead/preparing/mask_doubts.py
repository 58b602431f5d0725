"""Whether a brain mask can be right: known failures of skull stripping, told by its size, its top and its two sides.

The limits stand between 22 masks of real scans (19 of which deepbet made, 7 with scalp at the vertex) and masks with a
lobe cut off, or of what is no head; ``docs/explanation/stripping.md`` has the figures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import MaskError
from ..metrics.overlap import bounding_box
from ..patients.brain import largest_component
from ..slices.symmetry import midline, mirrored
from .strippers import HeadScan

LEAST_ML, MOST_ML = 100.0, 2300.0
"""No brain is smaller or larger; a scan of a part of it may hold less than a whole one."""

LONG_MM, WIDE_MM, HIGH_MM = (100.0, 210.0), (80.0, 180.0), (0.0, 190.0)
"""From front to back, from side to side and from bottom to top. Adults' are 156 to 181, 130 to 154 and 129 to 154 mm; a
scan may be cut above and below. What a stripper takes for a brain in a leg, or in noise, is shorter or longer."""

USUAL_SHARE, MOST_SHARE = 0.60, 0.85
"""Share of the head that the brain is: beyond the first it is said, beyond the second the mask is refused. In scans
that reach down to the neck it is 0.34 to 0.58; in slices above the eyes alone it is more."""

SHALLOW_MM, SHALLOW_SHARE, TOP_MM = 5.0, 0.02, 20.0
"""Skin and bone are thicker than 5 mm. More than 2 % of the topmost 20 mm of a mask above that depth are scalp."""

SIDE_SHARE = 0.6
"""A part of the brain that is smaller than this share of its mirrored part was cut off. Whole ones: 0.73 and more."""

FRONT_MM = 45.0
"""The brain begins at most 30 mm behind the forehead's outline, the sinuses included."""

EDGE_MM, OUT_SHARE = (8.0, 3.0, 3.0), (0.6, 0.1, 0.1)
"""A mask whose section within so many mm of the scan's end is a larger share of its largest section was cut through:
from bottom to top, front to back, side to side. Whole ones: under 0.25, 0.01 and 0.01."""

OPEN_SHARE = 0.3
"""Where a scan ends as its head does, the last section of the head is a smaller share of its largest."""

FULL_SHARE, RUNS_OUT = 0.7, 0.2
"""A head closes above the brain. Where the topmost slice shows more than the first share of its largest section, and
the mask more than the second of its own, it runs out of the scan at the top, as limbs and heads that are cut do."""

VESSELS = 3.0
"""In an angiogram the brightest thousandth of what was taken for the brain is over three times as bright as the
brightest twentieth. FLAIR, T1 and T2: 1.1 to 1.5; T1 with contrast agent: 2.2."""

HOUNSFIELD_AIR, AIR_SHARE = -200.0, 0.1
"""No magnitude image of an MRI is below -200 in a tenth of its voxels, a CT is in the air."""

BONE, SOFT, BONE_RATIO = 400.0, 100.0, 8.0
"""In a CT bone is above 400, the brain below 100, and bone over eight times as bright."""

EVEN_SHARE = 0.05
"""A CT that was shifted so that air is 0 shows all soft tissue nearly alike: the middle half of the brain's values lie
within 5 % of the median. MRI: 22 % and more."""

_SURFACE = 0.1  # of the bright end of the scan: what is darker is air
_LARGE_MM = 60.0  # columns of brain that are long enough to tell where its front is


def doubts_about(
    mask: NDArray[np.bool_], scan: HeadScan, what: str, *, skull: bool = True
) -> tuple[str, ...]:
    """Return the doubts about a brain mask, each in one clause.

    Args:
        mask: (Z, Y, X) bool.
        scan: The scan of the head that it was made of.
        what: Its origin.
        skull: Whether the scan shows more than the brain; else there is no head to compare with.

    Raises:
        MaskError: If it cannot be a brain mask.
    """
    millilitres = float(mask.sum()) * float(np.prod(scan.spacing)) / 1000
    if not mask.any():
        raise MaskError(f"{what} found no brain in this scan", file=scan.place, hint=_HINT)
    if not LEAST_ML <= millilitres <= MOST_ML:
        raise MaskError(
            f"{what} took {millilitres:.0f} mL for the brain, which no brain is", file=scan.place, hint=_HINT
        )
    sizes = _sizes(mask, scan.spacing)
    for size, (low, high), name in zip(
        sizes, (HIGH_MM, LONG_MM, WIDE_MM), ("high", "long", "wide"), strict=True
    ):
        if not low <= size <= high:
            raise MaskError(
                f"what {what} took for the brain is {size:.0f} mm {name}, which no brain is",
                file=scan.place,
                hint=_HINT,
            )
    if foreign := _foreign(mask, scan.volume):
        raise MaskError(f"this is no MRI scan that shows a brain, but {foreign}", file=scan.place, hint=_MRI)
    head = head_of(scan.volume)
    cut = _cut_through(mask, head, scan)
    lost = cut_off(mask)
    if lost:
        lost = f"the {lost} of the brain mask is much smaller than its other side: look whether a lobe is cut off"
    if not skull:
        return tuple(each for each in (cut, lost) if each)
    share = float(np.count_nonzero(mask & head)) / max(1, int(np.count_nonzero(head)))
    if share > MOST_SHARE:
        raise MaskError(f"{what} took {share:.0%} of the head for the brain", file=scan.place, hint=_HINT)
    doubts = [cut] if cut else []
    if share > USUAL_SHARE:
        doubts.append(f"the brain mask is {share:.0%} of the head: look whether it holds skin and bone")
    if scalp_share(mask, head, scan.spacing) > SHALLOW_SHARE:
        doubts.append(
            "scalp is left at the vertex: erase it from the brain mask, or leave the top slices out"
        )
    if lost:
        doubts.append(lost)
    elif (front := front_gap(mask, head, scan.spacing)) is not None and front > FRONT_MM:
        doubts.append(
            f"the brain mask begins {front:.0f} mm behind the forehead: look whether the frontal lobes are cut off"
        )
    return tuple(doubts)


_MRI = "give an MRI scan of the head (FLAIR, T1 or T2)"
_WHOLE = "give a scan of the whole brain; or its brain mask (--strip FILE), or --strip never"
_HINT = "look whether it shows a whole head; give a brain mask (--strip FILE) or another stripper, or --strip never"


def _foreign(mask: NDArray[np.bool_], volume: NDArray[np.float32]) -> str:
    """Return what a scan is if its values show that it is no MRI of a brain; else empty."""
    low, one, middle, three, high, top = np.percentile(volume[mask], [5, 25, 50, 75, 95, 99.9])
    air = float(np.mean(volume < HOUNSFIELD_AIR))
    bone = float(np.percentile(volume, 99))
    if air > AIR_SHARE:
        return f"a CT by its values: {air:.0%} of the voxels are below {HOUNSFIELD_AIR:.0f}, as air is there"
    if bone > BONE and abs(middle) < min(SOFT, bone / BONE_RATIO):
        return (
            f"a CT by its values: what is brightest is {bone:.0f}, as bone is there, the brain {middle:.0f}"
        )
    if three - one < EVEN_SHARE * middle:
        return "a CT by its values: all of the brain is alike"
    if low >= 0 and top > VESSELS * high:
        times = top / max(float(middle), 1e-6)
        return f"an angiogram: its brightest parts are {times:.0f} times as bright as the brain"
    return ""


def _cut_through(mask: NDArray[np.bool_], head: NDArray[np.bool_], scan: HeadScan) -> str:
    """Say where the end of a scan comes near to the brain's; empty if nowhere.

    Raises:
        MaskError: If the scan ends in the midst of the brain.
    """
    if np.count_nonzero(scan.volume) < 1.3 * np.count_nonzero(mask):
        return ""  # the brain alone: it has no surroundings to end in
    said, shown = "", _shown(scan.volume)
    for axis, (near, share, names) in enumerate(zip(EDGE_MM, OUT_SHARE, _ENDS, strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        first, last = shown[axis]
        inside, around = (
            part.sum(axis=others) / max(1, part.sum(axis=others).max()) for part in (mask, head)
        )
        depth = min(max(1, round(near / scan.spacing[axis])), last - first)
        for name, outermost, step in zip(names, (first, last - 1), (1, -1), strict=True):
            end = outermost + step * np.arange(depth)
            found, open_ = float(inside[end].max()), float(around[outermost])
            runs_out = name == "top" and found > RUNS_OUT and open_ > FULL_SHARE
            if runs_out or (found > share and open_ > OPEN_SHARE):
                raise MaskError(
                    f"the scan is cut through the brain: it ends inside it at the {name}",
                    file=scan.place,
                    hint=_WHOLE,
                )
            if found > share / 2 and open_ > OPEN_SHARE:
                said = f"the scan ends near the brain at the {name}: look whether a part of it is missing"
    return said


def _shown(volume: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return from where to where along each axis a scan shows anything: empty slices, added by a program, do not count.

    Where the air is exactly 0, nobody can tell: then it is the whole volume.
    """
    box = bounding_box(volume != 0)
    inner = volume[box]
    noisy = np.count_nonzero(inner) > _NOISY * inner.size
    return [(side.start, side.stop) for side in box] if noisy else [(0, size) for size in volume.shape]


_NOISY = 0.95  # of the voxels that are not 0: the air is measured
_ENDS = (("bottom", "top"), ("front", "back"), ("right", "left"))


def _sizes(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> list[float]:
    """Return how high, long and wide a mask is, in mm."""
    return [(side.stop - side.start) * size for side, size in zip(bounding_box(mask), spacing, strict=True)]


def head_of(volume: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the head with all that it encloses slice by slice, (Z, Y, X) bool."""
    top = float(np.percentile(volume, 99))
    if not top > 0:
        return np.zeros(volume.shape, bool)
    bright = volume > _SURFACE * top
    return largest_component(np.stack([ndimage.binary_fill_holes(each) for each in bright]))


def scalp_share(
    mask: NDArray[np.bool_], head: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> float:
    """Return which share of the topmost part of a mask lies so near to the air that it is skin or bone."""
    levels = np.flatnonzero(mask.any(axis=(1, 2)))
    first = max(0, int(levels[-1]) - round(TOP_MM / spacing[0]))
    # The part above the mask counts too: the distance is to the nearest air, and beyond the last slice there is air
    # only if the head ends before it.
    part = slice(max(0, first - round(2 * SHALLOW_MM / spacing[0])), None)
    padded = np.pad(head[part], 1, mode="edge")
    depth = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1]
    top = mask[part].copy()
    top[: first - part.start] = False
    return float((depth[top] < SHALLOW_MM).mean()) if top.any() else 0.0


def cut_off(mask: NDArray[np.bool_]) -> str:
    """Return which part of a mask is much smaller than its mirrored part, in words; empty if none is."""
    axis = midline(mask)
    across = mirrored(mask, axis)
    z, y, _ = bounding_box(mask)
    right = 2 * np.arange(mask.shape[2]) < axis  # column 0 is the patient's right
    worst, name = SIDE_SHARE, ""
    for low, level in enumerate(("lower", "upper")):
        levels = _part(z, low, 2)
        for place, part in enumerate(("front", "middle", "back")):
            rows = _part(y, place, 3)
            one = int(np.count_nonzero(mask[levels, rows][..., right]))
            other = int(np.count_nonzero(across[levels, rows][..., right]))
            share = min(one, other) / max(one, other, 1)
            if share < worst:
                worst, name = share, f"{level} {part} on the {'right' if one < other else 'left'}"
    return name


def _part(side: slice, index: int, parts: int) -> slice:
    length = side.stop - side.start
    return slice(side.start + length * index // parts, side.start + length * (index + 1) // parts)


def front_gap(
    mask: NDArray[np.bool_], head: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> float | None:
    """Return how far behind the outline of the head the upper half of a mask begins, in mm; None if it is too small."""
    levels = np.flatnonzero(mask.any(axis=(1, 2)))
    middle, high = levels[len(levels) // 2], levels[int(0.85 * (len(levels) - 1))]
    brain, around = mask[middle : high + 1], head[middle : high + 1]
    long = brain.sum(axis=1) * spacing[1] >= _LARGE_MM
    if not long.any():
        return None
    gaps = (brain.argmax(axis=1) - around.argmax(axis=1))[long]
    return float(np.median(gaps) * spacing[1])
