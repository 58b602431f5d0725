"""Reading one NIfTI file, and the rules by which intensities and lesion masks are accepted."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import FileHolder, ImageFileError
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from ..errors import MaskError, PatientError
from .grid import Grid
from .headers import placement
from .resampling import resample

MAX_MASK_VALUES = 16
MAX_VOXELS = 2**31
_GZIP = 31  # zlib's way to say: a gzip header, the largest window
_LONGEST_HEADER = 1024  # bytes; NIfTI-2 has 540
_MEND_READ = "copy the file again or convert it to NIfTI anew"


@dataclass(frozen=True, eq=False)
class Volume:
    """One three-dimensional image.

    Attributes:
        data: (Z, Y, X) in canonical LPS order, the file's values as they are.
        grid: The file's own grid.
        warnings: What the reader assumed.
    """

    data: NDArray[Any]
    grid: Grid
    warnings: tuple[str, ...] = ()


def read_volume(path: Path, dtype: Any = np.float32) -> Volume:
    """Read a three-dimensional NIfTI or Analyze file (4-D files with one volume count as 3-D).

    Raises:
        PatientError: If the file is missing, damaged, or not one real-valued volume.
    """
    image = _open(path)
    shape = tuple(int(size) for size in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    kind = image.get_data_dtype()
    if kind.fields is not None:
        raise PatientError(
            "the image is in colour (RGB)", file=path, mend="give a scan with one value per voxel"
        )
    if kind.kind == "c":
        raise PatientError("the image is complex-valued", file=path, mend="give the magnitude image")
    if len(shape) != 3:
        raise PatientError(
            f"the image has {len(shape)} dimensions {shape}",
            file=path,
            mend="give one three-dimensional volume",
        )
    if min(shape) < 1 or int(np.prod(shape, dtype=object)) > MAX_VOXELS:
        raise PatientError(f"the header declares an impossible size {shape}", file=path, mend=_MEND_READ)
    try:
        data = np.asarray(image.get_fdata(dtype=dtype, caching="unchanged")).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError, MemoryError) as error:
        raise PatientError(
            f"the image data cannot be read ({_why(error)})", file=path, mend=_MEND_READ
        ) from error
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise PatientError("the affine in the header is not usable", file=path, mend="repair qform or sform")
    size = (shape[0], shape[1], shape[2])
    found = placement(image, size, path.name)
    grid = Grid(size, found.affine, found.header, found.has_orientation)
    return Volume(grid.to_canonical(data), grid, found.notes)


def _open(path: Path) -> Any:
    if not path.is_file():
        raise PatientError("there is no such file", file=path, mend="check the path")
    if path.stat().st_size == 0:
        raise PatientError("the file is empty", file=path, mend=_MEND_READ)
    inflated = _inflated(path)
    if inflated is not None:
        return inflated
    try:
        # Not mapped: a file that another program shortens while it is open would end this one.
        image: Any = nib.load(path, mmap=False)
    except (ImageFileError, OSError, EOFError, zlib.error, ValueError, TypeError, KeyError) as error:
        raise PatientError(
            f"the file cannot be read as NIfTI ({_why(error)})", file=path, mend=_MEND_READ
        ) from error
    if not hasattr(image, "get_fdata") or not isinstance(image, SpatialImage):
        raise PatientError("the file is not a volume", file=path, mend="give a NIfTI scan")
    return image


def _inflated(path: Path) -> Any:
    """Return a compressed NIfTI image inflated in one go, as far as its header says; None where that fails.

    nibabel reads through Python's gzip in small pieces and holds the interpreter between them, so that several files
    read in threads wait for each other. Whatever is unusual about a file is left to it.
    """
    if not path.name.lower().endswith(".nii.gz"):
        return None
    try:
        packed = path.read_bytes()
        start = zlib.decompressobj(_GZIP).decompress(packed, _LONGEST_HEADER)
        for kind in (nib.Nifti1Image, nib.Nifti2Image):
            if not kind.header_class.may_contain_header(start):
                continue
            header = kind.header_class(start[: kind.header_class.template_dtype.itemsize], check=False)
            shape = header.get_data_shape()
            voxels = int(np.prod(shape, dtype=object))
            if not 0 < voxels <= MAX_VOXELS or voxels != int(np.prod(shape[:3], dtype=object)):
                return None
            size = int(header.get_data_offset()) + voxels * header.get_data_dtype().itemsize
            data = zlib.decompressobj(_GZIP).decompress(packed, size)
            if len(data) < size:
                return None
            return kind.from_file_map({"image": FileHolder(fileobj=io.BytesIO(data))})
    except Exception:
        return None
    return None


def _why(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return words[0][:120] if words else type(error).__name__


def clean_intensities(data: NDArray[Any], what: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return intensities as float32 with NaN and infinities as background (0).

    Args:
        data: (Z, Y, X) real values.
        what: File or layer to name in messages.

    Returns:
        The volume and the warnings (share of values that were not finite).

    Raises:
        PatientError: If over half of the values are not finite, or nothing but background is left.
    """
    volume = np.asarray(data, dtype=np.float32)
    warnings: tuple[str, ...] = ()
    # A sum is finite only if every value is (or it overflows): one cheap pass in the normal case.
    with np.errstate(over="ignore", invalid="ignore"):
        total = volume.sum()
    if not np.isfinite(total):
        finite = np.isfinite(volume)
        share = 1.0 - float(finite.mean())
        if share > 0.5:
            raise PatientError(
                f"{share:.0%} of the values are NaN or infinite", file=what, mend="export the scan again"
            )
        if share > 0:
            volume = np.where(finite, volume, np.float32(0))
            warnings = (f"{what}: {share:.2%} of the values are NaN or infinite and count as background",)
    if (total == 0 or not np.isfinite(total)) and not volume.any():
        raise PatientError(
            "the volume is zero everywhere", file=what, mend="choose a scan that holds a brain"
        )
    return volume, warnings


