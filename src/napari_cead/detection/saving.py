"""Writing a detection to disk: volumes in the source grid, and everything needed to repeat it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..atomic import make_folder, strict, to_json, write_text
from ..errors import OutputError
from ..metrics import precision, recall, volume_ml
from ..patients import MASK, Patient, save_volume
from .pipeline import Detection

SCHEMA_VERSION = 1

_PACKAGES = ("napari-cead", "torch", "numpy", "scipy", "opencv-python-headless", "nibabel")


def versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def source_hashes(files: Mapping[str, Path]) -> dict[str, dict[str, str | None]]:
    """Return absolute path and sha256 of every source file (of a folder of slices: over all its files, sorted)."""
    return {name: {"path": str(path.absolute()), "sha256": _sha256(path)} for name, path in files.items()}


def _sha256(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        for file in sorted(path.glob("*.png")) if path.is_dir() else [path]:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    except OSError:
        return None  # moved away since it was read; the result itself is still good
    return digest.hexdigest()


def check_output(folder: str | Path, patient: Patient) -> Path:
    """Refuse an output folder that cannot do, before a long run; nothing is created.

    Raises:
        OutputError: If it is the folder of the patient's own files, where a result named ``mask`` would replace
            the reference or be taken for it next time, or if it cannot be written.
    """
    target = Path(folder).expanduser()
    for source in patient.files.values():
        if target.resolve() in (source.resolve(), source.resolve().parent):
            raise OutputError(
                "results would lie among the patient's own files",
                file=target,
                mend="choose another output folder",
            )
    existing = next(parent for parent in (target, *target.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError("the folder cannot be written", file=target, mend="choose another output folder")
    return target


def summary(result: Detection) -> dict[str, Any]:
    """Return everything about a detection but its volumes, as strict JSON values (NaN is None)."""
    patient, reference = result.patient, result.patient.lesion_mask
    used = {name: path for name, path in patient.files.items() if name in (patient.sequence, MASK)}
    described: dict[str, Any] = strict(
        {
            "schema_version": SCHEMA_VERSION,
            "patient": patient.name,
            "sequence": patient.sequence,
            "model": result.model,
            "sha256": result.sha256,
            "score": result.score,
            "params": result.params.model_dump(mode="json"),
            "rule": result.rule,
            "dice": result.dice,
            "precision": None if reference is None else precision(result.mask, reference),
            "recall": None if reference is None else recall(result.mask, reference),
            "volume_ml": volume_ml(result.mask, patient.spacing),
            "device": result.device,
            "versions": versions(),
            "sources": source_hashes(used),
            "warnings": list(result.warnings),
        }
    )
    return described


def save_detection(
    result: Detection,
    folder: str | Path,
    *,
    json_name: str = "detection.json",
    more_volumes: Mapping[str, NDArray[Any]] | None = None,
    more_facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``anomaly_map``, ``reconstruction`` and ``mask`` (``.nii.gz``) and a JSON summary.

    All files are written aside first and then moved into place, the JSON last, so that a failure leaves
    nothing half-written.

    Args:
        result: From ``detect``.
        folder: Output folder, made if it does not exist.
        json_name: Name of the JSON file.
        more_volumes: Further (Z, Y, X) volumes to write, by name.
        more_facts: Further JSON values to add to the summary.

    Returns:
        What the JSON file holds.

    Raises:
        OutputError: If the folder cannot be written, or is that of the patient's own files.
    """
    check_output(folder, result.patient)
    described = {**summary(result), **strict(dict(more_facts or {}))}
    volumes = {
        "anomaly_map": result.anomaly_map,
        "reconstruction": result.reconstruction,
        "mask": result.mask,
        **(more_volumes or {}),
    }
    target = make_folder(folder)
    aside: Path | None = None
    try:
        aside = Path(tempfile.mkdtemp(dir=target, prefix=".part-"))
        for name, volume in volumes.items():
            save_volume(volume, result.patient, aside / f"{name}.nii.gz")
        write_text(aside / json_name, to_json(described))
        for name in (*(f"{volume}.nii.gz" for volume in volumes), json_name):
            (aside / name).replace(target / name)
    except (OSError, OutputError) as error:
        why = error.strerror if isinstance(error, OSError) else error.reason
        raise OutputError(
            f"the results cannot be written ({why})", file=target, mend="choose another output folder"
        ) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
    return described
