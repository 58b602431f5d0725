"""Reading one NIfTI file, and the rules by which intensities and lesion masks are accepted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from ..errors import (
    GeometryError,
    IntensityError,
    MaskError,
    PatientNotFoundError,
    UnreadableError,
    UnsupportedError,
    why,
)
from .backgrounds import joined_to_border, still_background, zero_background
from .grid import Grid
from .headers import placement
from .limits import check_held, check_memory, check_shape
from .nifti import read_header
from .repairs import repairs
from .resampling import resample

MAX_MASK_VALUES = 16
_MEND_READ = "copy the file again or convert it to NIfTI anew"


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


def read_volume(path: Path) -> Volume:
    """Read a three-dimensional NIfTI or Analyze file (4-D files with one volume count as 3-D).

    The size that the header declares is checked before memory is taken. Integers that the file does not scale stay
    integers; all other values become float32.

    Raises:
        PatientError: If the file is missing, damaged, too large, or not one real-valued volume.
    """
    try:
        with repairs() as repaired:
            volume = _read_volume(path)
    except OSError as error:  # a network folder that went away, a broken disk
        raise UnreadableError(
            f"the file cannot be read ({error.strerror or why(error)})",
            file=path,
            mend="check the disk or the network folder",
        ) from error
    notes = tuple(f"{path.name}: the header is not as it should be ({note})" for note in repaired)
    return replace(volume, warnings=(*notes, *volume.warnings))


def _read_volume(path: Path) -> Volume:
    if path.is_dir():
        raise PatientNotFoundError("this is a folder, not a file", file=path, mend="give a NIfTI file")
    if not path.is_file():
        raise PatientNotFoundError("there is no such file", file=path, mend="check the path")
    if path.stat().st_size == 0:
        raise UnreadableError("the file is empty", file=path, mend=_MEND_READ)
    image: Any = read_header(path) or _by_nibabel(path)
    shape, dropped = _three_dimensional(tuple(int(size) for size in image.shape), path)
    kind = np.dtype(image.dtype)
    if kind.fields is not None:
        raise UnsupportedError(
            "the image is in colour (RGB)", file=path, mend="give a scan with one value per voxel"
        )
    if kind.kind == "c":
        raise UnsupportedError("the image is complex-valued", file=path, mend="give the magnitude image")
    if not dropped:
        raise UnsupportedError(
            f"the image has {len(shape)} dimensions {shape}",
            file=path,
            mend="give one three-dimensional volume",
        )
    image.check_size()
    try:
        affine = np.asarray(image.affine, dtype=np.float64)
    except Exception as error:  # bytes that anybody wrote: nibabel raises of all kinds
        raise GeometryError(
            f"the affine in the header is not usable ({why(error)})", file=path, mend="repair qform or sform"
        ) from error
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9 or _flat(affine):
        raise GeometryError("the affine in the header is not usable", file=path, mend="repair qform or sform")
    try:
        data = np.asarray(image.data()).reshape(shape, order="F")
    except OSError:
        raise
    except Exception as error:  # likewise
        raise UnreadableError(
            f"the image data cannot be read ({why(error)})", file=path, mend=_MEND_READ
        ) from error
    size = (shape[0], shape[1], shape[2])
    found = placement(image.image if isinstance(image, _Other) else image, size, path.name)
    grid = Grid(size, found.affine, found.header, found.has_orientation)
    return Volume(grid.to_canonical(data), grid, found.notes)


def _three_dimensional(shape: tuple[int, ...], path: Path) -> tuple[tuple[int, ...], bool]:
    """Return the shape as three lengths where it can be, and whether it can."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    return shape, len(shape) == 3


def _flat(affine: NDArray[np.float64]) -> bool:
    """Whether two axes of the file run along one another so closely that no orientation follows from them."""
    with np.errstate(over="ignore", invalid="ignore"):  # numbers of any size stand in headers
        return not np.isfinite(io_orientation(affine)).all()


class _Other:
    """An image that nibabel reads: a pair of files, Analyze, or a NIfTI file that is unusual."""

    def __init__(self, path: Path, image: Any) -> None:
        self._path, self.image = path, image
        self.shape, self.affine, self.header = image.shape, image.affine, image.header
        self.dtype = image.get_data_dtype()

    def check_size(self) -> None:
        voxels = check_shape(self.shape, self._path)
        held = self.image.file_map.get("image")
        file = self._path if held is None or held.filename is None else Path(held.filename)
        if file.suffix.lower() not in (".bz2", ".zst"):  # these have no limit to speak of
            offset = max(0, int(getattr(self.image.dataobj, "offset", 0)))
            packed = file.suffix.lower() in (".gz", ".mgz")
            check_held(offset + voxels * self.dtype.itemsize, file, packed=packed)
        check_memory(voxels * (self.dtype.itemsize + 8), self._path)

    def data(self) -> NDArray[np.float32]:
        return np.asarray(self.image.get_fdata(dtype=np.float32, caching="unchanged"))


