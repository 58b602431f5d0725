import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import model_folders
import napari_cead as cead
from napari_cead.detection import SCORES, MapOptions
from napari_cead.zoo import DEFAULT_MODEL


@pytest.fixture
def detect(call, patient_folder, model_folder, tmp_path):
    def detect(*more, out="out"):
        return call("detect", patient_folder, "--model", model_folder, "--out", tmp_path / out, *more)

    return detect


def saved(folder, name, patient):
    return patient.grid.to_canonical(np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj))


def test_smoothing_and_erosion_are_those_of_the_library(detect, patient_folder, model_folder, tmp_path):
    status, out, err = detect(
        "--smoothing",
        1.5,
        "--erosion",
        3,
        "--batch-size",
        4,
        "--score",
        "residual",
        "--device",
        "cpu",
        "--json",
    )
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert facts["options"] == {"smoothing_mm": 1.5, "erosion_radius": 3}
    assert facts["batch_size"] == 4
    patient = cead.load_patient(patient_folder)
    result = cead.detect(
        patient,
        cead.load_model(model_folder, device="cpu"),
        score="residual",
        options=MapOptions(smoothing_mm=1.5, erosion_radius=3),
        batch_size=4,
    )
    np.testing.assert_array_equal(saved(tmp_path / "out", "anomaly_map", patient), result.anomaly_map)
    np.testing.assert_array_equal(saved(tmp_path / "out", "mask", patient) > 0, result.mask)


def test_a_suggested_threshold_for_a_smoothed_map_is_doubted_everywhere(detect, tmp_path):
    status, out, err = detect("--smoothing", 1.5)
    said = "the suggested threshold was searched without smoothing of the map"
    assert status == 0 and out.count("\n") == 1
    assert "threshold 0.7 (suggested: validation, searched without smoothing)" in out
    assert err.count(f"warning: {said}") == 1
    facts = json.loads((tmp_path / "out" / "detection.json").read_text())
    assert [note.startswith(said) for note in facts["warnings"]].count(True) == 1
    _, out, err = detect("--smoothing", 1.5, "--threshold", 0.7)
    assert "searched" not in out + err


def test_corrections_are_applied_after_the_settings(detect, patient_folder, tmp_path):
    patient = cead.load_patient(patient_folder)
    labels = np.zeros(patient.shape, np.uint8)
    labels[4:7, 10:20, 10:20], labels[6, 30:40, 20:30] = 1, 2
    file = cead.save_volume(labels, patient, tmp_path / "painted.nii.gz")
    status, out, _ = detect("--corrections", file, "--score", "intensity", "--threshold", 0.3, "--json")
    assert status == 0
    assert detect("--score", "intensity", "--threshold", 0.3, out="plain")[0] == 0
    mask, automatic = (saved(tmp_path / "out", name, patient) > 0 for name in ("mask", "mask_automatic"))
    np.testing.assert_array_equal(automatic, saved(tmp_path / "plain", "mask", patient) > 0)
    assert (automatic & (labels == 2)).any()
    np.testing.assert_array_equal(mask, (automatic | (labels == 1)) & (labels != 2))
    np.testing.assert_array_equal(saved(tmp_path / "out", "corrections", patient), labels)
    facts = json.loads(out)
    assert facts["dice"] == pytest.approx(cead.dice(mask, patient.lesion_mask))
    copied = (tmp_path / "out" / "corrections.nii.gz").read_bytes()
    assert facts["corrections"] == {
        "file": "corrections.nii.gz",
        "sha256": hashlib.sha256(copied).hexdigest(),
        "added_voxels": int((labels == 1).sum()),
        "removed_voxels": int((labels == 2).sum()),
    }


def test_the_number_of_threads_is_used_told_and_put_back(detect):
    before = torch.get_num_threads()
    status, out, _ = detect("--threads", before + 1, "--device", "cpu", "--json")
    facts = json.loads(out)
    assert (status, facts["threads"]) == (0, before + 1)
    argv = facts["command"]["argv"]
    assert argv[argv.index("--threads") + 1] == str(before + 1)
    assert torch.get_num_threads() == before


