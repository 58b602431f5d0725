"""The origin of a result: versions, machine, source files and voxels, and their processing."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checksums import file_sha256
from ..errors import PatientError
from ..patients import MASK, Patient, disk_files
from ..slices import SliceStack
from ..zoo import Preprocessing
from ..zoo.summary import PACKAGES


def versions() -> dict[str, str]:
    """Return the versions of the packages, of Python and of the system that a result depends on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return {**found, "python": platform.python_version(), "platform": platform.platform()}


def device_name(device: str) -> str:
    """Return the name of a device."""
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def threads_on(device: str) -> int | None:
    """Return how many threads compute on the CPU: how sums are split changes their last bits. None elsewhere."""
    import torch

    return torch.get_num_threads() if device == "cpu" else None


def place_sha256(path: Path) -> str | None:
    """Return the sha256 of what is read for a place; None if it cannot be read.

    It goes over the bytes of all its files in order: a header and its image, the slices of a folder or a DICOM
    series. Of what lies in a zip it is that of the zip.
    """
    try:
        return file_sha256(*disk_files(path))
    except (OSError, PatientError):
        return None  # moved away since it was read; the result itself is still good


def voxels_sha256(volume: NDArray[Any]) -> str:
    """Return the sha256 of a volume's shape and values, whatever file they came from.

    Args:
        volume: (Z, Y, X); bool counts as 0 and 1, the rest as float32.
    """
    kind = np.uint8 if volume.dtype == bool else np.float32
    digest = hashlib.sha256(",".join(map(str, volume.shape)).encode())
    digest.update(np.ascontiguousarray(volume, dtype=np.dtype(kind).newbyteorder("<")).data)
    return digest.hexdigest()


def source(path: Path | None, volume: NDArray[Any]) -> dict[str, str | None]:
    """Return where a volume came from (None: from memory), the sha256 of the file and that of the voxels."""
    return {
        "path": None if path is None else str(path.absolute()),
        "sha256": None if path is None else place_sha256(path),
        "voxels_sha256": voxels_sha256(volume),
    }


def sources(patient: Patient) -> dict[str, dict[str, str | None]]:
    """Return `source` of the scan that detection uses, as it was read, and of the lesion mask, by their names."""
    patient = patient.raw()
    found = {patient.sequence: source(patient.files.get(patient.sequence), patient.volume())}
    if patient.lesion_mask is not None:
        found[MASK] = source(patient.files.get(MASK), patient.lesion_mask)
    return found


def preparation(wants: Preprocessing, stack: SliceStack) -> dict[str, Any]:
    """Return how a patient became a network's input: the model's request and the result.

    Args:
        wants: From the model's card.
        stack: The slices that went in.
    """
    geometry = stack.geometry
    return {
        **wants.model_dump(mode="json"),
        "brain_voxels": int(stack.brain.sum()),
        "brain_slices": _first_and_last(stack.occupied),
        "slices": len(stack.occupied),
        "crop_start": list(geometry.start),
        "zoom": list(geometry.zoom),
        "resampled": geometry.reason or None,
        "voxels_cut_off": geometry.cut_off(stack.brain),
    }


def _first_and_last(indices: Iterable[int]) -> list[int] | None:
    every = [int(index) for index in indices]
    return [every[0], every[-1]] if every else None
