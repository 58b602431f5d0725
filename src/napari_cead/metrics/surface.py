"""Distance between the surfaces of a detected mask and the reference.

Policy: a distance needs two surfaces. If either mask is empty, it is NaN: such patients are left out of a mean, and
counted. Read the mean beside that count, because a detector gets rid of its hard patients by detecting nothing in
them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .overlap import NAN, as_masks, bounding_box

PERCENTILE = 95


def hd95(mask: ArrayLike, reference: ArrayLike, spacing: Sequence[float]) -> float:
    """Return the 95th percentile Hausdorff distance in mm, as MONAI computes it.

    The surface of a mask is its voxels with a face neighbour outside it; everything beyond the array is outside. The
    distances go from each surface voxel of one mask to the nearest one of the other, between the centres of voxels.
    The result is their 95th percentile (linear interpolation), and the larger of the two directions (Huttenlocher et
    al. 1993, with a percentile in place of the maximum).

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
        ImportError: If MONAI is not installed.
    """
    detected, lesion = as_masks(mask, reference)
    if detected.ndim not in (2, 3):
        raise ValueError(f"surfaces are compared in 2 or 3 dimensions, not {detected.ndim}")
    if len(spacing) != detected.ndim:
        raise ValueError(f"masks of {detected.ndim} dimensions need as many spacings, not {len(spacing)}")
    if not detected.any() or not lesion.any():
        return NAN
    sizes = [float(size) for size in spacing]
    if detected.ndim == 3 and len(detected) == 1:
        detected, lesion, sizes = detected[0], lesion[0], sizes[1:]

    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    box = bounding_box(detected | lesion)  # the empty rest of a scan would cost most of the time
    one, other = (torch.from_numpy(np.pad(part[box], 1))[None, None] for part in (detected, lesion))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI calls deprecated functions of its own
        distance = compute_hausdorff_distance(
            one, other, include_background=True, percentile=PERCENTILE, spacing=sizes
        )
    return float(distance)
