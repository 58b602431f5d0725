"""Exporting an analysis, and reading the settings of an export back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints, ValidationError

from ..detection import Detection, MapOptions, PostprocessParams, save_detection
from ..detection.corrections import Corrections, read_corrections
from ..detection.provenance import place_sha256, voxels_sha256
from ..detection.reconstruct import GROUP
from ..detection.saving import BRAIN, read_summary
from ..errors import MaskError, ParameterError, SettingsFileError
from ..json_files import Saved, first_wrong, from_saved
from ..patients import MASK, Patient
from ..patients.brain_masks import brain_on_grid
from ..progress import Stop

SETTINGS_FILE = "settings.json"
"""The volumes that `export_analysis` writes."""

_FILES = (SETTINGS_FILE, "detection.json")


def export_analysis(
    result: Detection,
    folder: str | Path,
    *,
    corrections: Corrections | None = None,
    automatic: NDArray[np.bool_] | None = None,
    prefix: str = "",
    should_stop: Stop | None = None,
) -> dict[str, Any]:
    """Write mask, anomaly map and reconstruction (NIfTI, source grid), and ``settings.json``.

    ``settings.json`` holds the full provenance of the result and the ``napari-cead detect`` command that gives the
    identical mask. With corrections, ``mask`` is the corrected one; ``mask_automatic`` and ``corrections`` (1 painted,
    2 erased) are written beside it. A patient without a file on disk is written as ``scan``, a lesion mask without a
    file as ``reference``.

    Args:
        result: The analysis as a result; its mask is the corrected one.
        folder: Output folder, created if it does not exist.
        corrections: The painted corrections.
        automatic: (Z, Y, X) bool, the mask before the corrections; left out without any.
        prefix: What the names of all files begin with.
        should_stop: Called between the volumes.

    Returns:
        The content of ``settings.json``.

    Raises:
        OutputError: If the folder cannot be written, or is that of the patient's own files.
        Cancelled: If ``should_stop`` returned true. The folder is then as it was.
    """
    return save_detection(
        result,
        folder,
        json_name=SETTINGS_FILE,
        corrections=corrections,
        automatic=automatic,
        prefix=prefix,
        should_stop=should_stop,
    )


@dataclass(frozen=True)
class SavedSettings:
    """Settings read back from an export or from the output of ``napari-cead detect``.

    Attributes:
        model: Name of the model.
        sha256: Checksum of its weights.
        calibration: Checksum of what else on its card decides the map; None in older files.
        score: Name of the anomaly score.
        params: Settings of the post-processing.
        options: Processing of the map.
        batch_size: Slices that passed through the network together.
        device: The device it ran on.
        sequence: Sequence of the patient.
        patient: Name of the patient.
        sources: By sequence name (and ``"seg"``), the sha256 of the voxels and of the file, if known.
        file: The JSON file itself.
        corrections_file: The painted corrections, beside the JSON file; None without any.
        corrections_sha256: Checksum of that file.
        brain_file: The brain mask used for skull stripping, beside the JSON file; None without one.
        brain_sha256: Checksum of that file.
        evened: Whether the bias field was corrected.
        registered: Whether other sequences were moved onto this one.
        notes: Assumptions where the file says nothing, and its unknown keys.
    """

    model: str
    sha256: str
    score: str
    params: PostprocessParams
    options: MapOptions
    batch_size: int
    device: str
    sequence: str
    patient: str
    sources: dict[str, Source] = field(repr=False)
    file: Path
    calibration: str | None = None
    corrections_file: Path | None = None
    corrections_sha256: str | None = None
    brain_file: Path | None = None
    brain_sha256: str | None = None
    evened: bool = False
    registered: bool = False
    notes: tuple[str, ...] = ()


_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# A name is looked up among the models; a name with a slash would be a folder anywhere.
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")]
_Word = Annotated[str, StringConstraints(max_length=1000)]
_Device = Annotated[str, StringConstraints(pattern=r"^(cpu|mps|cuda(:[0-9]{1,3})?)$")]
_VolumeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.nii(\.gz)?$")]


class Source(Saved):
    """Checksums of a result's scan or lesion mask.

    Attributes:
        path: Path of the file.
        sha256: Of the file.
        voxels_sha256: Of the values, whatever the file.
    """

    path: Any = None
    sha256: _Sha256 | None = None
    voxels_sha256: _Sha256 | None = None


class _CorrectionsEntry(Saved):
    file: _VolumeName
    sha256: _Sha256 | None = None
    added_voxels: Any = None
    removed_voxels: Any = None


class _PreparationEntry(Saved):
    asked: Any = None
    stripper: Any = None
    bias_field: Literal["n4"] | None = None
    version: Any = None
    device: Any = None
    file: Any = None
    found_in: Any = None
    registered: dict[str, Any] | None = None
    brain_ml: Any = None


class _File(Saved):
    """The content that `save_detection` writes. The fields of type Any describe the result and are not used."""

    UNWRITTEN: ClassVar[frozenset[str]] = frozenset({"calibration"})

    schema_version: Literal[1]
    model: _Name
    sha256: _Sha256
    calibration: _Sha256 | None = None
    score: _Word
    params: dict[str, Any]
    options: dict[str, Any] = Field(default_factory=dict)
    batch_size: int = Field(default=GROUP, ge=1, le=1 << 20)
    device: _Device
    sequence: _Word
    patient: _Word
    sources: dict[_Word, Source] = Field(default_factory=dict)
    corrections: _CorrectionsEntry | None = None
    preparation: _PreparationEntry | None = None
    model_folder: Any = None
    preprocessing: Any = None
    rule: Any = None
    origins: Any = None
    dice: Any = None
    precision: Any = None
    recall: Any = None
    volume_ml: Any = None
    device_name: Any = None
    threads: Any = None
    versions: Any = None
    warnings: Any = None
    command: Any = None
    files: Any = None


def read_settings(path: str | Path) -> SavedSettings:
    """Read the settings of an export. Nothing in the file is run, and it names no file outside its own folder.

    Args:
        path: A ``settings.json`` or ``detection.json``, or the folder that holds one.

    Raises:
        ParameterError: If there is none, or it is not a valid one of this schema version.
    """
    file = _find(Path(path).expanduser())
    values = read_summary(file)
    try:
        read, notes = from_saved(_File, values, strict=True)
        params, of_params = PostprocessParams.from_saved(read.params)
        options, of_options = MapOptions.from_saved(read.options)
    except ValidationError as error:
        raise SettingsFileError(first_wrong(error), file=file, hint=_AGAIN) from None
    except ParameterError as error:
        raise SettingsFileError(error.reason, file=file, hint=_AGAIN) from None
    brain_name = _prefix(file) + BRAIN
    brain = _brain_checksum(read, brain_name)
    return SavedSettings(
        model=read.model,
        sha256=read.sha256,
        calibration=read.calibration,
        score=read.score,
        params=params,
        options=options,
        batch_size=read.batch_size,
        device=read.device,
        sequence=read.sequence,
        patient=read.patient,
        sources=dict(read.sources),
        file=file,
        corrections_file=None if read.corrections is None else file.parent / read.corrections.file,
        corrections_sha256=None if read.corrections is None else read.corrections.sha256,
        brain_file=None if brain is None else file.parent / brain_name,
        brain_sha256=brain,
        evened=read.preparation is not None and read.preparation.bias_field is not None,
        registered=read.preparation is not None and bool(read.preparation.registered),
        notes=tuple(
            f"{file.name}: {note}"
            for note in (*notes, *of_params, *(of_options if "options" in values else ()))
        ),
    )


def _brain_checksum(read: _File, name: str) -> str | None:
    """Return the checksum of the brain mask of a result whose skull was stripped; None for any other."""
    if read.preparation is None or read.preparation.stripper is None or not isinstance(read.files, dict):
        return None
    found = read.files.get(name)
    return found if isinstance(found, str) else None


_AGAIN = "export the settings again"


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in _FILES:
        if (path / name).is_file():
            return path / name
    found = sorted(file for name in _FILES for file in path.glob(f"*_{name}"))
    if len(found) > 1:
        raise SettingsFileError(
            f"there are {len(found)} exports here ({found[0].name}, {found[1].name}…)",
            file=path,
            hint="choose the JSON file of one",
        )
    if not found:
        raise SettingsFileError(
            f"there is neither {' nor '.join(_FILES)} here", file=path, hint="choose the folder of an export"
        )
    return found[0]


def _prefix(file: Path) -> str:
    """Return what the names of the files of an export begin with."""
    return next((file.name.removesuffix(name) for name in _FILES if file.name.endswith(name)), "")


def check_same_patient(settings: SavedSettings, patient: Patient) -> list[str]:
    """Return the differences between the patient of the settings and another patient, a sentence each.

    Args:
        settings: From `read_settings`.
        patient: The patient to use them for.
    """
    found = []
    if settings.sequence != patient.sequence:
        found.append(f"the settings were made for {settings.sequence}, this is {patient.sequence}")
    elif _differs(settings.sources.get(settings.sequence), patient, patient.sequence, patient.raw().volume()):
        found.append(f"the settings were made for another scan ({settings.patient}) than {patient.name}")
    if _differs(settings.sources.get(MASK), patient, MASK, patient.lesion_mask):
        found.append("the settings were made with another lesion mask, so that Dice is another one")
    return found


def _differs(source: Source | None, patient: Patient, name: str, volume: NDArray[Any] | None) -> bool:
    """Whether a volume is known to differ; by its voxels if they are known, else by its file."""
    if source is None or volume is None:
        return (source is None) != (volume is None)
    if source.voxels_sha256 is not None:
        return voxels_sha256(volume) != source.voxels_sha256
    file = patient.files.get(name)
    return file is not None and source.sha256 is not None and place_sha256(file) != source.sha256


def load_corrections(settings: SavedSettings, patient: Patient) -> Corrections | None:
    """Return the painted corrections of the mask, None without any.

    Args:
        settings: From `read_settings`.
        patient: The patient to paint on; it may be another file, but must have the same grid.

    Raises:
        MaskError: If the file is missing, has changed since, or does not fit the patient.
    """
    file = settings.corrections_file
    if file is None:
        return None
    hint = "put the exported file back, or restore the settings without it"
    if file.is_symlink() or not file.is_file():
        raise MaskError("the corrections are missing", file=file, hint=hint)
    if settings.corrections_sha256 is not None and place_sha256(file) != settings.corrections_sha256:
        raise MaskError("the corrections have changed since they were exported", file=file, hint=hint)
    return read_corrections(file, patient)


def load_brain(settings: SavedSettings, patient: Patient) -> NDArray[np.bool_] | None:
    """Return the brain mask (Z, Y, X) used for skull stripping, None without one.

    No stripper runs for it: a name in a file may be any command.

    Args:
        settings: From `read_settings`.
        patient: The patient to strip.

    Raises:
        MaskError: If the file is missing, has changed since, or does not fit the patient.
    """
    file = settings.brain_file
    if file is None:
        return None
    hint = "put the exported file back, or strip the skull anew"
    if file.is_symlink() or not file.is_file():
        raise MaskError("the brain mask is missing", file=file, hint=hint)
    if place_sha256(file) != settings.brain_sha256:
        raise MaskError("the brain mask has changed since it was exported", file=file, hint=hint)
    return brain_on_grid(patient, file)[0]
