"""Judge whether a scan is skull-stripped: is there a ring of scalp with the dark bone under it?

A model of healthy brains sees scalp and bone as one large anomaly, and learns to draw them if it is trained on them.
On T1, T2 and FLAIR alike, fat and skin are bright and cortical bone is dark. Going inwards from the outline of the
head, the profile of a scan with its skull therefore falls into a gap and rises again to the brain; that of a stripped
brain rises to the cortex and stays. Sulci are gaps too, but narrow ones: they vanish in the mean over neighbouring
rays, unlike the skull.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..metrics.overlap import bounding_box

RAYS = 72
SLICES = 16
HEAD_RADIUS = 80
"""Samples from the middle to the outline: about one per millimetre of an adult's head, whatever the voxel size."""
DEPTH = 40
"""Samples of a profile, inwards from the outline."""
GAP = slice(2, 22)
"""Depths at which the bone may lie."""
DEEP = 0.4
"""A gap is this share darker than the tissue outside and inside it."""
LIMIT = 0.35
"""A scan with gaps under more than this share of its outline has a skull. See docs/explanation/stripping.md."""
BELOW_TOP_MM = 65
"""Slices of an adult's head farther below its top show more of eyes and jaw, and then of neck and shoulders."""
FILLED_BORDER = 0.5
"""A scan with values other than 0 in more than this share of its slices' border has no background of 0."""

_OUTLINE = 0.25  # of the typical brain intensity
_TOP = 0.25  # share of the largest slice's area that the highest slice of the head has at least
_SPECK = 0.005  # share of the head below which a piece is noise
_LEAST_PIXELS = 8  # radius below which nothing can be seen


@dataclass(frozen=True)
class SkullVerdict:
    """Findings about the skull and the background of a scan.

    Attributes:
        stripped: Whether the scan looks skull-stripped.
        score: Share in [0, 1] of the outline (median over slices) with a dark gap under it.
        filled_border: Share of the slices' border pixels that are not 0.
        sentence: The finding, for the user.
    """

    stripped: bool
    score: float
    filled_border: float
    sentence: str

    @property
    def zero_background(self) -> bool:
        """Whether the background is 0, so that all other voxels are the brain."""
        return self.filled_border <= FILLED_BORDER

    @property
    def brain_only(self) -> bool:
        """Whether the scan can be used without a brain mask."""
        return self.stripped and self.zero_background

    @property
    def doubt(self) -> str:
        """One clause for the user that casts doubt on an anomaly map; empty without doubt."""
        if self.brain_only:
            return ""
        return (
            f"{self.sentence}: a scan that is not skull-stripped, or whose background is not 0, has a meaningless "
            "anomaly map"
        )