def clean_mask(data: NDArray[Any], what: str) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return a lesion mask as bool: values above 0 are lesion, several labels are accepted.

    Raises:
        MaskError: If the values are not integers or there are more than 16 of them: then it is an image.
    """
    array = np.asarray(data)
    if array.dtype == bool:
        return array, ()
    mend = "give a lesion mask, with 0 for background"
    marked = array[array != 0]  # NaN too; most of a mask is background
    if array.dtype.kind == "f":
        if not np.isfinite(marked).all():
            raise MaskError("the lesion mask holds NaN or infinite values", file=what, mend=mend)
        if not np.array_equal(marked, np.rint(marked)):
            raise MaskError(
                "the values are not whole numbers, so this is an image, not a mask", file=what, mend=mend
            )
    elif array.dtype.kind not in "iu":
        raise MaskError(f"a mask cannot have values of type {array.dtype}", file=what, mend=mend)
    values = np.unique(marked)
    count = len(values) + (marked.size < array.size)
    if count > MAX_MASK_VALUES:
        raise MaskError(f"{count} different values, so this is an image, not a mask", file=what, mend=mend)
    labels = [int(value) for value in values if value > 0]
    warnings: tuple[str, ...] = ()
    if len(labels) > 1:
        warnings = (f"{what}: labels {', '.join(map(str, labels))} all count as lesion",)
    return array > 0, warnings


def onto(volume: Volume, grid: Grid, order: int, what: str) -> Volume:
    """Bring a volume onto another grid: as it is where they agree, resampled where they overlap.

    Args:
        volume: Volume on its own grid.
        grid: The wanted grid.
        order: Spline order: 1 for images, 0 for masks.
        what: File to name in messages.

    Raises:
        PatientError: If the two grids share no space.
    """
    here = volume.grid
    unknown = not here.has_orientation or (grid.header is not None and not grid.has_orientation)
    if unknown and here.shape == grid.shape and not np.allclose(here.affine, grid.affine, atol=1e-4):
        note = f"{what}: no orientation in the header, taken voxel for voxel"
        return Volume(grid.to_canonical(here.to_source(volume.data)), grid, (*volume.warnings, note))
    if here.matches(grid):
        return Volume(volume.data, grid, volume.warnings)
    if not here.overlaps(grid):
        raise PatientError(
            "the image lies outside the chosen scan",
            file=what,
            mend="give a file of the same patient and space",
        )
    moved = resample(volume.data, here, grid, order)
    note = (
        f"{what}: on another grid, resampled ({'nearest' if order == 0 else 'linear'}) to the chosen sequence"
    )
    return Volume(moved, grid, (*volume.warnings, note))
