"""Brains with a head around them: scalp, dark bone, and a brain whose cortex is lively enough to have sulci."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def make_stripped(shape=(16, 96, 80), seed=0, contrast="flair") -> np.ndarray:
    """A skull-stripped brain (Z, Y, X): deep white matter, a rim of cortex, dark or bright liquid in sulci."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    radius = np.sqrt((z / 1.6) ** 2 + (y / 0.9) ** 2 + (x / 0.85) ** 2)
    brain = radius < 1
    cortex, deep, liquid = {"flair": (110, 100, 25), "t1": (75, 100, 25), "t2": (75, 70, 240)}[contrast]
    volume = np.where(radius > 0.82, cortex, deep).astype(float)
    angle = np.arctan2(y, x)
    sulci = (radius > 0.8) & (np.abs(np.sin(9 * angle + 3 * z)) < 0.16)
    volume[sulci | (radius < 0.13)] = liquid
    turn, shift = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)  # no two are alike
    volume *= 1 + 0.15 * np.sin(5 * (x * np.cos(turn) + y * np.sin(turn)) + shift[0]) * np.cos(
        3 * z + shift[1]
    )
    volume += 4 * rng.standard_normal(shape)
    return np.where(brain, np.maximum(volume, 1), 0).astype(np.float32)


def add_head(volume: np.ndarray, scalp=1.2, bone=0.1, margin=14, bone_width=4, scalp_width=5) -> np.ndarray:
    """The same brain with liquid, bone and scalp around it, in whole voxels per slice; ``scalp`` and ``bone`` are
    shares of the brain's median."""
    wide = np.pad(volume, ((0, 0), (margin, margin), (margin, margin)))
    level = float(np.median(volume[volume != 0]))
    for index, image in enumerate(wide):
        distance = ndimage.distance_transform_edt(~ndimage.binary_fill_holes(image != 0))
        if not (image != 0).any():
            continue
        image[(distance > 0) & (distance <= 1)] = 0.4 * level
        image[(distance > 1) & (distance <= 1 + bone_width)] = bone * level
        image[(distance > 1 + bone_width) & (distance <= 1 + bone_width + scalp_width)] = scalp * level
        wide[index] = image
    return wide
