"""A detected mask as a DICOM segmentation that names the slices it belongs to, for viewers that open nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import OutputError, UnsupportedError, extra
from ..patients import Patient, place_of
from ..patients.dicom import Series, is_dicom, series_of
from ..patients.dicom_headers import Frame

_HINT = "leave --dicom out, or give the DICOM series that the scan came from"
_LPS = np.array([-1.0, -1.0, 1.0])

LESION, BRAIN = "lesion", "brain"
"""What a segment may show."""


def check_dicom(patient: Patient) -> Series:
    """Return the series that a patient's scan came from, before a long run.

    Raises:
        MissingExtraError: If highdicom is not installed.
        UnsupportedError: If the scan came from something else than a DICOM series on disk.
    """
    with extra("dicom", "A DICOM segmentation"):
        import_module("highdicom")
    file = patient.files.get(patient.sequence)
    place = None if file is None else place_of(file)
    if file is None or place is None or not (place.series or is_dicom(place.file)):
        raise UnsupportedError(
            "a DICOM segmentation refers to DICOM slices, and this scan has none",
            file=file or patient.name,
            hint=_HINT,
        )
    if place.zipped:
        raise UnsupportedError(
            "a DICOM segmentation needs the slices as files, and they lie in a zip",
            file=file,
            hint="unzip them",
        )
    return series_of(file)


def save_dicom(
    segments: Mapping[str, NDArray[np.bool_]], patient: Patient, file: str | Path, *, model: str
) -> Path:
    """Write masks as one DICOM SEG file whose frames name the source's slices. Atomic.

    Slices without a segment have no frame. Patient and study are the source's, as a PACS needs them: unlike the NIfTI
    files, this one says whose it is.

    Args:
        segments: By ``"lesion"`` and ``"brain"``, masks (Z, Y, X) on the patient's grid; an empty one is left out.
        patient: The patient, loaded from a DICOM series.
        file: To be written.
        model: Name of the model that made them.

    Raises:
        MissingExtraError: If highdicom is not installed.
        UnsupportedError: If the scan came from no DICOM series on disk, or there is nothing to write.
        OutputError: If the file cannot be written.
    """
    series = check_dicom(patient)
    shown = {name: mask for name, mask in segments.items() if mask.any()}
    if not shown:
        raise UnsupportedError(
            "there is nothing to write: no voxel was detected", file=patient.name, hint="leave --dicom out"
        )
    sources, frames = _sources(series)
    pixels = np.stack(
        [np.stack([_on_frame(mask, patient, frame) for frame in frames]) for mask in shown.values()], axis=-1
    )
    for source in sources:
        if "SliceThickness" not in source and "SharedFunctionalGroupsSequence" not in source:
            source.SliceThickness = f"{patient.spacing[0]:.6g}"  # some headers lack it
    try:
        made = _segmentation(sources, pixels.astype(np.uint8), list(shown), model)
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # highdicom's, about the source's headers
        raise UnsupportedError(
            f"the source's headers do not do for a DICOM segmentation ({error})",
            file=patient.files[patient.sequence],
            hint=_HINT,
        ) from error
    target = Path(file).expanduser()
    try:
        with atomic_path(target) as temporary:
            made.save_as(temporary, enforce_file_format=True)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"the segmentation cannot be written ({error})", file=target, hint="check the disk"
        ) from error
    return target


def _sources(series: Series) -> tuple[list[Any], list[Frame]]:
    """Return the source's files, and the frame that stands for each plane of the segmentation."""
    pydicom = import_module("pydicom")
    files = list(dict.fromkeys(frame.file for frame in series.frames))
    if len(files) == 1 and len(series.frames) > 1:  # enhanced: frames in the order of the file
        return [pydicom.dcmread(files[0])], sorted(series.frames, key=lambda frame: frame.index)
    seen: set[str] = set()
    sources, frames = [], []
    for frame in series.frames:
        dataset = pydicom.dcmread(frame.file)
        if (uid := str(dataset.SOPInstanceUID)) not in seen:  # copies of an instance
            seen.add(uid)
            sources.append(dataset)
            frames.append(frame)
    return sources, frames


def _on_frame(mask: NDArray[np.bool_], patient: Patient, frame: Frame) -> NDArray[np.bool_]:
    """Return what a mask (Z, Y, X) has at the voxels of a frame, (rows, columns)."""
    assert frame.position is not None and frame.axes is not None and frame.spacing is not None  # it was read
    columns, rows = frame.size
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    along, down = frame.axes[0] * frame.spacing[0], frame.axes[1] * frame.spacing[1]
    places = frame.position + column[..., None] * along + row[..., None] * down
    inverse = np.linalg.inv(patient.grid.canonical_affine)
    voxels = np.rint((places * _LPS) @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    x, y, z = np.moveaxis(voxels, -1, 0)
    inside = np.ones(x.shape, bool)
    for index, size in ((z, mask.shape[0]), (y, mask.shape[1]), (x, mask.shape[2])):
        inside &= (index >= 0) & (index < size)
    found = np.zeros((rows, columns), bool)
    found[inside] = mask[z[inside], y[inside], x[inside]]
    return found


def _segmentation(sources: list[Any], pixels: NDArray[np.uint8], names: list[str], model: str) -> Any:
    seg, codes = import_module("highdicom.seg"), import_module("pydicom.sr.codedict").codes
    highdicom, uids = import_module("highdicom"), import_module("pydicom.uid")
    ours = version("napari-cead")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=model,
        version=ours,
        family=codes.DCM.ArtificialIntelligence,
        source="napari-cead",
    )
    known = {
        LESION: (codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion),
        BRAIN: (codes.SCT.AnatomicalStructure, codes.SCT.Brain),
    }
    described = [
        seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=known[name][0],
            segmented_property_type=known[name][1],
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(names, start=1)
    ]
    return seg.Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=uids.generate_uid(),
        series_number=int(sources[0].get("SeriesNumber") or 0) + 1000,
        sop_instance_uid=uids.generate_uid(),
        instance_number=1,
        manufacturer="napari-cead",
        manufacturer_model_name=model,
        software_versions=ours,
        device_serial_number="none",
        series_description=f"Anomalies, {model} (research only)",
    )
