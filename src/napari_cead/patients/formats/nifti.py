"""NIfTI in one file: the header is read first, then only as much data as it declares.

nibabel reads compressed files through Python's gzip in small pieces and holds the interpreter between them, so that
several files read in threads wait for each other; and it maps files that are not compressed, so that one which is cut
short meanwhile ends the process. Headers are nibabel's all the same; pairs, MGH and what is unusual are read by it.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from ...errors import GeometryError, PatientNotFoundError, UnreadableError, UnsupportedError, why
from ..findings import Note
from ..grid import Grid
from ..headers import placement
from ..limits import check_held, check_memory, check_shape
from ..repairs import repairs
from ..volume import Volume
from ._format import Format

ENDINGS = (".nii", ".nii.gz")

_GZIP = 31  # zlib's way to say: a gzip header, the largest window
_LONGEST_HEADER = 1024  # bytes; NIfTI-2 has 540
_LARGEST_OFFSET = 1 << 26  # extensions of a header lie before the data; more than 64 MiB of them is no scan
_PIECE = 1 << 20
_AT_ONCE = _PIECE << 6
_MEND_READ = "copy the file again or convert it to NIfTI anew"


@dataclass(frozen=True, eq=False)
class _File:
    """The header of a file, checked.

    Attributes:
        path: The file.
        header: nibabel's header.
        shape: As the header has it.
        dtype: Type of the values on disk.
    """

    path: Path
    header: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel to world."""
        return np.asarray(self.header.get_best_affine(), dtype=np.float64)

    @property
    def needed(self) -> int:
        """Bytes from the start of the file to the end of the data."""
        return int(self.header.get_data_offset()) + math.prod(self.shape) * self.dtype.itemsize

    def check_size(self) -> None:
        """Check the size, before memory is taken.

        Raises:
            PatientError: If the header declares more than any scan has, than the file holds, or than there is memory.
        """
        voxels = check_shape(self.shape, self.path)
        check_held(self.needed, self.path, packed=_packed(self.path))
        # The data as they are, and once more in another order or as float32.
        check_memory(voxels * (self.dtype.itemsize + 4), self.path)

    def data(self) -> NDArray[Any]:
        """Read the values: integers that are not scaled as they are, all others as float32.

        Raises:
            OSError: If reading fails.
            ValueError: If the file is too short or damaged.
        """
        content, offset = np.empty(self.needed, np.uint8), int(self.header.get_data_offset())
        if (done := _fill(content.data, self.path)) < self.needed:
            size = self.needed - offset
            raise ValueError(f"the data end after {max(0, done - offset):,} of {size:,} bytes")
        values = np.frombuffer(content, self.dtype, math.prod(self.shape), offset)
        values = np.require(values, requirements="A").reshape(self.shape, order="F")
        slope, inter = self.header.get_slope_inter()
        if slope is not None and (slope, inter) != (1, 0):
            return _scaled(values, float(slope), float(inter))
        if self.dtype.kind in "iub":
            return values.astype(self.dtype.newbyteorder("="), order="K", copy=False)
        with np.errstate(over="ignore"):  # values that do not fit become infinite, and are reported as such
            return values.astype(np.float32, order="K", copy=False)


def read_header(path: Path) -> _File | None:
    """Read the header of a ``.nii`` or ``.nii.gz`` file; None if this is none, or an unusual one.

    Raises:
        OSError: If reading fails.
    """
    if not path.name.lower().endswith(ENDINGS):
        return None
    try:
        start = _start(path, _LONGEST_HEADER)
        for kind in (nib.Nifti1Header, nib.Nifti2Header):
            if not kind.may_contain_header(start):
                continue
            size = kind.template_dtype.itemsize
            if start[344:347] == b"ni1" or start[4:7] == b"ni2":
                return None  # of a pair: the data lie in another file
            offset = int(kind(start[:size], check=False).get_data_offset())
            if not size <= offset <= _LARGEST_OFFSET:
                return None
            header = kind.from_fileobj(io.BytesIO(_start(path, offset)))
            shape = tuple(int(length) for length in header.get_data_shape())
            return _File(path, header, shape, header.get_data_dtype())
    except OSError:
        raise
    except Exception:  # nibabel says what is wrong with it, or reads it all the same
        return None
    return None


