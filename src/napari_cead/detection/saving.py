"""Writing a detection to disk: volumes in the source grid, and everything needed to repeat it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import make_folder, strict, to_json, write_text
from ..checksums import file_sha256
from ..errors import OutputError, ParameterError, SettingsFileError
from ..json_files import read_json_of, version_of
from ..metrics import precision, recall, volume_ml
from ..patients import MASK, Grid, Patient, disk_files, place_of, save_volume
from ..patients.marks import Kind
from ..preparing import N4, RAW
from ..progress import Stop, check_stop
from .corrections import Corrections
from .pipeline import Detection
from .provenance import device_name, sources, versions
from .replay import Origin, find_origin, moved_mask, quoted, replay_command, write_scan

SCHEMA_VERSION = 1

SCAN, REFERENCE = "scan.nii.gz", "reference.nii.gz"
CORRECTIONS, AUTOMATIC = "corrections.nii.gz", "mask_automatic.nii.gz"
BRAIN = "brain_mask.nii.gz"

KINDS: dict[str, Kind] = {
    "anomaly_map": "anomaly map",
    "reconstruction": "reconstruction",
    "mask": "mask",
    "mask_automatic": "mask",
    "corrections": "corrections",
    "brain_mask": "brain mask",
}
"""The marks of the files in their headers."""

EXTRAS = (SCAN, REFERENCE, CORRECTIONS, AUTOMATIC, BRAIN)
"""Files that are written only if needed."""

REPLAY = "replay"
"""Folder for the results of the command: inside that of the results themselves, so that the two can be compared."""

_NOT_REPEATABLE = (
    "no command repeats this result: the voxel size of the patient is not that of its grid, "
    "or its background is not 0"
)
_LARGEST_JSON = 1 << 22
_LONGEST_PREFIX = 70  # a name with it is one that can be read back
_MEND_READ = "give a settings.json or detection.json, or the folder that holds one"


def file_prefix(patient: str, model: str) -> str:
    """Return the prefix of a result's file names, so that several results can lie in one folder.

    Args:
        patient: Name of the patient.
        model: Name of the model.
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{patient}_{model}").strip("-_")[:_LONGEST_PREFIX] + "_"