def _by_nibabel(path: Path) -> _Other:
    try:
        image: Any = nib.load(path, mmap=False)  # a mapped file that is cut short ends the process
        if hasattr(image, "get_fdata") and isinstance(image, SpatialImage):
            return _Other(path, image)
    except Exception as error:  # bytes that anybody wrote: nibabel and what it calls raise of all kinds
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # the disk; gzip's own complaints have no number
            raise
        raise UnreadableError(
            f"the file cannot be read as NIfTI ({why(error)})", file=path, mend=_MEND_READ
        ) from error
    raise UnsupportedError("the file is not a volume", file=path, mend="give a NIfTI scan")


def clean_intensities(data: NDArray[Any], what: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return intensities as float32 with a background of exactly 0; NaN and infinities are background.

    Args:
        data: (Z, Y, X) real values.
        what: File or layer to name in messages.

    Returns:
        The volume, and what was done to it: the share of values that were not finite, a background that was not 0.

    Raises:
        PatientError: If over half of the brain is not finite, or nothing but background is left.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit into float32 becomes infinite
        volume = np.asarray(data, dtype=np.float32)
        # A sum is finite only if every value is (or it overflows): one cheap pass in the normal case.
        total = volume.sum()
    warnings: list[str] = []
    holes = inside = None
    if not np.isfinite(total) and not (finite := np.isfinite(volume)).all():
        if not finite.any():
            raise IntensityError(
                "100% of the values are NaN or infinite", file=what, mend="export the scan again"
            )
        holes = ~finite
        inside = holes & ~joined_to_border(holes)
        volume = np.where(finite, volume, np.float32(0))
        if padded := (np.count_nonzero(holes) - np.count_nonzero(inside)) / holes.size:
            warnings.append(
                f"{what}: {padded:.2%} of the values are NaN or infinite and joined to the border: they are background"
            )
    for clean in (zero_background, still_background):
        moved, note = clean(volume)
        if moved is not None:
            volume = moved
            warnings.append(f"{what}: {note}")
            if holes is not None:
                volume[holes] = 0
    if inside is not None and (lost := np.count_nonzero(inside)):
        share = lost / (lost + np.count_nonzero(volume))
        if share > 0.5:
            raise IntensityError(
                f"{share:.0%} of the values in the brain are NaN or infinite",
                file=what,
                mend="export the scan again",
            )
        warnings.append(
            f"{what}: {share:.2%} of the values in the brain are NaN or infinite and count as background"
        )
    if (total == 0 or not np.isfinite(total) or warnings) and not volume.any():
        raise IntensityError(
            "the volume is zero everywhere", file=what, mend="choose a scan that holds a brain"
        )
    return volume, tuple(warnings)


def clean_mask(data: NDArray[Any], what: str) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return a lesion mask as bool: values above 0 are lesion, several labels are accepted.

    Raises:
        MaskError: If values are negative, are not integers, or are more than 16: then it is an image.
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
    if len(values) and values[0] < 0:
        below = int(np.count_nonzero(marked < 0))
        raise MaskError(
            f"{below:,} voxels of the mask are negative (down to {values[0]:g}), as 255 is where it was stored as a "
            "signed 8-bit number",
            file=what,
            mend="save it with 0 for background and 1 for lesion",
        )
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
    if doubt := voxel_for_voxel(here, grid):
        note = f"{what}: {doubt}, taken voxel for voxel"
        if here.has_orientation and grid.has_orientation:
            note += (
                ": make sure that it was made on the voxels of the scan, and save it with the scan's affine"
            )
        return Volume(grid.to_canonical(here.to_source(volume.data)), grid, (*volume.warnings, note))
    if here.matches(grid):
        return Volume(volume.data, grid, volume.warnings)
    if not here.overlaps(grid):
        raise GeometryError(
            "the image lies outside the chosen scan",
            file=what,
            mend="give a file of the same patient and space",
        )
    # Integers would be rounded.
    data = volume.data if order == 0 else np.asarray(volume.data, dtype=np.float32)
    moved = resample(data, here, grid, order)
    note = (
        f"{what}: on another grid, resampled ({'nearest' if order == 0 else 'linear'}) to the chosen sequence"
    )
    return Volume(moved, grid, (*volume.warnings, note))


def lies_elsewhere(here: Grid, grid: Grid) -> bool:
    """Whether a volume has to be resampled to lie on another grid.

    Args:
        here: Grid of the volume.
        grid: The other grid.
    """
    return not voxel_for_voxel(here, grid) and not here.matches(grid)


def voxel_for_voxel(here: Grid, grid: Grid) -> str:
    """Say why a volume of the same shape has to be taken voxel for voxel, whatever its header says; empty if not.

    Args:
        here: Grid of the volume.
        grid: Grid of the chosen scan.
    """
    if here.shape != grid.shape or np.allclose(here.affine, grid.affine, atol=1e-4):
        return ""
    if not here.has_orientation or (grid.header is not None and not grid.has_orientation):
        return "no orientation in the header"
    if not grid.has_orientation or here.matches(grid):
        return ""
    if here.placed or not (grid.placed or (here.identity and not grid.identity)):
        return ""
    kind = "is the identity" if here.identity else "has neither a position nor a direction"
    return f"its affine {kind}, which says nothing about where it lies"
