import hashlib
import json

import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from napari_cead.detection import save_detection
from napari_cead.errors import Cancelled, OutputError


@pytest.fixture
def result(patient_folder, model_folder):
    return cead.detect(cead.load_patient(patient_folder), cead.load_model(model_folder, device="cpu"))


def test_volumes_go_out_in_the_source_grid(result, patient_folder, tmp_path):
    save_detection(result, tmp_path / "out")
    source = nib.load(patient_folder / "flair.nii.gz")
    for name, volume in (
        ("anomaly_map", result.anomaly_map),
        ("reconstruction", result.reconstruction),
        ("mask", result.mask),
    ):
        path = tmp_path / "out" / f"{name}.nii.gz"
        saved = nib.load(path)
        assert saved.shape == source.shape
        np.testing.assert_allclose(saved.affine, source.affine)
        np.testing.assert_array_equal(result.patient.grid.to_canonical(np.asarray(saved.dataobj)), volume)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "anomaly_map.nii.gz",
        "detection.json",
        "mask.nii.gz",
        "reconstruction.nii.gz",
    ]


def test_the_json_says_everything_needed_to_repeat_it(result, patient_folder, model_folder, tmp_path):
    save_detection(result, tmp_path)
    facts = json.loads((tmp_path / "detection.json").read_text())
    assert facts["schema_version"] == 1
    assert facts["dice"] == pytest.approx(result.dice)
    assert facts["params"] == result.params.model_dump()
    assert (facts["score"], facts["rule"], facts["model"]) == ("positive-residual", "validation", "tiny")
    weights = (model_folder / "model.safetensors").read_bytes()
    assert facts["sha256"] == hashlib.sha256(weights).hexdigest()
    flair = (patient_folder / "flair.nii.gz").read_bytes()
    assert facts["sources"]["flair"]["sha256"] == hashlib.sha256(flair).hexdigest()
    assert set(facts["sources"]) == {"flair", "seg"}
    assert facts["versions"]["torch"]
    assert facts["device"] == "cpu"


def test_nan_is_null(patient_folder, model_folder, tmp_path):
    patient = cead.load_patient(patient_folder)
    healthy = patient.with_lesion_mask(np.zeros(patient.shape, bool))
    params = cead.PostprocessParams(threshold=1.0)
    save_detection(cead.detect(healthy, cead.load_model(model_folder), params), tmp_path)
    text = (tmp_path / "detection.json").read_text()
    assert json.loads(text)["dice"] is None
    assert "NaN" not in text


def test_a_folder_that_cannot_be_written_is_one_sentence(result, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        save_detection(result, tmp_path / "file" / "out")


def test_a_failure_in_the_middle_leaves_the_old_results(result, tmp_path, monkeypatch):
    (tmp_path / "mask.nii.gz").write_bytes(b"old")

    def full(*arguments, **keywords):
        raise OutputError("the file cannot be written (No space left on device)", file="x")

    monkeypatch.setattr("napari_cead.detection.saving.write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        save_detection(result, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "Mets_001"] == ["mask.nii.gz"]
    assert (tmp_path / "mask.nii.gz").read_bytes() == b"old"


@pytest.mark.parametrize("where", [".", "../Mets_001"])
def test_results_never_lie_among_the_patients_own_files(result, patient_folder, where):
    """There, ``mask.nii.gz`` would replace a reference, or be taken for one the next time."""
    before = sorted(path.name for path in patient_folder.iterdir())
    with pytest.raises(OutputError, match="among the patient's own files"):
        save_detection(result, patient_folder / where)
    assert sorted(path.name for path in patient_folder.iterdir()) == before


def test_stopped_in_the_middle_it_leaves_the_folder_as_it_was(result, tmp_path):
    asked = iter([False, True])
    with pytest.raises(Cancelled):
        save_detection(result, tmp_path / "new" / "out", should_stop=lambda: next(asked))
    assert not (tmp_path / "new").exists()
    save_detection(result, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(Cancelled):
        save_detection(result, tmp_path / "out", should_stop=lambda: True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
