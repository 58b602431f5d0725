"""The voxel grid of a scan on disk, and the exact way between it and canonical LPS ``(Z, Y, X)``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import affines, orientations
from numpy.typing import NDArray

_LPS = orientations.axcodes2ornt(("L", "P", "S"))


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape, affine and header of the file a volume came from.

    Only axis flips and permutations lie between the file and the canonical order, so that the way back is
    exact for every axis order, oblique affines included.

    Attributes:
        shape: Voxels along the file's own three axes.
        affine: (4, 4) voxel to world (RAS+ millimetres, NIfTI's convention).
        header: The NIfTI header to write back with, or None for sources without one.
        has_orientation: False if the file states no orientation (qform and sform code 0).
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    header: Any = field(default=None, repr=False)
    has_orientation: bool = True

    @classmethod
    def of_spacing(cls, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
        """Return an axis-aligned RAS+ grid for a canonical volume that came without an affine.

        Args:
            shape: Canonical (Z, Y, X).
            spacing: Canonical (z, y, x) in mm.
        """
        affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
        return cls((shape[2], shape[1], shape[0]), affine, has_orientation=False)

    @property
    def axcodes(self) -> str:
        """Direction in which each axis of the file grows, for instance ``"LAS"``."""
        return "".join(code or "?" for code in nib.aff2axcodes(self.affine))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Canonical (z, y, x) voxel size in mm."""
        sizes = self._inverse_order(affines.voxel_sizes(self.affine))
        return (float(sizes[2]), float(sizes[1]), float(sizes[0]))

    @property
    def canonical_shape(self) -> tuple[int, int, int]:
        """(Z, Y, X) of the canonical volume."""
        sizes = self._inverse_order(np.asarray(self.shape))
        return (int(sizes[2]), int(sizes[1]), int(sizes[0]))

    def to_canonical(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return the file's (i, j, k) array as canonical LPS (Z, Y, X), C-contiguous."""
        oriented = orientations.apply_orientation(data, self._to_lps)
        return np.ascontiguousarray(np.transpose(oriented, (2, 1, 0)))

    def to_source(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Return a canonical (Z, Y, X) volume in the file's own axis order. Inverse of ``to_canonical``."""
        back = orientations.ornt_transform(_LPS, orientations.io_orientation(self.affine))
        return np.asarray(orientations.apply_orientation(np.transpose(volume, (2, 1, 0)), back))

    @property
    def canonical_affine(self) -> NDArray[np.float64]:
        """(4, 4) from the indices (x, y, z) of the canonical volume, in this order, to RAS+ millimetres."""
        return np.asarray(self.affine @ orientations.inv_ornt_aff(self._to_lps, self.shape))

    def matches(self, other: Grid) -> bool:
        """Whether both put every voxel of the canonical volume at the same place, to within a tenth of a voxel.

        The axis orders of the two files may differ: in canonical order their volumes are the same voxels.
        """
        shape = self.canonical_shape
        if shape != other.canonical_shape:
            return False
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape[::-1]])).reshape(3, -1).T
        here = affines.apply_affine(self.canonical_affine, corners)
        there = affines.apply_affine(other.canonical_affine, corners)
        tolerance = 0.1 * float(affines.voxel_sizes(self.affine).min())
        return bool(np.abs(here - there).max() <= tolerance)

    @property
    def placed(self) -> bool:
        """Whether the affine says where the volume lies: it is moved from the origin, or turned.

        No scanner puts the corner of a scan at the origin; a program does that was given voxels alone.
        """
        matrix = self.affine[:3, :3]
        return bool(self.affine[:3, 3].any() or (matrix != np.diag(np.diag(matrix))).any())

    @property
    def identity(self) -> bool:
        """Whether it is not placed and has voxels of 1 mm: the affine of which no program knows anything."""
        return not self.placed and bool((np.abs(np.diag(self.affine)) == 1).all())

    def overlaps(self, other: Grid) -> bool:
        """Whether the bounding boxes of the two grids share some volume in world space."""
        low, high = self._bounds()
        other_low, other_high = other._bounds()
        return bool(np.all(np.minimum(high, other_high) - np.maximum(low, other_low) > 0))

    def _bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in self.shape])).reshape(3, -1).T
        world = affines.apply_affine(self.affine, corners)
        return world.min(axis=0), world.max(axis=0)

    @property
    def _to_lps(self) -> NDArray[np.float64]:
        return np.asarray(orientations.ornt_transform(orientations.io_orientation(self.affine), _LPS))

    def _inverse_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Reorder one value per file axis to one per canonical (x, y, z) axis."""
        ordered = np.empty(3, dtype=np.asarray(values).dtype)
        for axis, target in enumerate(self._to_lps[:, 0].astype(int)):
            ordered[target] = values[axis]
        return ordered
