"""What the headers of DICOM files say, frame by frame. Read by pydicom, which is imported when it is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import printable
from .repairs import listen_to, repairs

MAX_FRAMES = 100_000
"""Most frames of one file."""

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # unpacked without a limit, and not used for images
_TAGS = {
    "instance": "SOPInstanceUID",
    "class": "SOPClassUID",
    "study": "StudyInstanceUID",
    "patient": "PatientID",
    "place": "FrameOfReferenceUID",
    "series": "SeriesInstanceUID",
    "number": "SeriesNumber",
    "description": "SeriesDescription",
    "protocol": "ProtocolName",
    "modality": "Modality",
    "kind": "ImageType",
    "colour": "PhotometricInterpretation",
}
_TRAITS = {
    "echo": "EchoNumbers",
    "echo time": "EchoTime",
    "image type": "ImageType",
    "component": "ComplexImageComponent",
    "sequence": "ScanningSequence",
    "inversion time": "InversionTime",
    "flip angle": "FlipAngle",
    "sequence name": "SequenceName",
    "options": "ScanOptions",
}
_MOMENTS = {
    "time point": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    "b-value": ("DiffusionBValue",),
    "repetition time": ("RepetitionTime",),
    "trigger time": ("TriggerTime", "NominalCardiacTriggerDelayTime"),
    "acquisition": ("AcquisitionNumber",),
    "time": ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime", "ContentTime"),
}
_PLACES = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "ModalityLUTSequence"),
    *("ContrastBolusAgent", "ContrastBolusAgentSequence", "DimensionIndexSequence"),
)
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# What a functional group is called, and the values in it that count: by the names that a header of one slice has.
_IN_GROUPS = {
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelMeasuresSequence": {"PixelSpacing": "PixelSpacing"},
    "PixelValueTransformationSequence": {
        "RescaleSlope": "RescaleSlope",
        "RescaleIntercept": "RescaleIntercept",
    },
    "MREchoSequence": {"EffectiveEchoTime": "EchoTime"},
    "MRImageFrameTypeSequence": {
        "FrameType": "ImageType",
        "ComplexImageComponent": "ComplexImageComponent",
    },
    "MRDiffusionSequence": {"DiffusionBValue": "DiffusionBValue"},
    "MRTimingAndRelatedParametersSequence": {"RepetitionTime": "RepetitionTime", "FlipAngle": "FlipAngle"},
    "MRModifierSequence": {"InversionTimes": "InversionTime"},
    "CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": "NominalCardiacTriggerDelayTime"},
    "FrameContentSequence": {
        "StackID": "StackID",
        "TemporalPositionIndex": "TemporalPositionIndex",
        "FrameAcquisitionDateTime": "FrameAcquisitionDateTime",
        "DimensionIndexValues": "DimensionIndexValues",
    },
}


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice: a file, or one frame of a file that holds several.

    Attributes:
        file: The file.
        index: Number of the frame in it, from 0.
        size: Columns and rows.
        position: (3,) middle of the first voxel in mm, LPS+; None if the header states none.
        axes: (2, 3) directions along a row and along a column; None if the header states none.
        spacing: Distance in mm of columns and of rows; None if the header states none.
        rescale: Slope and intercept of its stored values; NaN for one that the header has and that is no number.
        traits: What tells one contrast from another, by names for a reader.
        moments: What else may differ between slices at one place, by names for a reader.
    """

    file: Path
    index: int
    size: tuple[int, int]
    position: NDArray[np.float64] | None
    axes: NDArray[np.float64] | None
    spacing: tuple[float, float] | None
    rescale: tuple[float, float]
    traits: Mapping[str, str] = field(default_factory=dict)
    moments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Header:
    """What the header of one file says.

    Attributes:
        tags: Texts of the tags that hold for the whole file, by names of ours.
        agent: Whether a contrast agent is named.
        colour: Whether a voxel has several values.
        table: Whether stored values mean what a table says.
        frames: Its slices; empty if the header contradicts itself about them.
    """

    tags: dict[str, str]
    agent: bool
    colour: bool
    table: bool
    frames: tuple[Frame, ...]


@cache
def pydicom() -> Any:
    """Return the module. What it has to say about a header is kept from the terminal inside `repairs`."""
    return listen_to("pydicom")


def class_name(uid: str) -> str:
    """Return what the standard calls a class of objects, without "Storage"; empty if it does not know it."""
    with repairs():  # the class that a header states need not look like one
        name = str(pydicom().uid.UID(uid).name)
    return "" if name == uid else name.removesuffix(" Storage")


def header_of(file: Path) -> Header | None:
    """Return what the header of a DICOM file says, None if it cannot be read."""
    wanted = [*_TAGS.values(), *_TRAITS.values(), *_PLACES, *_GROUPS]
    wanted += [keyword for keywords in _MOMENTS.values() for keyword in keywords]
    try:
        with repairs():
            with file.open("rb") as stream:
                if _DEFLATED in stream.read(1024):
                    return None
            data = pydicom().dcmread(file, stop_before_pixels=True, specific_tags=wanted, force=True)
            return _header(file, data)
    except Exception:  # bytes that anybody wrote: pydicom raises of all kinds
        return None


