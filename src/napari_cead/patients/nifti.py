"""Reading single-file NIfTI: the header first, and of the data no more than the header says.

nibabel reads compressed files through Python's gzip in small pieces and holds the interpreter between them, so that
several files read in threads wait for each other; and it maps files that are not compressed, so that one which is cut
short meanwhile ends the process. Headers are nibabel's all the same.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from .limits import check_held, check_memory, check_shape

_GZIP = 31  # zlib's way to say: a gzip header, the largest window
_LONGEST_HEADER = 1024  # bytes; NIfTI-2 has 540
_LARGEST_OFFSET = 1 << 26  # extensions of a header lie before the data; more than 64 MiB of them is no scan
_PIECE = 1 << 20


class _Source(Protocol):
    """Where bytes come from."""

    def take(self, target: memoryview) -> int:
        """Fill a buffer and return how many bytes there were."""
        ...

    def check(self) -> None:
        """Check what can be checked at the end of the data.

        Raises:
            ValueError: If the data are damaged.
        """
        ...


@dataclass(frozen=True, eq=False)
class Nifti:
    """What a file says about itself.

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
        raw = np.empty(math.prod(self.shape) * self.dtype.itemsize, dtype=np.uint8)
        with _opened(self.path) as source:
            _skip(source, int(self.header.get_data_offset()))
            if (got := source.take(raw.data)) < raw.size:
                raise ValueError(f"the data end after {got:,} of {raw.size:,} bytes")
            source.check()
        values = raw.view(self.dtype).reshape(self.shape, order="F")
        slope, inter = self.header.get_slope_inter()
        if slope is not None and (slope, inter) != (1, 0):
            return _scaled(values, float(slope), float(inter))
        if self.dtype.kind in "iub":
            return values.astype(self.dtype.newbyteorder("="), order="K", copy=False)
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is told as such
            return values.astype(np.float32, order="K", copy=False)


def read_header(path: Path) -> Nifti | None:
    """Read the header of a ``.nii`` or ``.nii.gz`` file; None if this is none, or an unusual one.

    Raises:
        OSError: If reading fails.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return None
    try:
        with _opened(path) as source:
            start = _read(source, _LONGEST_HEADER)
            for kind in (nib.Nifti1Header, nib.Nifti2Header):
                if not kind.may_contain_header(start):
                    continue
                size = kind.template_dtype.itemsize
                if start[344:347] == b"ni1" or start[4:7] == b"ni2":
                    return None  # of a pair: the data lie in another file
                offset = int(kind(start[:size], check=False).get_data_offset())
                if not size <= offset <= _LARGEST_OFFSET:
                    return None
                rest = _read(source, max(0, offset - len(start)))
                header = kind.from_fileobj(io.BytesIO((start + rest)[:offset]))
                shape = tuple(int(length) for length in header.get_data_shape())
                return Nifti(path, header, shape, header.get_data_dtype())
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


@contextmanager
def _opened(path: Path) -> Iterator[_Source]:
    with path.open("rb", buffering=0) as stream:
        yield _Inflating(stream) if _packed(path) else _Plain(stream)


def _read(source: _Source, count: int) -> bytes:
    buffer = bytearray(count)
    return bytes(buffer[: source.take(memoryview(buffer))])


def _skip(source: _Source, count: int) -> None:
    while count > 0:
        if (got := len(_read(source, min(count, _PIECE)))) == 0:
            return
        count -= got


class _Plain:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def take(self, target: memoryview) -> int:
        done = 0
        while done < len(target) and (got := self._stream.readinto(target[done : done + (_PIECE << 6)])):  # type: ignore[attr-defined]
            done += got
        return done

    def check(self) -> None:
        """Nothing tells."""


class _Inflating:
    """Inflates gzip, of several members too, piece by piece."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._packed = stream, b""
        self._engine = zlib.decompressobj(_GZIP)

    def take(self, target: memoryview) -> int:
        done = 0
        while done < len(target):
            self._packed = self._packed or self._stream.read(_PIECE)
            if not self._packed:
                break
            if self._engine.eof:
                if not (packed := self._packed.lstrip(b"\0")):  # padding after the last member
                    self._packed = b""
                    continue
                self._packed, self._engine = packed, zlib.decompressobj(_GZIP)
            try:
                piece = self._engine.decompress(self._packed, min(len(target) - done, _PIECE << 4))
            except zlib.error as error:
                raise ValueError(str(error)) from error
            target[done : done + len(piece)] = piece
            done += len(piece)
            self._packed = self._engine.unconsumed_tail or self._engine.unused_data
        return done

    def check(self) -> None:
        """Go on to the checksum of the member, if it is next; what follows the data is nobody's business."""
        if not self._engine.eof:
            self.take(memoryview(bytearray(1)))
