"""What is fuzzed: how a good input is made, and everything that reads it."""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from PIL import Image

from enhanced import write_enhanced, write_slices
from napari_cead import load_model, load_patient, save_volume
from napari_cead.detection import save_detection
from napari_cead.detection.pipeline import detect
from napari_cead.exploring.settings_file import (
    check_same_patient,
    export_analysis,
    load_corrections,
    read_settings,
)
from napari_cead.models import ModelSpec, build
from napari_cead.patients import find_patients
from napari_cead.patients.integrity import check_cohort
from napari_cead.runs.events import EventTail
from napari_cead.runs.run_folder import RunFolder
from napari_cead.runs.run_info import look, read_history
from napari_cead.runs.training_settings import TrainingSettings
from napari_cead.slices import slice_stack
from napari_cead.store.parts import read_split
from napari_cead.store.prepare import prepare
from napari_cead.store.scan_list import read_scan_list
from napari_cead.store.store import SliceStore
from napari_cead.zoo import ModelCard, Preprocessing, install_model, list_models, save_model
from napari_cead.zoo.storage import check_model
from scanners import itk_image
from scans import make_brain, write_nifti

SPEC = ModelSpec(name="tiny", family="vae", feature_maps=(4, 8), latent=5, coord_conv=True, image_size=20)
AFFINE = np.diag([0.94, 0.94, 1.5, 1.0])
SHAPE = (5, 20, 18)


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        make: Writes a good one into an empty folder.
        use: Reads it in every way the program has; gets the folder.
    """

    make: Callable[[Path], None]
    use: Callable[[Path], None]


def _volumes() -> tuple[np.ndarray, np.ndarray]:
    volume, lesion = make_brain(SHAPE)
    return volume.T, lesion.T.astype(np.uint8)


# Patients


def _nifti(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        volume, lesion = _volumes()
        write_nifti(folder / f"flair{name}", np.round(volume).astype(np.int16), AFFINE)
        write_nifti(folder / f"seg{name}", lesion, AFFINE)
        for file in folder.glob("*.gz"):  # the same bytes each time
            file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), 6, mtime=0))

    return make


def _nifti_2(folder: Path) -> None:
    volume, lesion = _volumes()
    nib.save(nib.Nifti2Image(volume.astype(">f4"), AFFINE), folder / "flair.nii")
    nib.save(nib.Nifti1Image(lesion, AFFINE), folder / "seg.nii")


def _pair(folder: Path) -> None:
    volume, lesion = _volumes()
    nib.save(nib.Nifti1Pair(np.round(volume).astype(np.int16), AFFINE), folder / "flair.hdr")
    write_nifti(folder / "seg.nii", lesion, AFFINE)


def _png(folder: Path) -> None:
    volume, lesion = make_brain(SHAPE)
    for name, data in (("3", np.clip(volume, 0, 255)), ("seg", lesion * 255)):
        (folder / name).mkdir()
        for number, pixels in enumerate(data.astype(np.uint8)):
            Image.fromarray(pixels).save(folder / name / f"{number:03d}.png")


def _dicom(folder: Path) -> None:
    uids = [{"SOPInstanceUID": f"1.2.3.5.{index}"} for index in range(SHAPE[0])]
    write_slices(folder, np.round(_volumes()[0]).astype(np.uint16), AFFINE, each=uids)


def _enhanced(folder: Path) -> None:
    data = np.round(_volumes()[0]).astype(np.uint16)
    slopes = np.stack([np.linspace(0.5, 2, SHAPE[0]), np.zeros(SHAPE[0])], axis=1)
    order = np.array([3, 0, 4, 1, 2])
    write_enhanced(folder / "IM1.dcm", data, AFFINE, order=order, slopes=slopes, SOPInstanceUID="1.2.3.6")


def _nrrd(folder: Path) -> None:
    volume, lesion = _volumes()
    for name, data in (("flair", np.round(volume).astype(np.int16)), ("seg", lesion)):
        image = itk_image(data, AFFINE)
        sitk.WriteImage(image, str(folder / f"{name}.nrrd"), useCompression=name == "seg")


def _zip(folder: Path) -> None:
    """Write a cohort of two patients: NIfTI, and DICOM."""
    with tempfile.TemporaryDirectory() as place:
        for name, make in (("anna", _nifti(".nii")), ("bert", _dicom)):
            (Path(place) / name).mkdir()
            make(Path(place) / name)
        with zipfile.ZipFile(folder / "cohort.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(Path(place).rglob("*.*")):
                packed.writestr(
                    zipfile.ZipInfo(file.relative_to(place).as_posix()),
                    file.read_bytes(),
                    zipfile.ZIP_DEFLATED,
                )


def _use_zip(folder: Path) -> None:
    for archive in sorted(folder.glob("*.zip")):
        check_cohort(archive)
        for place in find_patients(archive):
            load_patient(place)


def _use_patient(folder: Path) -> None:
    check_cohort(folder.parent)
    patient = load_patient(folder)
    slice_stack(patient, patient.sequence, size=20)
    save_volume(patient.volume(), patient, folder / "out.nii.gz")


def _reference(folder: Path) -> None:
    """A mask with values below 128 on a grid of twice the resolution, as another program might draw it."""
    volume, lesion = _volumes()
    write_nifti(folder / "flair.nii", np.round(volume).astype(np.int16), AFFINE)
    finer = lesion.repeat(2, 0).repeat(2, 1).astype(np.int8)
    affine = AFFINE @ np.diag([0.5, 0.5, 1, 1])
    affine[:2, 3] = -0.25 * AFFINE.diagonal()[:2]
    write_nifti(folder / "seg.nii", finer, affine)


def _use_reference(folder: Path) -> None:
    """A reference that is used holds what the file holds, or something is said."""
    check_cohort(folder.parent)
    patient = load_patient(folder)
    if patient.lesion_mask is None or "seg" not in patient.files:
        return
    logging.disable()  # the oracle may speak
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = nib.load(patient.files["seg"])
            stored, voxel = np.asarray(image.dataobj), abs(np.linalg.det(image.affine[:3, :3]))
    except Exception:  # and reads less than the program does
        return
    finally:
        logging.disable(logging.NOTSET)
    assert not (stored < 0).any(), "a mask with negative values is used"
    assert patient.lesion_mask.any() or not stored.any(), "a mask that holds something comes out empty"
    there, used = (stored > 0).sum() * voxel, patient.lesion_mask.sum() * np.prod(patient.spacing)
    assert patient.warnings or abs(used - there) <= 0.1 * there, (
        f"{there:g} mm3 become {used:g}, nothing is said"
    )


# Models


def _save_model(folder: Path, name: str) -> Path:
    torch.manual_seed(0)
    card = ModelCard(
        name=name,
        spec=SPEC,
        preprocessing=Preprocessing(image_size=20),
        description="untrained",
        score_scales={"kl-gradient": 2e-3, "combined": 1e-3},
    )
    return save_model(build(SPEC), card, folder)


def _model(folder: Path) -> None:
    _save_model(folder / "models" / "tiny", "tiny")


def _use_model(folder: Path) -> None:
    place = folder / "models" / "tiny"
    home = os.environ["NAPARI_CEAD_HOME"]
    os.environ["NAPARI_CEAD_HOME"] = str(folder)
    try:
        list_models(damaged=True)
    finally:
        os.environ["NAPARI_CEAD_HOME"] = home
    check_model(place)
    detector = load_model(place, "cpu")
    size = detector.card.preprocessing.image_size
    detector.reconstruct(torch.zeros(1, 1, size, size))


def _archive(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        source = _save_model(Path(place) / "tiny", "tiny")
        with zipfile.ZipFile(folder / "tiny.zip", "w") as packed:
            for file in sorted(source.iterdir()):
                packed.writestr(zipfile.ZipInfo(f"tiny/{file.name}"), file.read_bytes())


def _use_archive(folder: Path) -> None:
    install_model(folder / "tiny.zip", "fuzzed", replace=True)


# Settings


@cache
def _detected() -> tuple[Path, Path, Path]:
    """Return the folders of a patient, of an export and of what the command line writes."""
    place = Path(tempfile.mkdtemp(prefix="cead-fuzz-"))
    (place / "patient").mkdir()
    _nifti(".nii")(place / "patient")
    patient = load_patient(place / "patient")
    found = detect(patient, load_model(_save_model(place / "tiny", "tiny"), "cpu"))
    export_analysis(found, place / "export")
    save_detection(found, place / "detection")
    return place / "patient", place / "export", place / "detection"


def _settings(name: str, place: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        shutil.copy(_detected()[place] / name, folder / name)

    return make


def _use_settings(folder: Path) -> None:
    settings = read_settings(folder)
    patient = load_patient(_detected()[0])
    check_same_patient(settings, patient)
    load_corrections(settings, patient)


# Training


def _split(folder: Path) -> None:
    lists = {"train": ["Mets_001", "Mets_002"], "validation": ["Mets_003"], "test": ["Mets_004"]}
    (folder / "split.json").write_text(json.dumps(lists))


def _use_split(folder: Path) -> None:
    read_split(folder / "split.json")


def _scan_list(folder: Path) -> None:
    scan = {"name": "one", "scan": "/scans/one.nii", "lesion_mask": None, "brain_mask": None, "healthy": True}
    content = {"schema_version": 1, "sequence": "flair", "scans": [scan, {**scan, "name": "two"}]}
    (folder / "scans.json").write_text(json.dumps(content))


def _use_scan_list(folder: Path) -> None:
    read_scan_list(folder / "scans.json")


def _store(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        for number in range(3):
            volume, lesion = make_brain((6, 20, 18), seed=number)
            lesion[:3] = False
            write_nifti(Path(place) / f"Mets_{number}" / "flair.nii", volume.T, AFFINE)
            write_nifti(Path(place) / f"Mets_{number}" / "seg.nii", lesion.T.astype(np.uint8), AFFINE)
        prepare(place, folder / "store", image_size=20, min_brain=0.01, test=0.3, validation=0.3)


def _use_store(folder: Path) -> None:
    store = SliceStore.open(folder / "store")
    store.fingerprint  # noqa: B018
    store.healthy_slices("train")
    for patient in store.patients:
        store.slices(patient.name)


def _run(folder: Path) -> None:
    run = RunFolder(folder / "run")
    run.create(TrainingSettings(spec=SPEC, epochs=2, batch_size=4), Path("store"), "0" * 64, ())
    torch.manual_seed(0)
    weights = build(SPEC).state_dict()
    run.save_checkpoint({"network": weights, "epoch": 1, "history": []}, weights, 1, 1, 3)
    for file in run.path.glob("step-*.checkpoint"):  # its name is drawn
        pointer = (run.path / "checkpoint.json").read_text()
        (run.path / "checkpoint.json").write_text(pointer.replace(file.name, "step-3.checkpoint"))
        file.rename(run.path / "step-3.checkpoint")
    (run.path / "log.csv").write_text("epoch,train_loss,validation_loss\n1,3.5,4.5\n2,3.25,\n")
    events = [
        {"event": "start", "epochs": 2, "steps": 6, "model": "tiny", "device": "cpu"},
        {"event": "step", "epoch": 1, "step": 3, "loss": 3.5, "done": 3, "total": 6, "seconds": 1.0},
        {"event": "epoch", "epoch": 1, "train_loss": 3.5, "validation_loss": 4.5, "seconds_left": 2.0},
        {"event": "error", "message": "stopped"},
    ]
    lines = (json.dumps({"time": 1.0, **event}) + "\n" for event in events)
    (run.path / "events.jsonl").write_text("".join(lines))
    status = {"schema_version": 1, "state": "running", "epoch": 1, "pid": 1, "host": "elsewhere"}
    (run.path / "status.json").write_text(json.dumps(status))
    (run.path / "output.log").write_text("error: stopped\n")


def _use_run(folder: Path) -> None:
    run = RunFolder(folder / "run")
    look(run.path)
    read_history(run.path)
    EventTail(run.path / "events.jsonl").poll()
    run.plan()
    run.load_checkpoint()
    run.load_best()


TARGETS = {
    "nifti": Target(_nifti(".nii"), _use_patient),
    "nifti-gz": Target(_nifti(".nii.gz"), _use_patient),
    "nifti-2": Target(_nifti_2, _use_patient),
    "nifti-pair": Target(_pair, _use_patient),
    "png": Target(_png, _use_patient),
    "dicom": Target(_dicom, _use_patient),
    "dicom-enhanced": Target(_enhanced, _use_patient),
    "nrrd": Target(_nrrd, _use_patient),
    "zip": Target(_zip, _use_zip),
    "reference": Target(_reference, _use_reference),
    "model": Target(_model, _use_model),
    "model-zip": Target(_archive, _use_archive),
    "settings": Target(_settings("settings.json", 1), _use_settings),
    "detection": Target(_settings("detection.json", 2), _use_settings),
    "split": Target(_split, _use_split),
    "scan-list": Target(_scan_list, _use_scan_list),
    "store": Target(_store, _use_store),
    "run": Target(_run, _use_run),
}