def looks_skull_stripped(
    volume: NDArray[Any], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> SkullVerdict:
    """Judge whether a scan is skull-stripped, whatever its background is.

    Args:
        volume: (Z, Y, X) intensities.
        spacing: (z, y, x) in mm; only the ratio of the last two matters.

    Returns:
        The verdict. A scan too small or with too little contrast to tell counts as stripped with score 0.
    """
    values = np.asarray(volume)
    border = np.concatenate(
        [values[:, 0].ravel(), values[:, -1].ravel(), values[..., 0].ravel(), values[..., -1].ravel()]
    )
    filled = float((border != 0).mean())
    profiles = _profiles(values, spacing[1] / spacing[2])
    score = 0.0 if profiles is None else float(np.median((_gaps(profiles) > DEEP).mean(axis=1)))
    stripped = score < LIMIT
    if not stripped:
        sentence = f"not skull-stripped: under {score:.0%} of the outline lies a dark gap, as under a scalp"
    elif filled > FILLED_BORDER:
        sentence = f"the background is not 0 ({filled:.0%} of the slices' border)"
    else:
        sentence = "looks skull-stripped"
    return SkullVerdict(stripped, round(score, 4), round(filled, 4), sentence)


def fullest_slice(volume: NDArray[Any], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> int:
    """Return the slice with most of a head's upper part, stripped or not, whatever its background is.

    Args:
        volume: (Z, Y, X) intensities.
        spacing: (z, y, x) in mm.
    """
    small, _ = _above_background(np.asarray(volume))
    level = _brain_level(small)
    areas = (small > (0 if level is None else _OUTLINE * level)).sum(axis=(1, 2))
    top = int(np.flatnonzero(areas >= _TOP * areas.max())[-1])
    first = max(0, top - round(BELOW_TOP_MM / spacing[0]))
    return first + int(areas[first : top + 1].argmax())


def _profiles(volume: NDArray[Any], ratio: float) -> NDArray[np.float32] | None:
    """Return (slices, RAYS, DEPTH) profiles inwards from the outline, 1 being the typical brain; None if none."""
    small, background = _above_background(volume)
    level = _brain_level(small)
    if level is None:
        return None
    areas = (small > _OUTLINE * level).sum(axis=(1, 2))
    large = np.flatnonzero(areas >= 0.5 * areas.max())
    chosen = large[np.unique(np.linspace(0, len(large) - 1, min(SLICES, len(large))).round().astype(int))]
    rays = [_rays(np.asarray(volume[index], dtype=np.float32) - background, level, ratio) for index in chosen]
    found = [each for each in rays if each is not None]
    return np.stack(found) / np.float32(level) if found else None


def _above_background(volume: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Return coarse slices less their background, and the background."""
    corners = _corners(volume)
    low, middle, high = np.percentile(corners, [10, 50, 90])
    step = max(1, volume.shape[1] // 64), max(1, volume.shape[2] // 64)
    small = np.asarray(volume[:, :: step[0], :: step[1]], dtype=np.float32)
    # Corners that vary as much as the scan are tissue: the field of view is smaller than the head.
    reach = float(np.percentile(small, 99)) - middle
    background = middle if high - low < 0.2 * reach else 0.0
    return small - background, background


def _corners(volume: NDArray[Any]) -> NDArray[Any]:
    y, x = max(1, volume.shape[1] // 12), max(1, volume.shape[2] // 12)
    parts = [
        volume[:, rows, columns]
        for rows in (slice(y), slice(-y, None))
        for columns in (slice(x), slice(-x, None))
    ]
    return np.concatenate([part.ravel() for part in parts])


def _brain_level(volume: NDArray[np.float32]) -> float | None:
    """Return the median intensity in the middle of the head."""
    top = float(np.percentile(volume, 99))
    if not top > 0:
        return None
    rough = volume > 0.1 * top
    quarters = [(side, (side.stop - side.start) // 4) for side in bounding_box(rough)]
    core = volume[tuple(slice(side.start + quarter, side.stop - quarter) for side, quarter in quarters)]
    core = core[core > 0.05 * top]
    return float(np.median(core)) if core.size else None


def _rays(image: NDArray[np.float32], level: float, ratio: float) -> NDArray[np.float32] | None:
    """Return the (RAYS, DEPTH) profiles of one slice, in units of the image."""
    head = _without_specks(image > _OUTLINE * level)
    rows, columns = bounding_box(head)
    centre = (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2
    half = (rows.stop - rows.start) / 2, (columns.stop - columns.start) / 2
    if min(half) < _LEAST_PIXELS:
        return None
    radius = math.sqrt(half[0] * ratio * half[1])  # in columns
    unit = radius / HEAD_RADIUS
    smooth = ndimage.gaussian_filter(image, (0.7 * unit / ratio, 0.7 * unit))
    angles = np.linspace(0, 2 * np.pi, RAYS, endpoint=False)[:, None]
    reach = math.hypot(half[0] * ratio, half[1])
    distance = np.arange(0, reach + unit, unit)[None]
    places = np.stack([centre[0] + distance * np.sin(angles) / ratio, centre[1] + distance * np.cos(angles)])
    values = ndimage.map_coordinates(smooth, places, order=1, mode="constant")
    inside = ndimage.map_coordinates(head.astype(np.float32), places, order=1, mode="constant") > 0.5
    outline = inside.shape[1] - 1 - np.argmax(inside[:, ::-1], axis=1)
    index = outline[:, None] - np.arange(DEPTH)[None]
    profile = np.take_along_axis(values, np.maximum(index, 0), axis=1)
    return np.where((index >= 0) & inside.any(axis=1)[:, None], profile, 0).astype(np.float32)


def _without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop small pieces, such as noise in the air; a scalp two pixels thin stays, which an opening would drop."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _SPECK * sizes.sum())[labels] & mask)


def _gaps(profiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (slices, RAYS): how much darker the darkest depth is than the tissue outside and inside it."""
    smooth = ndimage.uniform_filter1d(profiles, 5, axis=1, mode="wrap")
    if len(smooth) > 2:
        smooth = ndimage.uniform_filter1d(smooth, 3, axis=0, mode="nearest")
    outer = np.maximum.accumulate(smooth, axis=2)
    inner = np.maximum.accumulate(smooth[..., ::-1], axis=2)[..., ::-1]
    around = np.clip(np.minimum(outer, inner), 1e-6, 1)
    return np.asarray((1 - smooth / around)[..., GAP].max(axis=2), dtype=np.float32)
