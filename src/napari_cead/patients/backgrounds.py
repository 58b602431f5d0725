"""Making the background exactly 0 where a file has something else there.

In a skull-stripped scan what is not 0 is the brain. Files that were shifted (z-scores, -1024 of other programs), padded
with a constant or with NaN, or resampled with splines, which ring, break that. The background is therefore found once,
when a scan is read; all that follows sees a background of 0, and the user is told what was assumed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .brain import largest_piece

NOT_QUITE_ZERO = "the background is not exactly 0"
"""What the note of `still_background` begins with."""

FILLED = 0.5
"""Share of the slices' border that a constant has to fill to be the background."""
STATED = 0.1
"""Share of the slices' border that is not 0 from which on there may be a constant that is one only nearly."""
ALMOST_FILLED = 0.9
"""Share of these values that have to be alike: it could be faint noise."""
ALIKE = 0.1
"""How far apart they may be, as a share of what is faint: far from the brain, ripples have died away."""
GAP = 0.25
"""Farther below the brain than this share of the brain's range, a positive constant is not where it was shifted to: a
skull-stripped brain has liquid and a rim that are nearly as dark as the background. Where it rings, the rim is not
looked at, so that it may be twice as far; a broken number, which nobody pads with, as far as the values spread."""
PADDING = frozenset({-1000.0, -1024.0, -2000.0, -2048.0, -3024.0, -32768.0})
"""Constants that programs write where there are no data."""

RINGING = 0.25
"""Voxels that only nearly have the constant, as a share of the brain, from which on it is taken to ring."""

AMIDST = 0.05
"""A constant that more than this share of the values in the depth of the brain lies below is in their midst."""

FAINT = 0.01
"""Share of the brain's own level up to which a value beside the brain is background."""
FAINT_SIGNED = 0.05
"""The same for z-scores within the brain, whose values lie on both sides of 0."""
SIGNED = 0.15
"""A brain in the depth of which more than this share of the values is below 0 holds z-scores."""
OVERSHOOT = 0.1
"""Share of the brain's level that a ripple beside the brain reaches at most; what is brighter there is tissue."""
RIPPLE = 0.01
"""Faint voxels beside the brain, as a share of the brain, from which on the background is taken to ring."""
NOISE = 0.2
"""If more than this share of the slices' border is not even faint, what surrounds the brain is noise, not a ripple."""
TOUCHING = 0.05
"""A brain that fills more than this share of the slices' border is joined to noise."""
TISSUE = 0.25
"""Share of the brain's level above which the border is no noise: there the field of view cuts through the brain."""
SPONGE = 0.75
"""If more than this share of the finite voxels touches holes, the holes are scattered, and not around the brain."""

_SAMPLES = 200_000
_IN_PLANE = np.ones((1, 3, 3), dtype=bool)
_SLAB = 12  # slices, from which on the first and the last are no large part of a scan
_RINGS = 3  # voxels next to the brain in which splines ring much
_UNDERFLOW = 1e-3  # of the largest values: where splines have all but died away


