"""Brain masks that were found before, in the platform's cache folder: never beside the user's files."""

from __future__ import annotations

import hashlib
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from ..atomic import atomic_path, make_folder
from ..errors import OutputError
from ..patients import Patient, save_volume
from .strippers import HeadScan

MOST_FILES = 2000
"""Masks that are kept; a mask takes about 50 kB. Then those go that were unused for longest."""

_FORMAT = b"brain-mask-1"


def cache_folder() -> Path:
    """Return where masks are kept: in ``NAPARI_CEAD_HOME``, or the platform's cache folder."""
    home = os.environ.get("NAPARI_CEAD_HOME")
    top = Path(home).expanduser() / "cache" if home else Path(user_cache_dir("napari-cead", appauthor=False))
    return top / "brain-masks"


def key_of(scan: HeadScan, stripper: str, version: str, device: str) -> str:
    """Return what a mask is found again by: the voxels of the scan, their size, and what finds the brain.

    Nothing of it tells whose scan it was.
    """
    digest = hashlib.sha256(_FORMAT)
    told = (stripper, version, device, scan.volume.shape, tuple(round(size, 6) for size in scan.spacing))
    digest.update(repr(told).encode())
    digest.update(np.ascontiguousarray(scan.volume, "<f4").data)
    return digest.hexdigest()


def kept_mask(key: str, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return a mask (Z, Y, X) that was kept; None if there is none, or it cannot be read."""
    file = cache_folder() / f"{key}.npz"
    try:
        with np.load(file, allow_pickle=False) as found:
            bits = found["bits"]
            if tuple(found["shape"].tolist()) != shape or bits.dtype != np.uint8:
                return None
            mask = np.unpackbits(bits, count=int(np.prod(shape))).astype(bool).reshape(shape)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    with suppress(OSError):
        file.touch()  # used now
    return mask


def keep_mask(key: str, mask: NDArray[np.bool_]) -> None:
    """Keep a mask (Z, Y, X). A cache that cannot be written is no reason to fail."""
    folder = cache_folder()
    with suppress(OSError, OutputError):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / f"{key}.npz") as file, file.open("wb") as stream:
            np.savez_compressed(stream, bits=np.packbits(mask), shape=np.asarray(mask.shape))
        files = list(folder.glob("*.npz"))
        if len(files) > MOST_FILES:
            for old in sorted(files, key=lambda each: each.stat().st_mtime)[: len(files) - MOST_FILES]:
                old.unlink(missing_ok=True)


def keep_file(mask: NDArray[np.bool_], patient: Patient) -> Path:
    """Keep a mask (Z, Y, X) as a NIfTI file on the patient's grid, for programs that want one; return the file.

    The same mask on the same grid is the same file, which is not written again.

    Raises:
        OutputError: If the cache folder cannot be written.
    """
    digest = hashlib.sha256(repr((mask.shape, patient.grid.affine.round(6).tolist())).encode())
    digest.update(np.packbits(mask).data)
    folder = make_folder(cache_folder())
    file = folder / f"{digest.hexdigest()}.nii.gz"
    return file if file.is_file() else save_volume(mask, patient, file, kind="brain mask")


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
