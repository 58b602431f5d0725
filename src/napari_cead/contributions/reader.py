"""Opening scans, patient folders, DICOM folders and zips in napari."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import CeadError, CeadWarning, PatientError
from ..patients import (
    MASK,
    Patient,
    SeriesError,
    disk_files,
    is_patient,
    load_patient,
    place_of,
    preferred_sequence,
)
from ..patients.aliases import split_name
from ..patients.cases import scan_files
from ..patients.formats import format_at, is_image
from ..patients.layouts import patients_in_zip
from ..patients.marks import Kind, kind_of
from ..patients.places import is_zip
from ..patients.reading import read_place
from ..patients.volumes import Volume, clean_mask
from .choosing import choose_series
from .default_reader import offer
from .layers import (
    KEY,
    LayerData,
    Role,
    Tag,
    contrast_limits,
    image_style,
    labels_style,
    place,
    tag_of,
    to_layer_data,
)

Reader = Callable[[str | Sequence[str]], list[Any]]

NO_LAYER = (None,)
"""What napari takes for "read, but there is nothing to show"."""


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader for scans, patient folders, DICOM folders and zips of them; None for anything else.

    Names are looked at, and the first bytes of what may be DICOM or a result of ours, so that a folder which is neither
    goes to another plugin at once.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(_readable(Path(item)) for item in paths) else None


def _readable(path: Path) -> bool:
    if is_image(path):
        return True
    if path.is_dir():
        return is_patient(path) or bool(_results_in(path))
    if is_zip(path):
        return _holds_patients(path)
    known = format_at(place := place_of(path))
    return bool(place.inside) or (path.is_file() and known is not None and not known.bare)


def _holds_patients(archive: Path) -> bool:
    try:
        return bool(patients_in_zip(archive))
    except PatientError:
        return True  # what is wrong with it is worth a sentence


def read(path: str | Sequence[str]) -> list[Any]:
    """Read one or more patients (or single masks) as napari layers.

    In a window, a file that cannot be used becomes a notification and no layer: napari would wrap the
    sentence in advice to try other plugins.

    Raises:
        PatientError: Without a window, if a file cannot be used; the sentence names it and the fix.
    """
    import napari

    layers: list[Any] = []
    viewer = napari.current_viewer()
    for item in [path] if isinstance(path, str) else path:
        try:
            layers.extend(_read_asking(Path(item), viewer))
        except CeadError as error:
            if viewer is None:
                raise
            from .failures import show_failure

            show_failure(error)
    if layers and viewer is not None:
        offer()
    return layers or [NO_LAYER]


def _read_asking(path: Path, viewer: Any) -> list[LayerData]:
    if viewer is not None and _open_already(path, viewer):
        return []
    try:
        return _read_one(path)
    except SeriesError as error:
        if viewer is None or not error.choices:
            raise
        chosen = choose_series(error)
        return [] if chosen is None else _read_one(chosen)


def _open_already(path: Path, viewer: Any) -> bool:
    """Whether a file is part of a scan whose other files were dropped together with it.

    napari opens dropped files one by one: the slices of a series, and the two files of a pair.
    """
    if not path.is_file():
        return False
    own = path.absolute()
    for layer in viewer.layers:
        tag = tag_of(layer)
        for source in () if tag is None else tag.patient.files.values():
            named = place_of(source)
            partner = is_image(named.file) and named.file.absolute() != own
            if (named.series or partner) and own in {file.absolute() for file in disk_files(source)}:
                return True
    return False


def _read_one(path: Path) -> list[LayerData]:
    if (kind := kind_of(path)) is not None:
        return [_result(path, kind)]
    if path.is_dir() and not is_patient(path) and (results := _results_in(path)):
        return [_result(file, found) for file, found in results]
    if is_image(path) and split_name(path)[1] == MASK:
        return [_mask(path)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)
        patient = load_patient(path, preferred_sequence(path))
    _tell(patient)
    return to_layer_data(patient)


def _results_in(folder: Path) -> list[tuple[Path, Kind]]:
    """Return the results of ours that lie in a folder, with what each is."""
    order = get_args(Kind)[::-1]  # the mask on top
    found = [(file, kind) for file in scan_files(folder) if (kind := kind_of(file)) is not None]
    return sorted(found, key=lambda each: order.index(each[1]))


def _result(path: Path, kind: Kind) -> LayerData:
    """Return a result of ours as what it is: it is neither a scan nor a reference."""
    volume = read_place(path)
    role: Role = "detected mask" if kind == "mask" else kind
    patient = _alone(path, volume, volume.data.astype(np.float32))
    keywords: dict[str, Any] = {"metadata": {KEY: Tag(role, patient)}, **place(patient)}
    if kind in ("mask", "corrections", "brain mask"):
        # Of corrections, 1 is painted in and 2 erased.
        labels = volume.data.astype(np.uint8)
        return labels, {**labels_style(role), **keywords}, "labels"
    style = {**image_style(role), "visible": True}
    if kind == "anomaly map":
        style["contrast_limits"] = contrast_limits(volume.data)
    return volume.data, {**style, **keywords}, "image"


def _alone(path: Path, volume: Volume, data: NDArray[np.float32]) -> Patient:
    """Return a file that is no scan as a patient of its own grid, so that it can be written back there."""
    return Patient(
        name=path.name,
        sequence=MASK,
        sequences={MASK: data},
        lesion_mask=None,
        spacing=volume.grid.spacing,
        grid=volume.grid,
        files={MASK: path},
        warnings=volume.warnings,
    )


def _mask(path: Path) -> LayerData:
    volume = read_place(path)
    labels, _ = clean_mask(volume.data, str(path))
    patient = replace(_alone(path, volume, labels.astype(np.float32)), lesion_mask=labels)
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
