"""Saving napari layers as NIfTI, in the grid of the scan they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..patients import Grid, Patient, save_volume
from ..patients.marks import Kind
from .layers import KEY, Role, Tag

_KINDS: dict[Role, Kind] = {
    "anomaly map": "anomaly map",
    "reconstruction": "reconstruction",
    "detected mask": "mask",
    "corrections": "corrections",
}


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer as NIfTI (float32); see ``write_labels``."""
    return [_write(path, np.asarray(data), meta)]


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer as NIfTI.

    A layer of a patient goes back to the grid, orientation and affine of the patient's own file. Any other
    layer is taken as canonical LPS (z inferior to superior, y anterior to posterior, x right to left), with
    the layer's scale as millimetres. A detected mask says in its header that it is one.

    Args:
        path: File that ends in ``.nii`` or ``.nii.gz``.
        data: (Z, Y, X) or (Y, X).
        meta: Keywords of the layer.

    Returns:
        The paths written.

    Raises:
        OutputError: If the layer is not a volume or the file cannot be written.
    """
    return [_write(path, np.asarray(data), meta)]


def _write(path: str, data: NDArray[Any], meta: dict[str, Any]) -> str:
    if data.ndim == 2:
        data = data[None]
    if data.ndim != 3 or meta.get("rgb"):
        raise OutputError(
            f"a layer of shape {data.shape} is not a volume", file=path, hint="save a (Z, Y, X) layer"
        )
    tag = meta.get("metadata", {}).get(KEY)
    if isinstance(tag, Tag) and tag.patient.shape == data.shape:
        return str(save_volume(data, tag.patient, path, kind=_KINDS.get(tag.role)))
    scale = tuple(float(size) for size in meta.get("scale", ()))[-3:]
    spacing = (*(1.0,) * (3 - len(scale)), *scale)
    shape = (data.shape[0], data.shape[1], data.shape[2])
    grid = Grid.of_spacing(shape, (spacing[0], spacing[1], spacing[2]))
    patient = Patient(
        name=Path(path).name,
        sequence="layer",
        sequences={"layer": np.zeros(shape, np.float32)},
        lesion_mask=None,
        spacing=grid.spacing,
        grid=grid,
    )
    return str(save_volume(data, patient, path))
