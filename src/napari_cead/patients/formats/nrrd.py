"""NRRD, the format of 3D Slicer. Read by pynrrd: ITK reads numbers as the locale that Qt sets has them."""

from __future__ import annotations

import bz2
import io
import math
import re
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import (
    GeometryError,
    PatientError,
    PatientNotFoundError,
    UnreadableError,
    UnsupportedError,
    disk_errors,
)
from ..findings import no_orientation
from ..grid import Grid
from ..itk import grid_of_lps, why
from ..limits import MAX_VOXELS, check_memory
from ..places import Place
from ..volume import Volume
from ._format import Format

_LONGEST_HEADER = 1 << 16
_HINT = "save the scan again, as NIfTI for instance"
_NUMBERS = (
    *("dimension", "sizes", "space dimension", "space directions", "space origin", "spacings"),
    *("byte skip", "line skip"),
)
_WORDS = ("type", "encoding", "endian", "space", "kinds")
_BLANKS = re.compile(r"\s*,\s*|(?<=\()\s+|\s+(?=\))")
_UNPACKERS: dict[str, Any] = {
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    "gz": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    "bzip2": bz2.BZ2Decompressor,
    "bz2": bz2.BZ2Decompressor,
}
_SPATIAL = ("domain", "space", "???", "none")
# Directions of the three axes of a space, as signs that lead to LPS+; other spaces are taken as they are.
_TO_LPS = {
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}


def read_nrrd(path: Path) -> Volume:
    """Read a three-dimensional NRRD file (``.nrrd``, or ``.nhdr`` with its data beside it).

    Raises:
        PatientError: If the file is missing, damaged, or not one real-valued volume.
    """
    fields = _fields(path)
    _check_size(path, fields)
    try:
        header = _header(fields)
        data = _data(path, fields, header)
    except PatientError:
        raise
    except Exception as error:  # untrusted bytes: pynrrd may raise anything
        raise UnreadableError(
            f"the file cannot be read as NRRD ({why(error)})", file=path, hint=_HINT
        ) from error
    volume, spatial = _three_dimensional(data, header, path)
    grid = _grid(volume.shape, spatial, header, "space" in fields or "space dimension" in fields, path)
    notes: tuple[str, ...] = ()
    if not grid.has_orientation:
        notes = (no_orientation(path.name),)
    return Volume(grid.to_canonical(np.asarray(volume, dtype=np.float32)), grid, notes)


def _header(fields: dict[str, str]) -> dict[str, Any]:
    """Return the relevant fields, as numbers where they are numeric."""
    kept = {name: fields[name] for name in (*_NUMBERS, *_WORDS) if name in fields}
    # pynrrd takes no blanks inside a vector.
    tight = {name: _BLANKS.sub(lambda found: found[0].strip(), text) for name, text in kept.items()}
    lines = ["NRRD0005", *(f"{name}: {text}" for name, text in tight.items())]
    header: dict[str, Any] = dict(import_module("nrrd").read_header(lines))
    return header


def _data(path: Path, fields: dict[str, str], header: dict[str, Any]) -> NDArray[Any]:
    """Return the voxels in the order of the file's axes."""
    nrrd = import_module("nrrd")
    if path.suffix.lower() == ".nhdr":
        with data_file(path).open("rb") as stream:
            held: BinaryIO = io.BytesIO(stream.read())
    elif "data file" in fields or "datafile" in fields:
        raise UnsupportedError("the voxels lie in another file", file=path, hint="save the scan as one .nrrd")
    else:
        content = path.read_bytes()
        ends = [at + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if (at := content.find(mark)) >= 0]
        held = io.BytesIO(content[min(ends, default=len(content)) :])
    encoding = str(header.get("encoding", "")).lower()
    if encoding in _UNPACKERS:
        if header.get("line skip", 0) or header.get("byte skip", 0) < 0:
            raise UnsupportedError("the header skips lines, or bytes from the end", file=path, hint=_HINT)
        # As many bytes as there can be, and not one more, whatever the file unpacks to.
        most = 8 * math.prod(int(size) for size in header["sizes"]) + int(header.get("byte skip", 0))
        held = io.BytesIO(_UNPACKERS[encoding]().decompress(held.read(), most + 1))
        encoding = "raw"
    header = {**header, "encoding": encoding}
    return np.asarray(nrrd.read_data(header, held))