def _scaled(values: NDArray[Any], slope: float, inter: float) -> NDArray[np.float32]:
    result = np.empty(values.shape, dtype=np.float32, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        for index in range(values.shape[-1]):  # in double precision, without a whole volume of it
            result[..., index] = values[..., index].astype(np.float64) * slope + inter
    return result


def _packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _start(path: Path, count: int) -> bytes:
    """Return the first bytes of a file; fewer if it ends before."""
    content = bytearray(count)
    return bytes(content[: _fill(memoryview(content), path)])


def _fill(target: memoryview, path: Path) -> int:
    """Fill a buffer with the first bytes of a file, inflated if it is compressed; return how many there are.

    Raises:
        OSError: If reading fails.
        ValueError: If the file is damaged.
    """
    done, count = 0, len(target)
    with path.open("rb", buffering=0) as stream:
        if not _packed(path):
            while done < count and (got := stream.readinto(target[done : done + _AT_ONCE])):
                done += got
        for piece in _inflated(stream, count) if _packed(path) else ():
            target[done : done + len(piece)] = piece
            done += len(piece)
    return done


def _inflated(stream: io.FileIO, count: int) -> Iterator[bytes]:
    """Inflate gzip, of several members too, piece by piece, and check its checksum if it comes next."""
    engine, packed = zlib.decompressobj(_GZIP), b""
    try:
        while count and (packed := packed or stream.read(_PIECE)):
            if engine.eof:
                engine, packed = (
                    zlib.decompressobj(_GZIP),
                    packed.lstrip(b"\0"),
                )  # padding after the last member
                continue
            piece = engine.decompress(packed, min(count, _PIECE << 4))
            packed = engine.unconsumed_tail or engine.unused_data
            count -= len(piece)
            yield piece
        if not engine.eof:
            engine.decompress(packed + stream.read(_PIECE), 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error


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
    except OSError as error:  # a network folder that vanished, a broken disk
        raise UnreadableError(
            f"the file cannot be read ({error.strerror or why(error)})",
            file=path,
            hint="check the disk or the network folder",
        ) from error
    notes = tuple(
        Note("affine", f"the header is not as it should be ({note})", path.name) for note in repaired
    )
    return replace(volume, warnings=(*notes, *volume.warnings))


def _read_volume(path: Path) -> Volume:
    if path.is_dir():
        raise PatientNotFoundError("this is a folder, not a file", file=path, hint="give a NIfTI file")
    if not path.is_file():
        raise PatientNotFoundError("there is no such file", file=path, hint="check the path")
    if path.stat().st_size == 0:
        raise UnreadableError("the file is empty", file=path, hint=_MEND_READ)
    image: Any = read_header(path) or _by_nibabel(path)
    shape = tuple(int(size) for size in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape = (*shape, 1) if len(shape) == 2 else shape
    kind = np.dtype(image.dtype)
    if kind.fields is not None:
        raise UnsupportedError(
            "the image is in colour (RGB)", file=path, hint="give a scan with one value per voxel"
        )
    if kind.kind == "c":
        raise UnsupportedError("the image is complex-valued", file=path, hint="give the magnitude image")
    if len(shape) != 3:
        raise UnsupportedError(
            f"the image has {len(shape)} dimensions {shape}",
            file=path,
            hint="give one three-dimensional volume",
        )
    image.check_size()
    try:
        affine = np.asarray(image.affine, dtype=np.float64)
    except Exception as error:  # untrusted bytes: nibabel may raise anything
        raise GeometryError(
            f"the affine in the header is not usable ({why(error)})", file=path, hint="repair qform or sform"
        ) from error
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9 or _flat(affine):
        raise GeometryError("the affine in the header is not usable", file=path, hint="repair qform or sform")
    try:
        data = np.asarray(image.data()).reshape(shape, order="F")
    except OSError:
        raise
    except Exception as error:  # likewise
        raise UnreadableError(
            f"the image data cannot be read ({why(error)})", file=path, hint=_MEND_READ
        ) from error
    size = (shape[0], shape[1], shape[2])
    found = placement(image.image if isinstance(image, _Other) else image, size, path.name)
    grid = Grid(size, found.affine, found.header, found.has_orientation)
    return Volume(grid.to_canonical(data), grid, found.notes)


def _flat(affine: NDArray[np.float64]) -> bool:
    """Whether two axes of the file run along one another so closely that no orientation follows from them."""
    with np.errstate(over="ignore", invalid="ignore"):  # headers may hold numbers of any size
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
    except Exception as error:  # untrusted bytes: nibabel and its dependencies may raise anything
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # the disk; gzip's own complaints have no number
            raise
        raise UnreadableError(
            f"the file cannot be read as NIfTI ({why(error)})", file=path, hint=_MEND_READ
        ) from error
    raise UnsupportedError("the file is not a volume", file=path, hint="give a NIfTI scan")


class Nifti(Format):
    """NIfTI-1 and NIfTI-2 in one file, compressed or not."""

    name = "nifti"
    title = "NIfTI"
    endings = ENDINGS
    rank = 0
    read = staticmethod(read_volume)

    def shape(self, path: Path) -> tuple[int, ...] | None:
        """Return the shape in the header, without reading the data."""
        header = read_header(path)
        return None if header is None else header.shape


OFFERED = (Nifti(),)