def zero_background(volume: NDArray[Any]) -> tuple[NDArray[np.float32] | None, str]:
    """Return a volume whose background is 0, if another constant is.

    A constant just below the brain's values came from shifting all of them: it is subtracted. One in their midst or
    above them is padding, and so is one far below them (a negative one: farther than they spread, or a number that
    programs are known to pad with while the brain is not negative): those voxels become 0, the others stay as they are.

    Args:
        volume: (Z, Y, X) finite intensities.

    Returns:
        The volume, None if it is right as it is; and what was done, in one clause.
    """
    corners = volume[(0, -1), :, :][:, (0, -1), :][:, :, (0, -1)].ravel()
    border = np.concatenate(
        [side.ravel() for side in (volume[:, 0], volume[:, -1], volume[..., 0], volume[..., -1])]
    )
    level, around = float(corners[0]), 0.0
    if (corners == level).all() and level != 0:
        if np.count_nonzero(border == level) <= FILLED * border.size:
            return None, ""
        near = FAINT * _range(volume)
        alike = np.count_nonzero(np.abs(volume - level) <= near)
        if alike - np.count_nonzero(volume == level) > RINGING * (volume.size - alike):
            around = near  # equal in the corners alone: farther in, it rings
    else:
        # A constant that was resampled rings, and 0 may have been filled in where the old field of view ended.
        stated = border[border != 0]
        if stated.size <= STATED * border.size:  # nothing more to look at in most scans
            return None, ""
        level, around = float(np.median(stated)), FAINT * _range(volume)
        alike = np.count_nonzero(np.abs(stated - level) <= ALIKE * around)
        if abs(level) <= around or alike <= ALMOST_FILLED * stated.size:
            return None, ""
        volume = np.where(joined_to_border(volume == 0), np.float32(level), volume)
    background = np.abs(volume - level) <= around
    inside = volume[~background]
    if not inside.any() or (around and inside.size < RIPPLE * volume.size):
        return None, ""
    low, high = _spread(inside)
    if ringing := low < level:  # unless the constant lies in the midst of the brain's values
        core = _core(largest_piece(volume - level > around, faces_only=True))
        ringing = bool(np.count_nonzero(volume[core] < level) < AMIDST * np.count_nonzero(core))
        if ringing:
            low, high = _spread(volume[core])
            low = max(low, level)
    gap = (low - level) / (high - low) if high > low else np.inf
    if level > 0:
        shifted = 0 <= gap <= (1 if level != np.rint(level) else 2 * GAP if ringing else GAP)
    elif level in PADDING:
        shifted = level <= low < level / 2
    else:  # nobody pads with broken numbers
        shifted = gap >= 0 and (gap <= 1 or level != np.rint(level))
    if ringing and not shifted:
        background |= volume < (level + low) / 2
    offset = np.float32(level) if shifted else np.float32(0)
    result = np.asarray(volume, dtype=np.float32) - offset
    result[background] = 0
    done = f"{level:g} was subtracted from all voxels" if shifted else "these voxels count as 0"
    return result, f"the background is {level:g}, not 0: {done}"


def still_background(volume: NDArray[np.float32]) -> tuple[NDArray[np.float32] | None, str]:
    """Return a volume whose background is 0, if it rings around 0 as resampling with splines leaves it.

    The brain is the largest piece of what stands above a small share of the brain's own level, its holes filled. Beside
    it, what is faint or negative becomes 0. A ripple next to the brain can be brighter than that, but it is parted from
    the brain by an undershoot. The brain's own voxels stay as they are, dark and negative ones too.

    Args:
        volume: (Z, Y, X) finite intensities; the background is about 0.

    Returns:
        The volume, None if it is right as it is; and what was done, in one clause.
    """
    level = typical_level(volume)
    faint = FAINT * level
    above = filled = 0
    for plane in volume:  # slice by slice, in the processor's cache
        above += int(np.count_nonzero(plane > faint))
        filled += int(np.count_nonzero(plane != 0))
    if filled - above <= RIPPLE * above:  # what the scan of a stripped brain with a background of 0 has
        return None, ""
    below = int(np.count_nonzero(volume < -faint))
    signed = below > SIGNED * above and _holds_scores(volume, faint)
    if signed and border_share(volume != 0) <= STATED:  # values near 0 lie in the midst of the brain, too
        return None, ""
    faint *= FAINT_SIGNED / FAINT if signed else 1
    if filled - (above + below if signed else above) <= RIPPLE * above:
        return None, ""
    inside = (np.abs(volume) if signed else volume) > faint
    cut = (np.abs(volume) if signed else volume) > TISSUE * level
    if border_share(inside & ~cut) > NOISE:
        return None, ""
    brain = _without_shells(inside)
    if border_share(brain & ~cut) > max(TOUCHING, TISSUE * border_share(brain & cut)):
        return None, ""
    ripple = (volume != 0) & ~brain & ((np.abs(volume) <= faint) if signed else (volume <= OVERSHOOT * level))
    count = int(np.count_nonzero(ripple))
    if count <= RIPPLE * np.count_nonzero(brain):
        return None, ""
    low, high = float(volume[ripple].min()), float(volume[ripple].max())
    result = np.where(ripple, np.float32(0), volume)
    return result, (
        f"{NOT_QUITE_ZERO}: {count:,} voxels beside the brain hold faint values ({low:.3g} to {high:.3g}), "
        "which count as 0"
    )