def _three_dimensional(
    data: NDArray[Any], header: dict[str, Any], path: Path
) -> tuple[NDArray[Any], list[int]]:
    """Return the volume, and which axes of the file its three are."""
    kinds, directions = header.get("kinds", ()), header.get("space directions")
    described = kinds if directions is None else directions
    if len(described) not in (0, data.ndim):
        raise GeometryError(
            f"the header describes {len(described)} axes, the data have {data.ndim}",
            file=path,
            hint="export the scan again",
        )
    if directions is not None:
        beside = {axis for axis, direction in enumerate(directions) if np.isnan(direction).any()}
    else:
        beside = {axis for axis, kind in enumerate(kinds) if kind.lower() not in _SPATIAL}
    if any(data.shape[axis] > 1 for axis in beside):
        raise UnsupportedError(
            "the image has several values per voxel", file=path, hint="give a scan with one value per voxel"
        )
    kept = [axis for axis in range(data.ndim) if axis not in beside]
    while len(kept) > 3 and data.shape[kept[-1]] == 1:
        kept.pop()
    if len(kept) not in (2, 3):
        raise UnsupportedError(
            f"the image has {data.ndim} dimensions {data.shape}",
            file=path,
            hint="give one three-dimensional volume",
        )
    volume = data.reshape([data.shape[axis] for axis in kept], order="F")
    return (volume[..., None] if len(kept) == 2 else volume), kept


def _grid(
    shape: tuple[int, ...], spatial: list[int], header: dict[str, Any], has_orientation: bool, path: Path
) -> Grid:
    axes, origin = np.eye(3), np.zeros(3)
    directions, spacings = header.get("space directions"), header.get("spacings")
    try:
        for column, axis in enumerate(spatial):
            if directions is not None:
                axes[: len(directions[axis]), column] = directions[axis]
                axes[len(directions[axis]) :, column] = 0
            elif spacings is not None and np.isfinite(spacings[axis]):
                axes[:, column] *= spacings[axis]
        if (start := header.get("space origin")) is not None:
            origin[: len(start)] = start
        if directions is not None and len(spatial) == 2:
            axes[:, 2] = np.cross(axes[:, 0], axes[:, 1]) / np.linalg.norm(axes[:, 0])
    except (IndexError, TypeError, ValueError) as error:
        raise GeometryError(
            "the geometry in the header is not usable", file=path, hint="export the scan again"
        ) from error
    signs = np.array(_TO_LPS.get(str(header.get("space", "")).lower(), (1, 1, 1)), dtype=np.float64)
    return grid_of_lps(
        shape, signs[:, None] * axes, signs * origin, has_orientation=has_orientation, file=path
    )


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
            "the header does not name one data file beside it", file=header, hint="save the scan as .nrrd"
        )
    found = header.parent / plain
    if not found.is_file():
        raise PatientNotFoundError(
            f"its data file {plain} is missing", file=header, hint="put the data file beside it"
        )
    return found


def _fields(path: Path) -> dict[str, str]:
    with (
        disk_errors(UnreadableError, "cannot be read", path, "check its permissions"),
        path.open("rb") as stream,
    ):
        start = stream.read(_LONGEST_HEADER)
    if not start.startswith(b"NRRD"):
        raise UnsupportedError("this is not an NRRD file", file=path, hint=_HINT)
    head = start.replace(b"\r\n", b"\n").split(b"\n\n", 1)[0].decode("latin-1")
    pairs = (line.split(":", 1) for line in head.splitlines()[1:] if ":" in line and not line.startswith("#"))
    return {name.strip().lower(): value.strip() for name, value in pairs if not value.startswith("=")}


def _check_size(path: Path, fields: dict[str, str]) -> None:
    try:
        sizes = [int(size) for size in fields.get("sizes", "").split()]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1 or int(np.prod(sizes, dtype=object)) > MAX_VOXELS:
        raise GeometryError(
            f"the header declares an impossible size ({fields.get('sizes', 'none')[:60]})",
            file=path,
            hint=_HINT,
        )
    check_memory(12 * math.prod(sizes), path)


class Nrrd(Format):
    """NRRD in one file, or a header with its voxels in one file beside it."""

    name = "nrrd"
    title = "NRRD"
    endings = (".nrrd", ".nhdr")
    rank = 3
    read = staticmethod(read_nrrd)

    def files(self, place: Place) -> list[Path]:
        """Return the file, and the one that belongs to it."""
        apart = place.file.suffix.lower() == ".nhdr"
        return [place.file, *([data_file(place.file)] if apart else [])]


OFFERED = (Nrrd(),)
