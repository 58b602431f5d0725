"""The cache of brain masks and moves, in the platform's cache folder: never beside the user's files."""

from __future__ import annotations

import hashlib
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from ..atomic import atomic_path, make_folder
from ..errors import OutputError
from ..patients import Patient, save_volume
from ..patients.marks import Kind
from ..patients.volumes import Volume
from .strippers import HeadScan

MOST_FILES = 2000
"""Masks and moves that are kept; a mask takes about 50 kB. Then those go that were unused for longest."""

_FORMAT = b"brain-mask-1"
_MOVES = b"rigid-move-1"

KeptMove = tuple[NDArray[np.float64], float, float, float, float]
"""Matrix, mm, degrees, and how alike two scans are before and after."""


def cache_folder() -> Path:
    """Return where masks are kept: in ``NAPARI_CEAD_HOME``, or the platform's cache folder."""
    home = os.environ.get("NAPARI_CEAD_HOME")
    top = Path(home).expanduser() / "cache" if home else Path(user_cache_dir("napari-cead", appauthor=False))
    return top / "brain-masks"


def key_of(scan: HeadScan, stripper: str, version: str, device: str) -> str:
    """Return the key of a mask: the voxels of the scan, their size, and the stripper.

    It does not identify the patient.
    """
    digest = hashlib.sha256(_FORMAT)
    told = (stripper, version, device, scan.volume.shape, tuple(round(size, 6) for size in scan.spacing))
    digest.update(repr(told).encode())
    digest.update(np.ascontiguousarray(scan.volume, "<f4").data)
    return digest.hexdigest()


def kept_mask(key: str, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return a cached mask (Z, Y, X); None if there is none or it cannot be read."""
    found = _kept(key, "bits", "shape")
    if found is None or tuple(found[1].tolist()) != shape or found[0].dtype != np.uint8:
        return None
    with suppress(ValueError):
        return np.unpackbits(found[0], count=int(np.prod(shape))).astype(bool).reshape(shape)
    return None


def keep_mask(key: str, mask: NDArray[np.bool_]) -> None:
    """Keep a mask (Z, Y, X). A cache that cannot be written is no reason to fail."""
    _keep(key, bits=np.packbits(mask), shape=np.asarray(mask.shape))


def move_key(moving: Volume, fixed: Volume) -> str:
    """Return the key of the move of one scan onto another: the voxels of both and their positions."""
    digest = hashlib.sha256(_MOVES)
    for each in (moving, fixed):
        digest.update(repr((each.data.shape, each.grid.canonical_affine.round(6).tolist())).encode())
        digest.update(np.ascontiguousarray(each.data, "<f4").data)
    return digest.hexdigest()


def kept_move(key: str) -> KeptMove | None:
    """Return a cached move; None if there is none or it cannot be read."""
    found = _kept(key, "matrix", "figures")
    if found is None or found[0].shape != (4, 4) or found[1].shape != (4,):
        return None
    if any(part.dtype != np.float64 or not np.isfinite(part).all() for part in found):
        return None
    mm, degrees, before, after = found[1].tolist()
    return found[0], mm, degrees, before, after


def keep_move(key: str, move: KeptMove) -> None:
    """Keep a move. A cache that cannot be written is no reason to fail."""
    _keep(key, matrix=move[0], figures=np.array(move[1:]))


def _kept(key: str, *names: str) -> list[NDArray[Any]] | None:
    file = cache_folder() / f"{key}.npz"
    try:
        with np.load(file, allow_pickle=False) as found:
            arrays = [found[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    with suppress(OSError):
        file.touch()  # used now
    return arrays


def _keep(key: str, **arrays: Any) -> None:
    folder = cache_folder()
    with suppress(OSError, OutputError):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / f"{key}.npz") as file, file.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        files = list(folder.glob("*.npz"))
        if len(files) > MOST_FILES:
            for old in sorted(files, key=lambda each: each.stat().st_mtime)[: len(files) - MOST_FILES]:
                old.unlink(missing_ok=True)


def keep_file(mask: NDArray[np.bool_], patient: Patient, kind: Kind | None = "brain mask") -> Path:
    """Keep a mask (Z, Y, X) as a NIfTI file on the patient's grid, for programs that want one; return the file.

    The same mask on the same grid is the same file, which is not written again.

    Raises:
        OutputError: If the cache folder cannot be written.
    """
    digest = hashlib.sha256(repr((kind, mask.shape, patient.grid.affine.round(6).tolist())).encode())
    digest.update(np.packbits(mask).data)
    folder = make_folder(cache_folder())
    file = folder / f"{digest.hexdigest()}.nii.gz"
    return file if file.is_file() else save_volume(mask, patient, file, kind=kind)


def keep_scan(patient: Patient) -> Path:
    """Keep the scan that detection uses as a NIfTI file, as it was prepared; return the file.

    Raises:
        OutputError: If the cache folder cannot be written.
    """
    volume = np.ascontiguousarray(patient.volume(), "<f4")
    digest = hashlib.sha256(repr((volume.shape, patient.grid.affine.round(6).tolist())).encode())
    digest.update(volume.data)
    folder = make_folder(cache_folder().with_name("prepared-scans"))
    file = folder / f"{digest.hexdigest()}.nii.gz"
    return file if file.is_file() else save_volume(volume, patient, file)