def joined_to_border(holes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the holes (NaN, infinities) that are background: those joined to the border of the volume.

    Args:
        holes: (Z, Y, X) bool.

    Returns:
        (Z, Y, X) bool; all false if the holes are scattered over the whole scan, where joined means nothing.
    """
    labels, _ = ndimage.label(holes)
    border = np.zeros(int(labels.max()) + 1, dtype=bool)
    for axis in range(3):
        if holes.shape[axis] > 1:  # a single slice is not all border
            for index in (0, -1):
                border[np.take(labels, index, axis=axis)] = True
    border[0] = False
    outside = np.asarray(border[labels])
    touching = ndimage.binary_dilation(outside) & ~holes
    scattered = np.count_nonzero(touching) > SPONGE * np.count_nonzero(~holes)
    return np.zeros_like(holes) if scattered else outside


def border_share(mask: NDArray[np.bool_]) -> float:
    """Return the share of the slices' border that a mask fills."""
    sides = (mask[:, 0], mask[:, -1], mask[..., 0], mask[..., -1])
    return sum(int(np.count_nonzero(side)) for side in sides) / sum(side.size for side in sides)


def _without_shells(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest piece of a mask without the shells around it, one voxel thin, that ripples are."""
    shape = None if len(mask) > _SLAB else _IN_PLANE
    piece = largest_piece(ndimage.binary_opening(mask, shape), faces_only=True)
    return largest_piece(ndimage.binary_dilation(piece, shape) & mask | piece, faces_only=True)


def _core(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what lies deep in a mask, beyond the voxels that resampling mixes with the background and the ripples."""
    return np.asarray(
        ndimage.binary_erosion(mask, None if len(mask) > _SLAB else _IN_PLANE, iterations=_RINGS)
    )


def _holds_scores(volume: NDArray[np.float32], faint: float) -> bool:
    """Whether many values in the depth of the brain are below 0, and not just those of the ripples around it."""
    core = _core(largest_piece(np.abs(volume) > faint))
    return bool(np.count_nonzero(volume[core] < -faint) > SIGNED * np.count_nonzero(core))


def _sample(volume: NDArray[Any], samples: int = _SAMPLES) -> NDArray[Any]:
    step = max(1, volume.size // samples) | 1  # odd, so that it is not a multiple of the rows of most scans
    return volume.reshape(-1)[::step]


def _range(volume: NDArray[Any]) -> float:
    low, high = _spread(_sample(volume))
    return high - low


def _spread(values: NDArray[Any]) -> tuple[float, float]:
    low, high = np.percentile(values[:: max(1, values.size // _SAMPLES)], [1, 99])
    return float(low), float(high)


def typical_level(volume: NDArray[np.float32]) -> float:
    """Return the brain's own level: the median of what is not far below the largest values; 0 if there are none."""
    values = np.abs(_sample(volume, _SAMPLES // 4))
    values = values[values > 0]
    if not values.size:
        values = np.abs(volume[volume != 0])
    for share, percentile in ((_UNDERFLOW, 99.9), (OVERSHOOT, 99.0)):
        if values.size:
            values = values[values > share * np.percentile(values, percentile)]
    return float(np.median(values)) if values.size else 0.0
