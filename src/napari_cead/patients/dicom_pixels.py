"""The stored values of a DICOM file: by pydicom, and where they are compressed by GDCM, which SimpleITK brings."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnreadableError
from .dicom_headers import pydicom
from .itk import simpleitk, why
from .repairs import repairs

_HINT = "export the series from the scanner or the archive again, uncompressed if possible"
_PIXELS = (
    *("SOPInstanceUID", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
)


def stored_values(file: Path) -> NDArray[Any]:
    """Return (frames, rows, columns) of a file as they are stored, without any slope.

    Raises:
        UnreadableError: If they cannot be read.
    """
    try:
        with repairs():
            data = pydicom().dcmread(file, force=True)
            meta = data.file_meta
            if "TransferSyntaxUID" not in meta:  # no preamble: how it was read says how it is written
                implicit, little = data.original_encoding
                uid = pydicom().uid
                explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
                meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
            syntax = meta.TransferSyntaxUID
            if syntax.is_encapsulated and syntax != pydicom().uid.RLELossless:
                values = _by_gdcm(data)
            else:
                values = pydicom().pixels.pixel_array(data, raw=True)
            rows, columns = int(data.Rows), int(data.Columns)
            return np.asarray(values).reshape(-1, rows, columns)
    except Exception as error:  # bytes that anybody wrote: pydicom and ITK raise of all kinds
        raise UnreadableError(f"the slices cannot be read ({why(error)})", file=file, hint=_HINT) from error


def _by_gdcm(data: Any) -> NDArray[Any]:
    """Decode compressed frames: of a copy without geometry and slopes, which ITK would make the same for all frames."""
    plain = pydicom().Dataset()
    for keyword in _PIXELS:
        if keyword in data:
            plain[keyword] = data[keyword]
    plain.file_meta = data.file_meta
    captures = pydicom().uid
    plain.SOPClassUID = captures.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    plain.file_meta.MediaStorageSOPClassUID = plain.SOPClassUID
    with tempfile.TemporaryDirectory(prefix="napari-cead-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "frames.dcm"
        plain.save_as(copy, enforce_file_format=True)
        sitk = simpleitk()
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(copy))
        return np.asarray(sitk.GetArrayFromImage(reader.Execute()))
