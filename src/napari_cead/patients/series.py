"""Reading a DICOM series as a volume in its own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import GeometryError, UnreadableError, UnsupportedError
from .dicom import MEND, SAME_DIRECTION, Series, header_of, series_of
from .itk import grid_of, grid_of_lps, simpleitk, why
from .limits import MAX_VOXELS, check_memory
from .volumes import Volume

_UNEVEN = 0.01
_MISSING = 1.5  # times the usual gap


def read_series(path: str | Path) -> Volume:
    """Read one series as a volume in its own grid.

    Slices are put in order by where they lie, not by name or number.

    Args:
        path: ``FOLDER#KEY``, or a file of the series.

    Raises:
        PatientError: If the series cannot be used.
    """
    series = series_of(path)
    if series.unusable:
        raise UnsupportedError(
            f"the series is no scan of a brain: {series.unusable}", file=path, mend="choose another"
        )
    try:
        if len(series.files) == 1:
            return _read_one(series.files[0], Path(path))
        return _read_slices(series, Path(path))
    except RuntimeError as error:
        raise UnreadableError(f"the series cannot be read ({why(error)})", file=path, mend=MEND) from error


def _read_one(file: Path, path: Path) -> Volume:
    """Read a file that holds all slices."""
    sitk = simpleitk()
    image = sitk.ReadImage(str(file), sitk.sitkFloat32)
    grid = grid_of(image, has_orientation=True, file=path)
    data = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    return Volume(grid.to_canonical(np.asarray(data)), grid, ())


def _read_slices(series: Series, path: Path) -> Volume:
    sitk = simpleitk()
    headers = [header_of(file) for file in series.files]
    if any(header is None for header in headers):
        raise UnreadableError("a file of the series cannot be read", file=path, mend=MEND)
    found = [header for header in headers if header is not None]
    first = found[0]
    for header in found:
        if header.size != first.size or not np.allclose(header.spacing, first.spacing, rtol=1e-3):
            raise GeometryError(
                "the slices differ in size or voxel size", file=path, mend="give a series of one size"
            )
        if header.axes is None or np.abs(header.axes - first.axes).max() > SAME_DIRECTION:
            raise GeometryError(
                "the slices do not lie parallel", file=path, mend="give a series of one plane"
            )
    if first.size[0] * first.size[1] * len(found) > MAX_VOXELS:
        raise GeometryError("the series is impossibly large", file=path, mend=MEND)
    check_memory(8 * first.size[0] * first.size[1] * len(found), path)
    rows, columns = first.axes
    normal = np.cross(rows, columns)
    order = sorted(range(len(found)), key=lambda index: float(found[index].position @ normal))
    names, found = [str(series.files[index]) for index in order], [found[index] for index in order]
    heights = np.array([header.position @ normal for header in found])
    gaps = np.diff(heights)
    if gaps.min() < 1e-3:
        raise UnsupportedError(
            "several slices lie at the same place (a series over time, or of several echoes)",
            file=path,
            mend="give a series of one volume",
        )
    step = (found[-1].position - found[0].position) / (len(found) - 1)
    axes = np.stack([rows * first.spacing[0], columns * first.spacing[1], step], axis=1)
    size = (first.size[0], first.size[1], len(found))
    grid = grid_of_lps(size, axes, found[0].position, has_orientation=True, file=path)
    image = sitk.ReadImage(names, sitk.sitkFloat32)
    data = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    return Volume(grid.to_canonical(np.asarray(data)), grid, _about_gaps(gaps, path.name))


def _about_gaps(gaps: NDArray[np.float64], name: str) -> tuple[str, ...]:
    usual = float(np.median(gaps))
    if gaps.max() - gaps.min() <= max(_UNEVEN * usual, 0.01):
        return ()
    missing = "; slices seem to be missing" if gaps.max() > _MISSING * usual else ""
    return (
        f"{name}: slices lie {gaps.min():.3g} to {gaps.max():.3g} mm apart{missing}; "
        f"an even {gaps.mean():.3g} mm is assumed",
    )
