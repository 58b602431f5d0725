"""Detection in a raw scan: what is written, and that its command gives the same mask."""

import json
import os
import shlex

import nibabel as nib
import numpy as np
import pytest

from heads import add_head, make_stripped
from napari_cead.cli import run
from napari_cead.detection import detect, save_detection
from napari_cead.detection.cohort import detect_cohort
from napari_cead.errors import ParameterError
from napari_cead.patients import Patient, load_patient, save_volume
from napari_cead.patients.brain_masks import brain_on_grid
from napari_cead.patients.marks import kind_of
from napari_cead.preparing import RAW, Preparation, prepare_patient
from napari_cead.zoo import load_model


@pytest.fixture
def raw(tmp_path):
    """The file of a raw scan, oblique and in an order of axes of its own, and the mask of its brain."""
    brain = np.pad(make_stripped(), ((2, 2), (18, 18), (18, 18)))
    head = np.pad(add_head(make_stripped(), margin=18, scalp_width=10), ((2, 2), (0, 0), (0, 0)))
    turned = nib.Nifti1Image(
        head.transpose(2, 0, 1),
        np.array([[-1.5, 0, 0, 60], [0, 0.6, -1.49, 90], [0, 7.97, 0.11, -70], [0, 0, 0, 1]]),
    )
    folder = tmp_path / "patient"
    folder.mkdir()
    nib.save(turned, folder / "raw_flair.nii.gz")
    patient = load_patient(folder / "raw_flair.nii.gz")
    mask = patient.grid.to_canonical((brain != 0).transpose(2, 0, 1))
    return folder / "raw_flair.nii.gz", save_volume(mask, patient, tmp_path / "brain.nii.gz")


def test_a_raw_scan_is_written_with_its_brain_and_repeated_to_the_voxel(raw, model_folder, tmp_path, quiet):
    scan, mask = raw
    patient, detector = load_patient(scan), load_model(model_folder, "cpu")
    wanted = Preparation(str(mask), "n4")
    found = detect(patient, detector, preparation=wanted)
    described = save_detection(found, tmp_path / "out")
    assert described["preparation"]["asked"] == wanted.as_dict()
    assert described["preparation"]["stripper"] == "given"
    assert described["preparation"]["bias_field"] == "n4"
    for name in ("mask", "brain_mask", "anomaly_map"):
        image, source = nib.load(tmp_path / "out" / f"{name}.nii.gz"), nib.load(scan)
        assert image.shape == source.shape
        assert np.allclose(image.affine, source.affine, atol=1e-5), "in the grid of the raw scan"
    assert kind_of(tmp_path / "out" / "brain_mask.nii.gz") == "brain mask"
    assert described["sources"]["flair"]["path"] == str(scan)
    command = shlex.split(described["command"]["shell"])
    assert command[command.index("--strip") + 1] == str(tmp_path / "out" / "brain_mask.nii.gz")
    assert command[command.index("--bias-field") + 1] == "n4"
    mask.unlink()  # what was given is not needed again
    assert run(command[1:]) == 0
    again = tmp_path / "out" / "replay"
    for name in ("mask", "brain_mask", "anomaly_map", "reconstruction"):
        one, two = (nib.load(place / f"{name}.nii.gz").get_fdata() for place in (tmp_path / "out", again))
        assert np.array_equal(one, two), name
    repeated = json.loads((again / "detection.json").read_text())
    assert repeated["volume_ml"] == described["volume_ml"]


def test_a_patient_as_it_is_says_so(raw, model_folder, tmp_path, quiet):
    found = detect(load_patient(raw[0]), load_model(model_folder, "cpu"))
    described = save_detection(found, tmp_path / "out")
    assert described["preparation"] == {"asked": RAW.as_dict(), "stripper": None, "bias_field": None}
    assert described["command"]["argv"][described["command"]["argv"].index("--strip") + 1] == "never"
    assert not (tmp_path / "out" / "brain_mask.nii.gz").exists()


def test_layers_of_a_viewer_are_written_raw(raw, model_folder, tmp_path, quiet):
    loaded = load_patient(raw[0])
    patient = Patient.from_arrays({"flair": loaded.volume()}, spacing=loaded.spacing, name="layers")
    brain = brain_on_grid(loaded, raw[1])[0]
    found = detect(prepare_patient(patient, brain=brain), load_model(model_folder, "cpu"))
    described = save_detection(found, tmp_path / "out")
    written = load_patient(tmp_path / "out" / "scan.nii.gz")
    assert np.array_equal(written.volume(), patient.volume())
    assert described["preparation"]["asked"]["strip"] == "given"
    assert described["command"] is not None


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for a stripper is a script with a shebang")
def test_a_cohort_is_prepared_and_goes_on_where_it_stopped(raw, model_folder, tmp_path, quiet):
    scan, mask = raw
    script, log = tmp_path / "finder", tmp_path / "log"
    script.write_text(f'#!/bin/sh\necho x >> {log}\ncp {mask} "$2"\n')
    script.chmod(0o755)
    name = f"command:{script} {{input}} {{output}}"
    first = detect_cohort(scan.parent.parent, model_folder, tmp_path / "out", preparation=Preparation(name))
    assert [result["preparation"]["asked"]["strip"] for result in first.results] == [name]
    assert first.kept == 0
    again = detect_cohort(scan.parent.parent, model_folder, tmp_path / "out", preparation=Preparation(name))
    assert again.kept == 1
    other = detect_cohort(scan.parent.parent, model_folder, tmp_path / "out", preparation=RAW)
    assert other.kept == 0, "another preparation is another result"
    with pytest.raises(ParameterError, match="one patient"):
        detect_cohort(scan.parent, model_folder, tmp_path / "out2", preparation=Preparation(str(mask)))
