"""The rules by which intensities and lesion masks are accepted, and how volumes come onto another grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GeometryError, IntensityError, MaskError
from .backgrounds import joined_to_border, still_background, zero_background
from .findings import Note
from .formats.nifti import read_volume
from .grid import Grid
from .resampling import resample
from .volume import Volume

__all__ = [
    "MAX_MASK_VALUES",
    "Volume",
    "clean_intensities",
    "clean_mask",
    "onto",
    "read_volume",
    "voxel_for_voxel",
]

MAX_MASK_VALUES = 16


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
                "100% of the values are NaN or infinite", file=what, hint="export the scan again"
            )
        holes = ~finite
        inside = holes & ~joined_to_border(holes)
        volume = np.where(finite, volume, np.float32(0))
        if padded := (np.count_nonzero(holes) - np.count_nonzero(inside)) / holes.size:
            warnings.append(
                f"{padded:.2%} of the values are NaN or infinite and joined to the border: they are background"
            )
    for clean in (zero_background, still_background):
        moved, note = clean(volume)
        if moved is not None:
            volume = moved
            warnings.append(note)
            if holes is not None:
                volume[holes] = 0
    if inside is not None and (lost := np.count_nonzero(inside)):
        share = lost / (lost + np.count_nonzero(volume))
        if share > 0.5:
            raise IntensityError(
                f"{share:.0%} of the values in the brain are NaN or infinite",
                file=what,
                hint="export the scan again",
            )
        warnings.append(f"{share:.2%} of the values in the brain are NaN or infinite and count as background")
    if (total == 0 or not np.isfinite(total) or warnings) and not volume.any():
        raise IntensityError(
            "the volume is zero everywhere", file=what, hint="choose a scan that holds a brain"
        )
    return volume, tuple(Note("intensities", said, what) for said in warnings)


def clean_mask(data: NDArray[Any], what: str) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return a lesion mask as bool: values above 0 are lesion, several labels are accepted.

    Raises:
        MaskError: If values are negative, are not integers, or are more than 16: then it is an image.
    """
    array = np.asarray(data)
    if array.dtype == bool:
        return array, ()
    hint = "give a lesion mask, with 0 for background"
    marked = array[array != 0]  # NaN too; most of a mask is background
    if array.dtype.kind == "f":
        if not np.isfinite(marked).all():
            raise MaskError("the lesion mask holds NaN or infinite values", file=what, hint=hint)
        if not np.array_equal(marked, np.rint(marked)):
            raise MaskError(
                "the values are not whole numbers, so this is an image, not a mask", file=what, hint=hint
            )
    elif array.dtype.kind not in "iu":
        raise MaskError(f"a mask cannot have values of type {array.dtype}", file=what, hint=hint)
    values = np.unique(marked)
    if len(values) and values[0] < 0:
        below = int(np.count_nonzero(marked < 0))
        raise MaskError(
            f"{below:,} voxels of the mask are negative (down to {values[0]:g}), as 255 is where it was stored as a "
            "signed 8-bit number",
            file=what,
            hint="save it with 0 for background and 1 for lesion",
        )
    count = len(values) + (marked.size < array.size)
    if count > MAX_MASK_VALUES:
        raise MaskError(f"{count} different values, so this is an image, not a mask", file=what, hint=hint)
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
        note: str = Note("voxel-for-voxel", f"{doubt}, taken voxel for voxel", what)
        if here.has_orientation and grid.has_orientation:
            note = Note(
                "voxel-for-voxel",
                f"{doubt}, taken voxel for voxel: make sure that it was made on the voxels of the scan, and save it "
                "with the scan's affine",
                what,
            )
        return Volume(grid.to_canonical(here.to_source(volume.data)), grid, (*volume.warnings, note))
    if here.matches(grid):
        return Volume(volume.data, grid, volume.warnings)
    if not here.overlaps(grid):
        raise GeometryError(
            "the image lies outside the chosen scan",
            file=what,
            hint="give a file of the same patient and space",
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
