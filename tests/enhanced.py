"""DICOM written by pydicom: enhanced multi-frame files, and single slices of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from scanners import LPS


def _dataset(kind: UID, said: dict[str, Any]) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = kind
    data.file_meta.MediaStorageSOPInstanceUID = said.get("SOPInstanceUID") or generate_uid()
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SeriesNumber = "1.2.3", "1.2.3.5", 5
    data.Modality, data.SeriesDescription, data.PatientName = "MR", "Ax T2 FLAIR", "Nobody"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    for keyword, value in said.items():
        setattr(data, keyword, value)
    return data


def _item(**said: Any) -> list[Dataset]:
    item = Dataset()
    for keyword, value in said.items():
        setattr(item, keyword, value)
    return [item]


def _place(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """Return the affine in LPS+, voxel sizes, directions of rows and columns, and DICOM's pixel spacing."""
    lps, sizes = LPS @ affine, nib.affines.voxel_sizes(affine)
    directions = (lps[:3, :3] / sizes)[:, :2].T.ravel()
    return lps, sizes, directions, [float(sizes[1]), float(sizes[0])]


def write_enhanced(
    file: Path,
    data: np.ndarray,
    affine: np.ndarray,
    *,
    order: np.ndarray | None = None,
    slopes: np.ndarray | None = None,
    frames: list[dict[str, Any]] | None = None,
    shared: bool = True,
    places: bool = True,
    **said: Any,
) -> Path:
    """Write an (i, j, k) array as one enhanced MR file.

    Args:
        file: Where to.
        data: Stored values, frames along the last axis.
        affine: To RAS+; ``positions`` in ``frames`` say where a frame lies, in slices.
        order: Slice that each frame shows; in order if None.
        slopes: (slices, 2) slope and intercept of each slice.
        frames: For each slice more to say: ``{"position": 3, "FrameContentSequence": {...}}``.
        shared: Whether what is the same for all frames stands once; else in each frame.
        places: Whether there are functional groups at all.
        said: Elements of the file.
    """
    lps, sizes, directions, spacing = _place(affine)
    count = data.shape[2]
    order = np.arange(count) if order is None else order
    dataset = _dataset(EnhancedMRImageStorage, {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NONE"]} | said)
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = count, data.shape[1], data.shape[0]
    common = {
        "PlaneOrientationSequence": {"ImageOrientationPatient": [f"{each:.10g}" for each in directions]},
        "PixelMeasuresSequence": {"PixelSpacing": spacing, "SpacingBetweenSlices": float(sizes[2])},
    }
    per_frame = []
    for index in order:
        more = dict(frames[index]) if frames else {}
        where = lps[:3, 3] + lps[:3, 2] * more.pop("position", index)
        groups = {"PlanePositionSequence": {"ImagePositionPatient": [f"{each:.10g}" for each in where]}}
        if slopes is not None:
            slope, intercept = (float(each) for each in slopes[index])
            groups["PixelValueTransformationSequence"] = {
                "RescaleSlope": slope,
                "RescaleIntercept": intercept,
                "RescaleType": "US",
            }
        groups |= ({} if shared else common) | more
        per_frame.append(_item(**{name: _item(**values) for name, values in groups.items()})[0])
    if places:
        dataset.PerFrameFunctionalGroupsSequence = per_frame
        if shared:
            dataset.SharedFunctionalGroupsSequence = _item(
                **{name: _item(**values) for name, values in common.items()}
            )
    dataset.PixelData = np.ascontiguousarray(data[:, :, order].T.astype("<u2")).tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(file, enforce_file_format=True)
    return file


def write_slices(
    folder: Path,
    data: np.ndarray,
    affine: np.ndarray,
    *,
    positions: np.ndarray | None = None,
    name: str = "IM{:04d}.dcm",
    kind: UID = MRImageStorage,
    preamble: bool = True,
    each: list[dict[str, Any]] | None = None,
    **said: Any,
) -> list[Path]:
    """Write an (i, j, k) array as one file a slice.

    Args:
        folder: Where to.
        data: Stored values.
        affine: To RAS+.
        positions: Where the slices lie, in slices.
        name: Names of the files.
        kind: SOP class.
        preamble: Whether the files begin with a preamble and the mark.
        each: For each slice more elements.
        said: Elements of all files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps, _, directions, spacing = _place(affine)
    files = []
    for index, step in enumerate(np.arange(data.shape[2]) if positions is None else positions):
        more = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "SE"], "InstanceNumber": index + 1}
        more |= said | (each[index] if each else {})
        dataset = _dataset(kind, more)
        dataset.Rows, dataset.Columns, dataset.PixelSpacing = data.shape[1], data.shape[0], spacing
        dataset.ImagePositionPatient = [f"{value:.10g}" for value in lps[:3, 3] + lps[:3, 2] * step]
        dataset.ImageOrientationPatient = [f"{value:.10g}" for value in directions]
        dataset.PixelData = np.ascontiguousarray(data[:, :, index].T.astype("<u2")).tobytes()
        file = folder / name.format(index)
        if preamble:
            dataset.save_as(file, enforce_file_format=True)
        else:
            del dataset.file_meta
            dataset.save_as(file, implicit_vr=False, little_endian=True)
        files.append(file)
    return files
