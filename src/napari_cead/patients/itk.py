"""Grids whose world is LPS+, as ITK, DICOM and NRRD have them; and SimpleITK, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GeometryError, printable
from .grid import Grid

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def simpleitk() -> Any:
    """Return the module, with the warnings that it prints by itself turned off."""
    sitk: Any = import_module("SimpleITK")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return sitk


def grid_of_lps(
    size: tuple[int, ...],
    axes: NDArray[np.float64],
    origin: NDArray[np.float64],
    *,
    has_orientation: bool,
    file: Path,
) -> Grid:
    """Return a grid whose world is LPS+, as in DICOM.

    Args:
        size: Voxels along (i, j, k).
        axes: (3, 3): in each column, the step from a voxel to the next in mm.
        origin: Middle of the first voxel in mm.
        has_orientation: Whether the file states an orientation.
        file: To name in an error.

    Raises:
        PatientError: If the axes span no space.
    """
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, origin
    affine = _LPS_TO_RAS @ affine
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise GeometryError(
            "the geometry in the header is not usable", file=file, hint="export the scan again"
        )
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine, None, has_orientation)


def why(error: BaseException) -> str:
    """Return what a library had to say; of SimpleITK, without the place in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = lines[-1] if lines else type(error).__name__
    words = words.removeprefix("sitk::ERROR:").strip()
    return printable(words[:120])
