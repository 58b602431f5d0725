"""The brain of one synthetic patient: the ICBM-152 tissue maps, warped and sharpened into an individual."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import extra
from ..patients.brain import largest_component
from .fields import Array, Axes, Grid, smooth_field, stream


@dataclass(frozen=True)
class TissueMaps:
    """Maps of the average brain, (Z, Y, X) float32 in LPS order at 1 mm.

    Args:
        grey: Probability of grey matter.
        white: Probability of white matter.
        brain: Brain mask, smoothed, so that its level sets are smaller and larger brains.
        remote: 1 where cortex of normal thickness does not reach: the sulci of an individual run there.
        ventricles: Smoothed map of the ventricles; the white matter beside them is where it is between 0 and 1.
        origin: Coordinates (z, y, x) of the first voxel in mm, LPS.
    """

    grey: Array
    white: Array
    brain: Array
    remote: Array
    ventricles: Array
    origin: tuple[float, float, float]


@lru_cache(maxsize=1)
def tissue_maps() -> TissueMaps:
    """Load the ICBM-152 2009a tissue maps that nilearn packages (Fonov et al. 2011); no network is needed.

    Raises:
        MissingExtraError: If nilearn is not installed.
    """
    with extra("phantom", "The phantom"):
        import nibabel as nib
        from nilearn.datasets import (
            load_mni152_brain_mask,
            load_mni152_gm_template,
            load_mni152_wm_template,
        )
    origin = (0.0, 0.0, 0.0)
    maps = []
    for load in (load_mni152_gm_template, load_mni152_wm_template, load_mni152_brain_mask):
        image = load(resolution=1)
        to_lps = nib.orientations.ornt_transform(
            nib.io_orientation(image.affine), nib.orientations.axcodes2ornt("LPS")
        )
        image = image.as_reoriented(to_lps)
        maps.append(np.ascontiguousarray(np.asarray(image.dataobj, dtype=np.float32).T))
        x, y, z = image.affine[:3, 3]
        origin = (float(z), -float(y), -float(x))
    grey, white, mask = maps
    fluid = np.clip(mask - grey - white, 0, 1)
    z, y, x = _mm(grey.shape, origin)
    in_deep_box = (np.abs(x) < 42) & (y > -50) & (y < 62) & (z > -25) & (z < 36)
    inside = ndimage.gaussian_filter(mask, 9, truncate=2) > 0.93
    ventricles = np.where(in_deep_box & inside & (fluid > 0.5), np.float32(1), np.float32(0))
    return TissueMaps(
        grey=grey,
        white=white,
        brain=ndimage.gaussian_filter(mask, 1.7, truncate=3),
        remote=np.clip(1 - ndimage.gaussian_filter(white, 2.0, truncate=3) / 0.2, 0, 1),
        ventricles=ndimage.gaussian_filter(ventricles, 2.5, truncate=3),
        origin=origin,
    )


def _mm(shape: tuple[int, ...], origin: tuple[float, float, float]) -> list[Array]:
    """Return open coordinate arrays (z, y, x) in mm."""
    return [
        (np.arange(count, dtype=np.float32) + np.float32(start)).reshape(
            [-1 if a == b else 1 for b in range(3)]
        )
        for a, (count, start) in enumerate(zip(shape, origin, strict=True))
    ]


@dataclass(frozen=True)
class Anatomy:
    """One brain. Flat arrays hold one value per brain voxel, in the order of ``brain[box]``.

    Args:
        box: Slices of the brain's bounding box in the volume.
        axes: Coordinates of the box's voxels along z, y and x in mm from the centre of the field of view.
        brain: (z, y, x) bool within the box.
        grey: Fraction of grey matter, flat.
        white: Fraction of white matter, flat.
        fluid: Fraction of cerebrospinal fluid, flat.
        place: (3, n) position (z, y, x) in the average brain in mm, LPS.
        rim: 0 at the brain's surface, 1 well inside, flat.
        ventricles: Closeness to the ventricles, flat.
        deep: 1 in the deep nuclei and the brain stem, flat.
    """

    box: tuple[slice, slice, slice]
    axes: Axes
    brain: NDArray[np.bool_]
    grey: Array
    white: Array
    fluid: Array
    place: Array
    rim: Array
    ventricles: Array
    deep: Array

    def fill(self, values: Array) -> Array:
        """Return flat ``values`` as a volume of the box, 0 outside the brain."""
        volume = np.zeros(self.brain.shape, np.float32)
        volume[self.brain] = values
        return volume


def make_anatomy(seed: int, number: int, grid: Grid) -> Anatomy:
    """Return the brain of patient ``number`` on ``grid``.

    Raises:
        MissingExtraError: If nilearn is not installed.
    """
    maps = tissue_maps()
    axes = grid.axes()
    place = _warp(seed, number, axes)
    index = [place[a] - maps.origin[a] for a in range(3)]
    rng = stream(seed, number, "edge")
    surface = _sample(maps.brain, index)
    # Brain extraction never follows the surface exactly.
    level = np.float32(rng.uniform(0.5, 0.75)) + np.float32(0.07) * smooth_field(rng, axes, 7.0)
    brain = surface > level
    brain = largest_component(brain)
    brain = ~largest_component(~brain)  # no holes
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    brain = brain[box]
    inner: Axes = (axes[0][box[0]], axes[1][box[1]], axes[2][box[2]])
    index = [part[box][brain] for part in index]
    where = np.stack([part[box][brain] for part in place])
    nuclei = _ellipsoid(where, (2, 10, 0), (20, 32, 34))
    stem = _ellipsoid(where, (-32, 26, 0), (34, 17, 22))
    deep = np.minimum(nuclei + stem, np.float32(1))
    grey, white, fluid = _tissues(seed, number, maps, inner, brain, index, where, deep)
    return Anatomy(
        box=box,
        axes=inner,
        brain=brain,
        grey=grey,
        white=white,
        fluid=fluid,
        place=where,
        rim=np.clip((surface[box][brain] - 0.5) * 2, 0, 1),
        ventricles=_sample(maps.ventricles, index),
        deep=deep,
    )


def _sample(volume: Array, index: list[Array]) -> Array:
    """Interpolate linearly at fractional indices."""
    result: Array = ndimage.map_coordinates(volume, index, output=np.float32, order=1, mode="constant")
    return result


def _warp(seed: int, number: int, axes: Axes) -> list[Array]:
    """Return the position (z, y, x) in the average brain of every voxel, in mm (LPS)."""
    rng = stream(seed, number, "pose")
    tilt, roll, turn = np.radians(rng.normal(0, [4.0, 2.0, 3.0]))  # about x, y and z
    # The average brain is larger than brains are on average.
    size = np.minimum(0.93 * np.exp(rng.normal(0, 0.025)) * np.exp(rng.normal(0, 0.018, 3)), 0.98)
    shift = rng.normal([0.0, 0.0, 0.0], [1.5, 4.0, 2.5])

    def rotation(angle: float, first: int, second: int) -> NDArray[np.float64]:
        matrix = np.eye(3)
        matrix[first, first] = matrix[second, second] = np.cos(angle)
        matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
        return matrix

    turned = rotation(tilt, 0, 1) @ rotation(roll, 0, 2) @ rotation(turn, 1, 2)
    matrix = (turned / size).astype(np.float32)
    # Centre of the average brain (z, y, x): the brain fills the slices from the foramen magnum to the vertex.
    centre = np.array([5.0, 18.0, 0.0]) - matrix @ shift

    z, y, x = (part.reshape([-1 if a == b else 1 for b in range(3)]) for a, part in enumerate(axes))
    rng = stream(seed, number, "warp")
    coarse, fine = rng.uniform(1.2, 2.4), rng.uniform(1.0, 1.7)
    place = []
    for a in range(3):
        part = smooth_field(rng, axes, 50.0) * np.float32(coarse)
        part += smooth_field(rng, axes, 13.0) * np.float32(fine)
        part += matrix[a, 0] * z + matrix[a, 1] * y + matrix[a, 2] * x + np.float32(centre[a])
        place.append(part)
    # Ventricles differ in size more than anything else: widen or narrow the middle of the brain.
    widen = np.float32(rng.uniform(-0.05, 0.38))
    middle = (12.0, 14.0, 0.0)
    squared = sum(((place[a] - np.float32(middle[a])) / np.float32(24.0)) ** 2 for a in range(3))
    shrink = widen * np.exp(np.float32(-0.5) * squared)
    for a in range(3):
        place[a] -= shrink * (place[a] - np.float32(middle[a]))
    return place


def _tissues(
    seed: int,
    number: int,
    maps: TissueMaps,
    axes: Axes,
    brain: NDArray[np.bool_],
    index: list[Array],
    place: Array,
    deep: Array,
) -> tuple[Array, Array, Array]:
    """Return the fractions of grey matter, white matter and fluid, flat.

    The maps are averages, blurred by how people differ. Smooth noise on the log-probabilities and a softmax
    at a low temperature pick one of the brains that the average is made of.
    """
    rng = stream(seed, number, "tissue")
    grey, white, remote = (_sample(volume, index) for volume in (maps.grey, maps.white, maps.remote))
    z, y, x = place
    one = np.float32(1)
    cerebellum = _ellipsoid(place, (-36, 62, 0), (30, 34, 58))
    cortex = (one - deep) * (one - cerebellum)
    fluid = np.clip(one - grey - white, 0, 1)

    def noise(scale: float) -> Array:
        return smooth_field(rng, axes, scale)[brain]

    folia_axis = np.sqrt((z + 28) ** 2 * np.float32(1.4) + (y - 48) ** 2 + (x * np.float32(0.75)) ** 2)
    folia = np.sin(folia_axis * np.float32(2 * np.pi / 4.4) + np.float32(1.6) * noise(9.0))
    # The cortex is 2 to 4 mm thick: grey matter that the average shows farther from white matter holds sulci.
    atrophy = np.float32(rng.uniform(0.3, 0.7))
    fluid += atrophy * remote * grey * cortex * np.clip(1 + np.float32(0.6) * noise(9.0), 0, 2)
    fluid += np.float32(0.5) * grey * cerebellum * np.clip(folia, 0, 1)
    sharpness = np.float32(2.6)
    logits = np.stack([np.log(part + np.float32(0.025)) for part in (grey, white, fluid)])
    # Deep nuclei and brain stem are mixtures in every person, not only on average: keep them mixed.
    logits *= sharpness * (one - np.float32(0.62) * deep)
    logits[2] += cortex * (np.float32(0.5) + np.float32(1.5) * noise(4.5))
    logits[2] += cerebellum * np.float32(0.8) * noise(4.0)
    logits[1] += cortex * np.float32(0.35) + (one - np.float32(0.7) * deep) * np.float32(0.9) * noise(6.0)
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits[0], logits[1], logits[2]


def _ellipsoid(place: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """Return 1 inside an ellipsoid given in mm (z, y, x), falling smoothly to 0 around its surface."""
    radius = np.zeros(place.shape[1], np.float32)
    for part, middle, reach in zip(place, centre, radii, strict=True):
        radius += ((part - np.float32(middle)) / np.float32(reach)) ** 2
    result: Array = 1 / (1 + np.exp(np.minimum(np.float32(8) * (radius - 1), np.float32(30))))
    return result
