"""Writing results as NIfTI in the grid of the scan they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import OutputError, ParameterError
from .grid import Grid
from .headers import geometry, settle
from .marks import Kind, mark
from .patient import Patient


def save_volume(
    volume: NDArray[Any], patient: Patient, path: str | Path, *, kind: Kind | None = None
) -> Path:
    """Write a volume as NIfTI in the patient's own grid, orientation and affine. Atomic.

    Of the patient's header nothing goes along but where voxels lie: qform, sform and units. What it says about the
    patient, the scanner or programs stays behind.

    Args:
        volume: (Z, Y, X) canonical, as loaded: bool and integers are written as integers, the rest as float32.
        patient: The patient whose grid to use. Where the parts of its header disagree about the place, what is
            written agrees with the affine used here.
        path: File that ends in ``.nii`` or ``.nii.gz``; its folder must exist.
        kind: What kind of result it is; it says so in its header, and is then never taken for a scan or a reference.

    Returns:
        The path written.

    Raises:
        ParameterError: If the shape is not the patient's.
        OutputError: If the file cannot be written.
    """
    array = np.asarray(volume)
    if array.shape != patient.shape:
        raise ParameterError(
            f"a volume of shape {array.shape} does not fit the patient's {patient.shape}",
            hint="give a volume on the patient's grid",
        )
    return write_volume(array, patient.grid, path, kind=kind)


def write_volume(volume: NDArray[Any], grid: Grid, path: str | Path, *, kind: Kind | None = None) -> Path:
    """Write a volume as NIfTI on a grid, as `save_volume` does.

    Raises:
        OutputError: If the file cannot be written.
    """
    target = Path(path)
    if not target.name.lower().endswith((".nii", ".nii.gz")):
        raise OutputError("the name does not say NIfTI", file=target, hint="let it end in .nii.gz")
    data = grid.to_source(_storable(volume))
    header = None if grid.header is None else geometry(grid.header)
    if header is not None:
        header.set_data_dtype(data.dtype)
    made = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = made(data, grid.affine, header)
    settle(image.header, grid.affine, fresh=header is None)
    if kind is not None:
        mark(image.header, kind)
    with atomic_path(target) as temporary:
        nib.save(image, temporary)
    return target


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype.kind in "iu":
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        for kind in (np.uint8, np.int16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return array.astype(kind)
        return array.astype(np.float32)
    return array.astype(np.float32, copy=False)
