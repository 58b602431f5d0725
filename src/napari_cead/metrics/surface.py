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
    directions = (_distances(one, other, spacing), _distances(other, one, spacing))
    return float(max(np.percentile(distances, PERCENTILE) for distances in directions))


def _distances(
    here: NDArray[np.intp], there: NDArray[np.intp], spacing: Sequence[float]
) -> NDArray[np.float64]:
    """Return the distance in mm from each voxel (N, axes) to the nearest one of others."""
    # Neither a balanced nor a compact tree: they take longer to make than they save.
    tree = KDTree(there * spacing, compact_nodes=False, balanced_tree=False)
    _, nearest = tree.query(here * spacing)
    return np.asarray(np.sqrt(np.square((there[nearest] - here) * spacing).sum(axis=1)))
