"""Limits on the size of a scan, checked by its header and its file before memory is allocated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import psutil

from ..errors import GeometryError, OutOfMemoryError, UnreadableError, disk_errors

MAX_VOXELS = 2**30
"""Most voxels of a volume: ten times those of a scan of 512 x 512 x 400."""
MAX_PIXELS = 2**26
"""Most pixels of a picture: 8192 x 8192."""
INFLATION = 1032
"""Largest number of bytes from one byte of deflate, which gzip and PNG use."""

_GIB = 2**30
_HINT = "copy the file again or convert it to NIfTI anew"


def check_shape(shape: Sequence[int], file: str | Path, most: int = MAX_VOXELS) -> int:
    """Check the size that a header declares, and return the number of voxels.

    Args:
        shape: As the header has it; anything.
        file: The file.
        most: Most voxels.

    Raises:
        PatientError: If an axis has no length, or there are more voxels than any scan has.
    """
    sizes = [int(size) for size in shape]
    count = math.prod(sizes)
    if not sizes or min(sizes) < 1 or count > most:
        said = tuple(sizes[:8])
        raise GeometryError(f"the header declares an impossible size {said}", file=file, hint=_HINT)
    return count


def check_held(needed: int, file: Path, *, packed: bool) -> None:
    """Check that a file is long enough to hold what its header declares.

    Args:
        needed: Bytes from the start of the (inflated) file.
        file: The file.
        packed: Whether it is compressed by deflate (``.gz``), which no file can be to more than a thousandth.

    Raises:
        PatientError: If it is too short, or unreadable.
    """
    with disk_errors(UnreadableError, "the file cannot be read", file, "check the disk"):
        length = file.stat().st_size
    if needed > length * (INFLATION if packed else 1):
        raise UnreadableError(
            f"the header declares {needed:,} bytes of data, more than this file of {length:,} bytes can hold",
            file=file,
            hint=_HINT,
        )


def check_memory(needed: int, file: str | Path) -> None:
    """Check that there is memory for a volume, before the system ends a process for lack of it.

    Args:
        needed: Bytes that reading takes.
        file: The file.

    Raises:
        PatientError: If there is not as much.
    """
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    if needed > free:
        raise OutOfMemoryError(
            f"reading it takes {needed / _GIB:.1f} GiB of memory, {free / _GIB:.1f} GiB are free",
            file=file,
            hint="close other programs, or use a scan of fewer voxels",
        )
