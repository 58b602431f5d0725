"""Distance between the surfaces of a detected mask and the reference.

Policy: a distance needs two surfaces. If either mask is empty, it is NaN: such patients are left out of a mean, and
counted. Read the mean beside that count, because a detector gets rid of its hard patients by detecting nothing in
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from .components import Mask, as_voxels
from .overlap import NAN

PERCENTILE = 95

FEW = 1000
"""So few voxels are looked up one by one."""

SOME = 16
"""One voxel in so many stands for all where that is enough."""

BLOCK = 4
"""Side of a block, in voxels: the distance of one of its voxels bounds that of all others."""


def hd95(mask: Mask, reference: Mask, spacing: Sequence[float]) -> float:
    """Return the 95th percentile Hausdorff distance in mm.

    The surface of a mask is its voxels with a face neighbour outside it; everything beyond the array is outside. The
    distances go from each surface voxel of one mask to the nearest one of the other, between the centres of voxels.
    The result is their 95th percentile (linear interpolation), and the larger of the two directions (Huttenlocher et
    al. 1993, with a percentile in place of the maximum). MONAI's ``compute_hausdorff_distance`` gives the same in
    single precision.

    Volumes of a single slice are measured in 2-D, without the slice's thickness.

    Args:
        mask: Detected mask (Z, Y, X) or (Y, X); values > 0 are in it.
        reference: Lesion mask of the same shape; values > 0 are in it.
        spacing: Size of a voxel (z, y, x) or (y, x) in mm.

    Returns:
        The distance; NaN if either mask is empty.

    Raises:
        ValueError: If the shapes differ or are neither (Z, Y, X) nor (Y, X), or the number of spacings differs from
            the number of axes.
    """
    detected, lesion = as_voxels(mask, reference)
    if (axes := detected.mask.ndim) not in (2, 3):
        raise ValueError(f"surfaces are compared in 2 or 3 dimensions, not {axes}")
    if len(spacing) != axes:
        raise ValueError(f"masks of {axes} dimensions need as many spacings, not {len(spacing)}")
    if not len(detected) or not len(lesion):
        return NAN
    one, other = (voxels.points[voxels.on_surface] for voxels in (detected, lesion))
    return surface_distance(one, other, spacing)


def surface_distance(one: NDArray[np.intp], other: NDArray[np.intp], spacing: Sequence[float]) -> float:
    """Return `hd95` of two surfaces, given as the indices (N, axes) of their voxels; in a plane, of its two axes."""
    spacing = [float(size) for size in spacing][-one.shape[1] :]
    # The last digits do not depend on where in the scan they are.
    first = np.minimum(one.min(axis=0), other.min(axis=0))
    one, other = one - first, other - first
    few, many = sorted((one, other), key=len)
    far = _percentile(many, few, spacing)
    # Most often the other direction is shorter. Distances to some of the voxels are enough to tell.
    if len(some := many[::SOME]) > FEW // 4 and _percentile(few, some, spacing) * (1 + 1e-9) <= far:
        return far
    return max(far, _percentile(few, many, spacing))


def _percentile(here: NDArray[np.intp], there: NDArray[np.intp], spacing: list[float]) -> float:
    """Return the percentile of the distances in mm from each voxel (N, axes) to the nearest one of others."""
    # Neither a balanced nor a compact tree: they take longer to make than they save.
    tree = KDTree(there * spacing, compact_nodes=False, balanced_tree=False)
    if len(here) <= FEW:
        return float(np.percentile(_distances(here, there, tree, spacing), PERCENTILE))
    # Only voxels about as far away as the percentile have to be looked up; a block tells which these are.
    sides = here.max(axis=0) // BLOCK + 1
    _, first, block = np.unique(
        np.ravel_multi_index(tuple((here // BLOCK).T), tuple(sides)), return_index=True, return_inverse=True
    )
    middle = _distances(here[first], there, tree, spacing)
    reach = float(np.linalg.norm((BLOCK - 1) * np.array(spacing))) * (1 + 1e-9)
    low, high = (middle - reach)[block], (middle + reach)[block]
    rank = int((len(here) - 1) * PERCENTILE / 100)  # between this one and the next, give or take rounding
    around = [max(rank - 1, 0), min(rank + 2, len(here) - 1)]
    below, above = np.partition(low, around)[around[0]], np.partition(high, around)[around[1]]
    unsure = np.flatnonzero((high >= below) & (low <= above))
    # All others are on the right side of the percentile, wherever they are there.
    distances = np.where(high < below, high, low)
    distances[unsure] = _distances(here[unsure], there, tree, spacing)
    return float(np.percentile(distances, PERCENTILE))


def _distances(
    here: NDArray[np.intp], there: NDArray[np.intp], tree: KDTree, spacing: list[float]
) -> NDArray[np.float64]:
    """Return the distance in mm from each voxel (N, axes) to the nearest one of others, which are in a tree."""
    _, nearest = tree.query(here * spacing)
    return np.asarray(np.sqrt(np.square((there[nearest] - here) * spacing).sum(axis=1)))
