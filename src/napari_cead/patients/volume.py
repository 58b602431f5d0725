"""One three-dimensional image as every reader returns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .grid import Grid


@dataclass(frozen=True, eq=False)
class Volume:
    """One three-dimensional image.

    Attributes:
        data: (Z, Y, X) in canonical LPS order, the file's values as they are.
        grid: The file's own grid.
        warnings: What the reader assumed.
        numbers: Of a folder of slices, the number that each slice has; empty for anything else.
    """

    data: NDArray[Any]
    grid: Grid
    warnings: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        values: ArrayLike,
        affine: ArrayLike,
        *,
        has_orientation: bool = True,
        warnings: tuple[str, ...] = (),
    ) -> Volume:
        """Return the volume of a file that holds its voxels in axes of its own.

        Args:
            values: (I, J, K) real numbers, in the order of the file's axes.
            affine: (4, 4) from the indices (i, j, k) to RAS+ millimetres, as nibabel has it.
            has_orientation: Whether the file states where left and right are.
            warnings: What was assumed; each begins with the file's name.

        Raises:
            ValueError: If the values are no volume of real numbers, or the affine cannot be inverted.
        """
        array, matrix = np.asarray(values), np.asarray(affine, dtype=np.float64)
        if array.ndim != 3 or not array.size or array.dtype.kind not in "biuf":
            raise ValueError(f"{array.shape} values of type {array.dtype} are no volume")
        if (
            matrix.shape != (4, 4)
            or not np.isfinite(matrix).all()
            or abs(np.linalg.det(matrix[:3, :3])) < 1e-9
        ):
            raise ValueError("the affine is not usable")
        shape = (array.shape[0], array.shape[1], array.shape[2])
        grid = Grid(shape, matrix, None, has_orientation)
        return cls(grid.to_canonical(array), grid, warnings)