def check_output(folder: str | Path, patient: Patient) -> Path:
    """Refuse an unusable output folder, before a long run; nothing is created.

    Raises:
        OutputError: If it is the folder of the patient's own files, where a result named ``mask`` would replace
            the reference or be taken for it next time, or if it cannot be written.
    """
    target = Path(folder).expanduser()
    for place in patient.files.values():
        if target.resolve() in _own(place):
            raise OutputError(
                "results would lie among the patient's own files",
                file=target,
                hint="choose another output folder",
            )
    existing = next(parent for parent in (target, *target.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError("the folder cannot be written", file=target, hint="choose another output folder")
    return target


def check_no_other(folder: str | Path, patient: str, model: str) -> None:
    """Refuse a folder with the result of another patient or model, which a new one would replace.

    Raises:
        OutputError: If there is one.
    """
    try:
        there = read_summary(Path(folder).expanduser() / "detection.json")
    except ParameterError:
        return
    before = there.get("patient"), there.get("model")
    if before != (patient, model):
        raise OutputError(
            f"the result of {before[1]} for {before[0]} lies here, and that of {model} for {patient} would replace it",
            file=folder,
            hint="choose another output folder",
        )


def _own(place: Path) -> set[Path]:
    """Return the folders that hold a patient's own files. A zip keeps its files to itself."""
    found = place_of(place)
    if found.zipped:
        return {found.file.resolve()}
    if found.series:
        return {file.resolve().parent for file in disk_files(place)}
    return {found.file.resolve(), found.file.resolve().parent}


def described_settings(result: Detection) -> dict[str, Any]:
    """Return the settings of a detection and where they come from, as JSON values."""
    return {
        "score": result.score,
        "options": result.options.model_dump(mode="json"),
        "params": result.params.model_dump(mode="json"),
        "rule": result.rule,
        "origins": dict(result.origins),
    }


def described_preparation(patient: Patient) -> dict[str, Any]:
    """Return the requested and the actual preparation of the scan, as JSON values."""
    made = patient.prepared
    if made is None:
        return {"asked": RAW.as_dict(), "stripper": None, "bias_field": None}
    return {
        "asked": dict(made.asked),
        "stripper": made.stripper or None,
        "bias_field": N4 if patient.sequence in made.corrected else None,
        **made.facts,
    }


def summary(result: Detection) -> dict[str, Any]:
    """Return everything about a detection except its volumes, as strict JSON values (NaN is None)."""
    patient, reference = result.patient, result.patient.lesion_mask
    described: dict[str, Any] = strict(
        {
            "schema_version": SCHEMA_VERSION,
            "patient": patient.name,
            "sequence": patient.sequence,
            "model": result.model,
            "sha256": result.sha256,
            "calibration": result.calibration or None,
            "model_folder": None if result.model_folder is None else result.model_folder.absolute(),
            "preparation": described_preparation(patient),
            "preprocessing": dict(result.preparation),
            **described_settings(result),
            "dice": result.dice,
            "precision": None if reference is None else precision(result.mask, reference),
            "recall": None if reference is None else recall(result.mask, reference),
            "volume_ml": volume_ml(result.mask, patient.spacing),
            "device": result.device,
            "device_name": device_name(result.device),
            "threads": result.threads,
            "batch_size": result.batch_size,
            "versions": versions(),
            "sources": sources(patient),
            "warnings": list(result.warnings),
        }
    )
    return described


def save_detection(
    result: Detection,
    folder: str | Path,
    *,
    json_name: str = "detection.json",
    corrections: Corrections | None = None,
    automatic: NDArray[np.bool_] | None = None,
    origin: Origin | None = None,
    prefix: str = "",
    should_stop: Stop | None = None,
) -> dict[str, Any]:
    """Write ``anomaly_map``, ``reconstruction`` and ``mask`` (``.nii.gz``) and a JSON summary.

    Where the skull was stripped, the mask of the brain is written too (``brain_mask``). The summary holds the command
    that makes the same files again. Where no file on disk gives this patient, the scan is written too (``scan``), and
    likewise the lesion mask (``reference``); the command uses them. All files are written aside first and then moved
    into place, the JSON last, so that a failure leaves nothing half-written.

    Args:
        result: From ``detect``; with corrections, its mask is the corrected one.
        folder: Output folder, created if it does not exist.
        json_name: Name of the JSON file.
        corrections: The painted corrections: written as ``corrections`` (1 painted in, 2 erased).
        automatic: (Z, Y, X) bool, the mask before the corrections: written as ``mask_automatic`` with them.
        origin: Where the patient was loaded from just now; None finds the files and compares them.
        prefix: Beginning of the names of all files, see `file_prefix`.
        should_stop: Called between the volumes.

    Returns:
        What the JSON file holds.

    Raises:
        Cancelled: If ``should_stop`` returned true. The folder is then as it was.
        OutputError: If the folder cannot be written, is that of the patient's own files, or holds a file of the
            name of a written scan that no detection wrote.
    """
    target = check_output(folder, result.patient).absolute()
    fresh = [place for place in (target, *target.parents) if not place.exists()]
    make_folder(target)
    found = origin or find_origin(result.patient)
    json_name = f"{prefix}{json_name}"
    before = _extras_before(target / json_name, prefix)
    _refuse_to_replace((prefix + name for name in _lacking(result.patient, found)), target, before)
    aside: Path | None = None
    try:
        aside = Path(tempfile.mkdtemp(dir=target, prefix=".part-"))
        found, grid = _with_inputs(result.patient, found, aside, target, prefix)
        volumes = {
            "anomaly_map": result.anomaly_map,
            "reconstruction": result.reconstruction,
            "mask": result.mask,
            "mask_automatic": None if corrections is None else automatic,
            "corrections": None if corrections is None else corrections.volume(),
            "brain_mask": None if result.patient.prepared is None else result.patient.prepared.brain_mask,
        }
        on_grid = replace(result.patient, grid=grid)
        for name, volume in volumes.items():
            check_stop(should_stop)
            if volume is not None:
                save_volume(volume, on_grid, aside / f"{prefix}{name}.nii.gz", kind=KINDS[name])
        names = sorted(path.name for path in aside.iterdir())
        described = _described(result, found, aside, target, corrections, prefix)
        write_text(aside / json_name, to_json(described))
        for name in (*names, json_name):
            (aside / name).replace(target / name)
        for name in before - set(names):  # they belong to no result now
            (target / name).unlink(missing_ok=True)
    except (OSError, OutputError) as error:
        why = error.strerror if isinstance(error, OSError) else error.reason
        raise OutputError(
            f"the results cannot be written ({why})", file=target, hint="choose another output folder"
        ) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # once results are in it, it stays
            for place in fresh:
                place.rmdir()
    return described


def read_summary(path: str | Path) -> dict[str, Any]:
    """Read the JSON file that `save_detection` wrote. Anybody may have written its values: they are not checked here.

    Raises:
        ParameterError: If it cannot be read, or is not a JSON object of this schema version.
    """
    file = Path(path)
    values = read_json_of(SettingsFileError, "this", file, _MEND_READ, _MEND_READ, _LARGEST_JSON)
    if (version := version_of(values)) != SCHEMA_VERSION:
        raise SettingsFileError(
            f"the settings have schema version {version}, this program reads {SCHEMA_VERSION}",
            file=file,
            hint="update napari-cead, or export them again with this version",
        )
    return dict(values)


def _lacking(patient: Patient, origin: Origin | None) -> tuple[str, ...]:
    """Return the volumes that have to be written because no file on disk holds them."""
    scan = (SCAN,) if origin is None else ()
    unlike = patient.lesion_mask is not None and (origin is None or origin.mask is None)
    return (*scan, REFERENCE) if unlike else scan


def _refuse_to_replace(names: Iterable[str], target: Path, ours: set[str]) -> None:
    for name in names:
        if (target / name).exists() and name not in ours:
            raise OutputError(
                f"a file {name} lies here that is no export of ours",
                file=target,
                hint="choose another output folder",
            )


def _extras_before(file: Path, prefix: str) -> set[str]:
    """Return which of the extra volumes an earlier export into the folder wrote."""
    with suppress(ParameterError):
        files = read_summary(file).get("files")
        if isinstance(files, dict):
            return {prefix + name for name in EXTRAS if prefix + name in files}
    return set()


def _with_inputs(
    patient: Patient, origin: Origin | None, aside: Path, target: Path, prefix: str
) -> tuple[Origin | None, Grid]:
    """Write the volumes that no file on disk holds; return where all will be, and the grid of the results."""
    grid, scan, reference = patient.grid, prefix + SCAN, prefix + REFERENCE
    if origin is None:
        written = write_scan(patient, aside / scan)
        if written is None:
            (aside / scan).unlink()
            return None, grid
        origin, grid = Origin(target / scan), written
    if patient.lesion_mask is not None and origin.mask is None:
        save_volume(patient.lesion_mask, replace(patient, grid=grid), aside / reference)
        origin = replace(origin, mask=target / reference)
    return origin, grid


def _described(
    result: Detection,
    origin: Origin | None,
    aside: Path,
    target: Path,
    corrections: Corrections | None,
    prefix: str,
) -> dict[str, Any]:
    """Return the content of the JSON file."""
    scan, reference, painted_in, brain_mask = (
        prefix + name for name in (SCAN, REFERENCE, CORRECTIONS, BRAIN)
    )
    described = summary(result)
    patient = result.patient
    files = {path.name: file_sha256(path) for path in sorted(aside.iterdir())}
    for name, file in ((patient.sequence, scan), (MASK, reference)):
        # A mask that was moved with a sequence still comes from its own file.
        if file in files and not (name == MASK and moved_mask(patient)):
            described["sources"][name].update(path=str(target / file), sha256=files[file])
    described["corrections"] = None
    if corrections is not None:
        described["corrections"] = {
            "file": painted_in,
            "sha256": files[painted_in],
            "added_voxels": int(corrections.added.sum()),
            "removed_voxels": int(corrections.removed.sum()),
        }
    described["command"] = None
    if origin is None:
        described["warnings"].append(_NOT_REPEATABLE)
    else:
        painted = None if corrections is None else target / painted_in
        brain = target / brain_mask if brain_mask in files else None
        command = replay_command(result, origin, target / f"{prefix}{REPLAY}", painted, brain)
        described["command"] = {"shell": quoted(command), "argv": command}
    described["files"] = files
    return described