def _header(file: Path, data: Any) -> Header | None:
    size = (_count(data, "Columns"), _count(data, "Rows"))
    tags = {name: _text(data, keyword) for name, keyword in _TAGS.items()}
    if not any(tags.values()):
        return None
    return Header(
        tags,
        bool(_text(data, "ContrastBolusAgent") or _get(data, "ContrastBolusAgentSequence")),
        _count(data, "SamplesPerPixel") > 1 or tags["colour"].startswith(("RGB", "YBR", "PALETTE")),
        bool(_get(data, "ModalityLUTSequence")),
        tuple(_frames(file, data, size)) if min(size) > 0 else (),
    )


def _frames(file: Path, data: Any, size: tuple[int, int]) -> list[Frame]:
    common = {name: _get(data, name) for name in (*_TRAITS.values(), *_PLACES[:5])}
    common |= {name: _get(data, name) for names in _MOMENTS.values() for name in names}
    shared, each = ([*(_get(data, name) or ())] for name in _GROUPS)
    count = max(1, _count(data, "NumberOfFrames"))
    if not each and count == 1:
        return [_frame(file, 0, size, common, ())]
    if len(each) not in (0, count) or count > MAX_FRAMES:
        return []
    # One place and one slope for a file of many slices are those of nobody knows which.
    for name in ("ImagePositionPatient", "DiffusionBValue"):
        common[name] = None
    common |= _in_groups(shared[0]) if shared else {}
    dimensions = _dimensions(data)
    return [
        _frame(file, index, size, common | (_in_groups(each[index]) if each else {}), dimensions)
        for index in range(count)
    ]


def _in_groups(groups: Any) -> dict[str, Any]:
    """Return what the functional groups of a frame, or of all frames, say."""
    found = {}
    for name, values in _IN_GROUPS.items():
        items = _get(groups, name)
        for source, target in values.items() if items else ():
            if (value := _get(items[0], source)) is not None:
                found[target] = value
    return found


def _dimensions(data: Any) -> tuple[str, ...]:
    """Return what each of the indices of a frame counts, in words."""
    names = []
    for item in _get(data, "DimensionIndexSequence") or ():
        tag = _get(item, "DimensionIndexPointer")
        names.append(pydicom().datadict.dictionary_description(tag).lower() if _known(tag) else "")
    return tuple(names)


def _known(tag: Any) -> bool:
    return tag is not None and bool(pydicom().datadict.dictionary_has_tag(tag))


def _frame(
    file: Path, index: int, size: tuple[int, int], said: Mapping[str, Any], dimensions: tuple[str, ...]
) -> Frame:
    spacing = _numbers(said.get("PixelSpacing"), 2)
    axes = _numbers(said.get("ImageOrientationPatient"), 6)
    traits = {name: _plain(said.get(keyword)) for name, keyword in _TRAITS.items()}
    for name in ("echo time", "inversion time", "flip angle"):
        if (number := _numbers(said.get(_TRAITS[name]), 1)) is not None:
            traits[name] = f"{round(float(number[0]), 1):g}"
    traits["stack"] = _plain(said.get("StackID"))
    moments = {
        name: next((text for each in keywords if (text := _plain(said.get(each)))), "")
        for name, keywords in _MOMENTS.items()
    }
    for name, value in zip(dimensions, said.get("DimensionIndexValues") or (), strict=False):
        if name and not any(word in name for word in ("stack", "image position")):
            moments.setdefault(name, str(value))
    return Frame(
        file,
        index,
        size,
        _numbers(said.get("ImagePositionPatient"), 3),
        None if axes is None else axes.reshape(2, 3),
        None if spacing is None or spacing.min() <= 0 else (float(spacing[1]), float(spacing[0])),
        (_number(said.get("RescaleSlope"), 1.0), _number(said.get("RescaleIntercept"), 0.0)),
        traits,
        moments,
    )


def _get(data: Any, keyword: str) -> Any:
    """Return the value of an element: None if there is none, empty if it is not what such an element can be."""
    try:
        return data.get(keyword)
    except Exception:  # bytes that anybody wrote: pydicom raises of all kinds
        return ""


def _count(data: Any, keyword: str) -> int:
    found = _numbers(_get(data, keyword), 1)
    return int(found[0]) if found is not None else 0


def _numbers(value: Any, count: int) -> NDArray[np.float64] | None:
    try:
        values = np.array(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _number(value: Any, default: float) -> float:
    if value is None:
        return default
    found = _numbers(value, 1)
    return math.nan if found is None else float(found[0])


def _text(data: Any, keyword: str) -> str:
    return _plain(_get(data, keyword))


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    text = "\\".join(map(str, value)) if several else str(value)
    return printable(text.encode("utf-8", "replace").decode("utf-8")).strip()
