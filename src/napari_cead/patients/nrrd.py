"""Reading NRRD, the format of 3D Slicer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GeometryError, PatientNotFoundError, UnreadableError, UnsupportedError
from .itk import grid_of, simpleitk, why
from .limits import MAX_VOXELS, check_memory
from .volumes import Volume

_LONGEST_HEADER = 1 << 16
_MEND = "save the scan again, as NIfTI for instance"


def read_nrrd(path: Path) -> Volume:
    """Read a three-dimensional NRRD file (``.nrrd``, or ``.nhdr`` with its data beside it).

    Raises:
        PatientError: If the file is missing, damaged, or not one real-valued volume.
    """
    fields = _fields(path)
    if path.suffix.lower() == ".nhdr":
        data_file(path)
    _check_size(path, fields)
    sitk = simpleitk()
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UnreadableError(
            f"the file cannot be read as NRRD ({why(error)})", file=path, mend=_MEND
        ) from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UnsupportedError(
            "the image has several values per voxel", file=path, mend="give a scan with one value per voxel"
        )
    while image.GetDimension() > 3 and image.GetSize()[-1] == 1:
        image = image[..., 0]
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    if image.GetDimension() != 3:
        raise UnsupportedError(
            f"the image has {image.GetDimension()} dimensions {image.GetSize()}",
            file=path,
            mend="give one three-dimensional volume",
        )
    grid = grid_of(image, has_orientation="space" in fields or "space dimension" in fields, file=path)
    data = np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32).transpose(2, 1, 0)
    notes: tuple[str, ...] = ()
    if not grid.has_orientation:
        notes = (f"{path.name}: the header states no orientation, so left and right are unknown",)
    return Volume(grid.to_canonical(data), grid, notes)


def data_file(header: Path) -> Path:
    """Return the file that holds the voxels of an ``.nhdr`` header.

    Raises:
        PatientError: If it is not one file beside the header.
    """
    fields = _fields(header)
    name = fields.get("data file", fields.get("datafile", ""))
    plain = Path(name).name if name else ""
    if not plain or plain != name.removeprefix("./") or "%" in name or name.upper().startswith("LIST"):
        raise UnsupportedError(
            "the header does not name one data file beside it", file=header, mend="save the scan as .nrrd"
        )
    found = header.parent / plain
    if not found.is_file():
        raise PatientNotFoundError(
            f"its data file {plain} is missing", file=header, mend="put the data file beside it"
        )
    return found


def _fields(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as stream:
            start = stream.read(_LONGEST_HEADER)
    except FileNotFoundError as error:
        raise PatientNotFoundError("there is no such file", file=path, mend="check the path") from error
    except OSError as error:
        raise UnreadableError(
            f"cannot be read ({error.strerror})", file=path, mend="check its permissions"
        ) from error
    if not start.startswith(b"NRRD"):
        raise UnsupportedError("this is not an NRRD file", file=path, mend=_MEND)
    head = start.replace(b"\r\n", b"\n").split(b"\n\n", 1)[0].decode("latin-1")
    pairs = (line.split(":", 1) for line in head.splitlines()[1:] if ":" in line and not line.startswith("#"))
    return {name.strip().lower(): value.strip() for name, value in pairs if not value.startswith("=")}


def _check_size(path: Path, fields: dict[str, Any]) -> None:
    try:
        sizes = [int(size) for size in fields.get("sizes", "").split()]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1 or int(np.prod(sizes, dtype=object)) > MAX_VOXELS:
        raise GeometryError(
            f"the header declares an impossible size ({fields.get('sizes', 'none')[:60]})",
            file=path,
            mend=_MEND,
        )
    check_memory(8 * math.prod(sizes), path)
