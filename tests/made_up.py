"""Whole heads, and what is none: a CT, an angiogram, a knee; all made up, (Z, Y, X) float32 of 2 mm."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SPACING = (2.0, 2.0, 2.0)
_SHAPE = (90, 110, 96)


def _ellipsoid(shape, radii, centre=(0, 0, 0)):
    axes = [
        (np.arange(size) - size / 2) * spacing - middle
        for size, spacing, middle in zip(shape, SPACING, centre, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return (z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2 <= 1


def _parts():
    """Head, the inside of the skull, the brain, its grey rim and its ventricles."""
    head = _ellipsoid(_SHAPE, (88, 104, 86))
    skull = _ellipsoid(_SHAPE, (78, 96, 78), (4, 0, 0))
    inside = _ellipsoid(_SHAPE, (70, 88, 70), (4, 0, 0))
    brain = _ellipsoid(_SHAPE, (66, 84, 67), (4, 0, 0))
    white = _ellipsoid(_SHAPE, (56, 72, 56), (4, 0, 0))
    liquid = _ellipsoid(_SHAPE, (14, 30, 8), (6, 0, 10)) | _ellipsoid(_SHAPE, (14, 30, 8), (6, 0, -10))
    return head, skull, inside, brain, white, liquid


FLAIR, T1 = (330, 25, 60, 230, 180, 40), (350, 30, 40, 150, 210, 50)
"""Levels of scalp, bone, what lies around the brain, grey matter, white matter, and liquid."""


def head(levels: tuple[int, ...] = FLAIR, seed: int = 0) -> np.ndarray:
    """A whole head in one contrast; the same seed is the same anatomy."""
    rng = np.random.default_rng(seed)
    volume = np.zeros(_SHAPE, np.float32)
    for part, level in zip(_parts(), levels, strict=True):
        volume[part] = level
    folds = ndimage.gaussian_filter(rng.normal(0, 1, _SHAPE), 3)
    volume *= 1 + 0.15 * folds / folds.std() * (1 if levels is FLAIR else -1)
    noise = np.random.default_rng((seed, *levels)).normal(0, 4, _SHAPE)
    return np.abs(ndimage.gaussian_filter(volume, 0.5) + noise).astype(np.float32)


def brain_of_head() -> np.ndarray:
    """Where the brain of all these heads is, bool."""
    return _parts()[3]


def ct(seed: int = 0) -> np.ndarray:
    """A CT of a head in Hounsfield units: air -1000, fat -90, bone 1100, brain 25 to 40, on a table."""
    rng = np.random.default_rng(seed)
    head, skull, inside, brain, white, liquid = _parts()
    volume = np.full(_SHAPE, -1000, np.float32)
    for part, level in (
        (head, 20),
        (skull, 1100),
        (inside, 10),
        (brain, 38),
        (white, 28),
        (liquid, 5),
    ):
        volume[part] = level
    volume[:, -4:-2, 20:-20] = 200
    volume = ndimage.gaussian_filter(volume, 0.5)
    return np.maximum(volume + rng.normal(0, 8, _SHAPE), -1024).round().astype(np.float32)


def angiogram(seed: int = 0) -> np.ndarray:
    """A time-of-flight angiogram: a dim head, in which arteries are the brightest by far."""
    rng = np.random.default_rng(seed)
    head, skull, inside, brain, white, liquid = _parts()
    volume = np.zeros(_SHAPE, np.float32)
    for part, level in ((head, 110), (skull, 20), (inside, 40), (brain, 85), (white, 95), (liquid, 40)):
        volume[part] = level
    tubes = np.zeros(_SHAPE, bool)
    for _ in range(40):
        place, step = np.array([20.0, 55.0, 48.0]), rng.normal(0, 1, 3) + np.array([0.8, 0, 0])
        for _ in range(120):
            step = step + rng.normal(0, 0.25, 3)
            step /= np.linalg.norm(step)
            place = place + 0.6 * step
            index = tuple(np.rint(place).astype(int))
            if not all(0 <= at < size for at, size in zip(index, _SHAPE, strict=True)) or not brain[index]:
                break
            tubes[index] = True
    volume[ndimage.binary_dilation(tubes)] = 700
    return np.abs(volume + rng.normal(0, 6, _SHAPE)).astype(np.float32)


def knee(seed: int = 0) -> np.ndarray:
    """A knee: two cylinders of bright marrow in dark bone, muscle, and bright fat under the skin."""
    rng = np.random.default_rng(seed)
    z, y, x = ((np.arange(size) - size / 2) * spacing for size, spacing in zip(_SHAPE, SPACING, strict=True))
    around = np.hypot(y[None, :, None], x[None, None, :] * 1.05) + 0 * z[:, None, None]
    wide = 22 + 12 * np.exp(-((z / 25) ** 2))[:, None, None]  # the condyles
    bone = np.hypot(y[None, :, None] + 8, x[None, None, :]) + 0 * z[:, None, None]
    volume = np.zeros(_SHAPE, np.float32)
    for part, level in (
        (around < 68, 330),
        (around < 60, 120),
        (bone < wide + 3, 25),
        (bone < wide, 280),
        ((np.abs(z) < 4)[:, None, None] & (bone < wide + 3), 60),
    ):
        volume[part] = level
    volume = ndimage.gaussian_filter(volume, 0.5) + ndimage.gaussian_filter(rng.normal(0, 30, _SHAPE), 1)
    return np.abs(volume + rng.normal(0, 4, _SHAPE)).astype(np.float32)
