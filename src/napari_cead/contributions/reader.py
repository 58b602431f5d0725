"""Opening NIfTI files and patient folders in napari."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CeadError, CeadWarning
from ..patients import MASK, Patient, is_patient, load_patient, preferred_sequence
from ..patients.aliases import is_nifti, split_name
from ..patients.volumes import clean_mask, read_volume
from .layers import KEY, LayerData, Tag, labels_style, place, to_layer_data

Reader = Callable[[str | Sequence[str]], list[Any]]

NO_LAYER = (None,)
"""What napari takes for "read, but there is nothing to show"."""


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader for NIfTI files and patient folders; None for anything else.

    Only names are looked at, so that a folder which is no patient goes to another plugin at once.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(_readable(Path(item)) for item in paths) else None


def _readable(path: Path) -> bool:
    return is_patient(path) if path.is_dir() else is_nifti(path)


def read(path: str | Sequence[str]) -> list[Any]:
    """Read one or more patients (or single masks) as napari layers.

    In a window, a file that cannot be used becomes a notification and no layer: napari would wrap the
    sentence in advice to try other plugins.

    Raises:
        PatientError: Without a window, if a file cannot be used; the sentence names it and the mend.
    """
    import napari

    layers: list[Any] = []
    for item in [path] if isinstance(path, str) else path:
        try:
            layers.extend(_read_one(Path(item)))
        except CeadError as error:
            if napari.current_viewer() is None:
                raise
            from ..widgets.failures import show_failure

            show_failure(error)
    return layers or [NO_LAYER]


def _read_one(path: Path) -> list[LayerData]:
    if not path.is_dir() and split_name(path)[1] == MASK:
        return [_mask(path)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)
        patient = load_patient(path, preferred_sequence(path))
    _tell(patient)
    return to_layer_data(patient)


def _mask(path: Path) -> LayerData:
    volume = read_volume(path)
    labels, _ = clean_mask(volume.data, str(path))
    # A mask alone is a patient of its own grid, so that it can be written back where it came from.
    patient = Patient(
        name=path.name,
        sequence=MASK,
        sequences={MASK: labels.astype(np.float32)},
        lesion_mask=labels,
        spacing=volume.grid.spacing,
        grid=volume.grid,
        files={MASK: path},
        warnings=volume.warnings,
    )
    keywords: dict[str, Any] = {
        **labels_style("lesion mask"),
        "metadata": {KEY: Tag("lesion mask", patient)},
        **place(patient),
    }
    return (labels.astype(np.uint8), keywords, "labels")


def _tell(patient: Patient) -> None:
    if patient.warnings:
        from napari.utils.notifications import show_warning

        show_warning(f"{patient.name}: {'; '.join(patient.warnings)}")