def test_wrong_options_are_one_line_in_the_words_of_the_flags(detect, patient_folder, tmp_path):
    patient = cead.load_patient(patient_folder)
    wrong = cead.save_volume(np.full(patient.shape, 9, np.uint8), patient, tmp_path / "nine.nii.gz")
    cases = (
        (("--smoothing", -1), "--smoothing must be a number from 0 to 10, not -1.0"),
        (("--smoothing", "nan"), "--smoothing must be a number from 0 to 10, not nan"),
        (("--erosion", 26), "--erosion must be a whole number from 0 to 25, not 26"),
        (("--batch-size", 0), "batch size must be a whole number"),
        (("--threads", 0), "--threads must be a whole number from 1 to 1024, not 0"),
        (("--corrections", tmp_path / "none.nii.gz"), "there is no such file"),
        (("--corrections", wrong), "0, 1 and 2"),
        (
            ("--score", "kl-gradient"),
            "needs a variational autoencoder, which tiny is not; use one of residual",
        ),
        (
            ("--score", "residual-z"),
            "needs healthy statistics, which tiny does not carry; use one of residual",
        ),
        (("--score", "loss"), "no anomaly score called 'loss'; use one of residual"),
    )
    for flags, words in cases:
        status, out, err = detect(*flags)
        assert (status, out) == (2, ""), flags
        assert err.startswith("error: "), flags
        assert words in err, flags
        assert err.count("\n") == 1, flags
    assert not (tmp_path / "out").exists()


def test_a_score_without_its_constant_is_refused(call, patient_folder, tmp_path):
    model = model_folders.save(tmp_path / "tiny-vae")
    status, _, err = call(
        "detect", patient_folder, "--model", model, "--out", tmp_path / "o", "--score", "combined"
    )
    assert status == 2
    assert "combined needs a constant measured on healthy slices, which tiny-vae does not carry" in err


def test_corrections_go_with_one_patient(call, patient_folder, model_folder, tmp_path):
    (tmp_path / "cohort").mkdir()
    patient_folder.rename(tmp_path / "cohort" / "Mets_001")
    status, _, err = call(
        "detect",
        tmp_path / "cohort",
        "--model",
        model_folder,
        "--out",
        tmp_path / "o",
        "--corrections",
        "c.nii.gz",
    )
    assert status == 2
    assert "--corrections goes with one patient" in err


def test_the_help_names_every_score(call):
    status, out, _ = call("detect", "--help")
    assert status == 0
    words = out.replace(",", " ").split()
    assert [name for name in SCORES.names if name not in words] == []


def test_each_setting_says_where_it_comes_from(detect):
    status, out, err = detect("--dilation", 3, "--device", "cpu", "--outside-brain")
    assert (status, err) == (0, "")
    assert (
        "positive-residual (suggested), threshold 0.7 (suggested: validation), dilation 3, outside-brain (given), "
        "closing 2, area-fraction 0.6, min-area 0, smoothing 0, erosion 0 (default)"
    ) in out
    facts = json.loads(
        detect("--dilation", 3, "--device", "cpu", "--outside-brain", "--json", out="again")[1]
    )
    assert facts["origins"] == {
        "score": "suggested",
        "threshold": "suggested",
        "closing_radius": "default",
        "area_fraction": "default",
        "dilation_radius": "given",
        "min_area_mm2": "default",
        "inside_brain": "given",
        "smoothing_mm": "default",
        "erosion_radius": "default",
    }
    assert (facts["rule"], facts["params"]["inside_brain"]) == ("validation", False)
    argv = facts["command"]["argv"]
    assert "--outside-brain" in argv and "--inside-brain" not in argv


def test_all_that_the_model_suggests_is_taken_if_asked_for(call, patient_folder, vae_folder, tmp_path):
    def params(*flags):
        command = ("detect", patient_folder, "--model", vae_folder, "--score", "kl-gradient", *flags)
        status, out, _ = call(*command, "--device", "cpu", "--out", tmp_path / "out", "--json")
        assert status == 0
        return json.loads(out)["params"]

    assert (params()["threshold"], params()["closing_radius"]) == (0.5, 2)
    found = params("--settings", "suggested", "--threshold", 0.3)
    assert (found["threshold"], found["closing_radius"]) == (0.3, 3)
    status, _, err = call(
        "detect", patient_folder, "--model", vae_folder, "--out", tmp_path, "--settings", "best"
    )
    assert status == 2 and "'best' is not one of" in err


def test_without_a_model_the_default_one_is_taken(call, tmp_path):
    patient = Path(__file__).resolve().parents[2] / "sample_data" / "Mets_001"
    status, _, err = call("detect", patient, "--out", tmp_path / "out", "--device", "cpu")
    assert status == 0, err
    described = json.loads((tmp_path / "out" / "detection.json").read_text(encoding="utf-8"))
    assert described["model"] == DEFAULT_MODEL
