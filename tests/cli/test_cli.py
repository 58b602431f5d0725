import json
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from scans import write_nifti


def test_detect_writes_what_the_library_computes(call, patient_folder, model_folder, tmp_path):
    status, out, err = call("detect", patient_folder, "--model", model_folder, "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    assert "Dice" in out
    patient = cead.load_patient(patient_folder)
    result = cead.detect(patient, cead.load_model(model_folder))
    saved = np.asarray(nib.load(tmp_path / "out" / "mask.nii.gz").dataobj)
    np.testing.assert_array_equal(patient.grid.to_canonical(saved) > 0, result.mask)
    facts = json.loads((tmp_path / "out" / "detection.json").read_text())
    assert facts["rule"] == "validation"
    assert facts["dice"] == pytest.approx(result.dice, nan_ok=True)


def test_flags_change_the_suggestion_and_json_is_printed(call, patient_folder, model_folder, tmp_path):
    flags = [
        "--threshold",
        0.5,
        "--closing",
        1,
        "--area-fraction",
        0.25,
        "--dilation",
        0,
        "--score",
        "intensity",
    ]
    status, out, err = call(
        "detect", patient_folder, "--model", model_folder, "--out", tmp_path / "o", *flags, "--json"
    )
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert facts["score"] == "intensity"
    assert facts["rule"] == "given"
    params = {
        "threshold": 0.5,
        "closing_radius": 1,
        "area_fraction": 0.25,
        "dilation_radius": 0,
        "min_area_mm2": 0.0,
        "inside_brain": True,
    }
    assert facts["params"] == params


def test_without_a_reference_no_dice_is_printed(call, patient_folder, model_folder, tmp_path):
    detect = ["detect", patient_folder, "--model", model_folder, "--out", tmp_path / "o"]
    assert "Dice 0." in call(*detect)[1]
    for file in patient_folder.glob("*seg*"):
        file.unlink()
    printed = call(*detect)[1]
    assert "mL detected" in printed and "Dice" not in printed


def test_detect_takes_a_mask_and_another_sequence(call, patient_folder, model_folder, tmp_path):
    mask = write_nifti(tmp_path / "m.nii.gz", np.ones((50, 60, 12), np.uint8), np.diag([0.9, 0.95, 1.5, 1]))
    status, out, err = call(
        "detect", patient_folder, "--model", model_folder, "--out", tmp_path / "o", "--sequence", "t1_gd",
        "--mask", mask, "--json", "--threshold", 1.0,
    )  # fmt: skip
    assert status == 0
    assert "trained on flair, this is t1_gd" in err
    assert json.loads(out)["dice"] == 0.0


def test_a_cohort_is_gone_through_and_the_broken_are_listed(call, patient_folder, model_folder, tmp_path):
    cohort = tmp_path / "cohort"
    shutil.copytree(patient_folder, cohort / "train" / "Mets_001")
    shutil.copytree(patient_folder, cohort / "train" / "Mets_002")
    (cohort / "train" / "Mets_002" / "flair.nii.gz").write_bytes(b"broken")
    status, out, err = call("detect", cohort, "--model", model_folder, "--out", tmp_path / "o")
    assert status == 0
    assert "1 patient done, 1 skipped" in out
    assert "skipped:" in err
    assert "Mets_002" in err
    assert (tmp_path / "o" / "train" / "Mets_001" / "mask.nii.gz").is_file()
    assert not (tmp_path / "o" / "train" / "Mets_002").exists()


def bad_calls(folder, model, tmp):
    ok = ["--model", model, "--out", tmp / "o"]
    (tmp / "empty").mkdir()
    (tmp / "file").write_text("in the way")
    changed = tmp / "changed"
    shutil.copytree(model, changed)
    weights = changed / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    return {
        "no such patient": ["detect", tmp / "nowhere", *ok],
        "empty folder": ["detect", tmp / "empty", *ok],
        "no such sequence": ["detect", folder, *ok, "--sequence", "bravo"],
        "unknown model": ["detect", folder, "--model", "nonsense", "--out", tmp / "o"],
        "changed byte": ["detect", folder, "--model", changed, "--out", tmp / "o"],
        "no anomaly score called": ["detect", folder, *ok, "--score", "loss"],
        "threshold out of range": ["detect", folder, *ok, "--threshold", "3"],
        "not a number": ["detect", folder, *ok, "--threshold", "high"],
        "no such device": ["detect", folder, *ok, "--device", "tpu"],
        "output in the way": ["detect", folder, "--model", model, "--out", tmp / "file" / "o"],
        "missing option": ["detect", folder],
        "unknown verb": ["improve"],
        "unknown model to show": ["models", "show", "nonsense"],
        "no patients": ["phantom", tmp / "p", "--patients", "0"],
        "screenshot that is no PNG": ["demo", "--screenshot", tmp / "a.jpg"],
    }


def test_bad_input_is_one_line_and_exit_status_2(call, patient_folder, model_folder, tmp_path):
    for what, arguments in bad_calls(patient_folder, model_folder, tmp_path).items():
        status, out, err = call(*arguments)
        assert status == 2, what
        assert err.startswith("error: "), what
        assert err.count("\n") == 1, what
        assert out == "", what
    assert not (tmp_path / "o" / "mask.nii.gz").exists()


def test_a_window_without_a_display_is_one_line(call, monkeypatch, patient_folder):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    status, _, err = call("open", patient_folder)
    assert status == 2
    assert "no display" in err


def test_the_installed_command_prints_its_version():
    done = subprocess.run(
        [sys.executable, "-m", "napari_cead", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"napari-cead {cead.__version__}\n"


def test_the_real_patient_goes_through(call, real_data, model_folder, tmp_path):
    status, _, _ = call("detect", real_data / "patient26", "--model", model_folder, "--out", tmp_path)
    assert status == 0
    source = nib.load(real_data / "patient26" / "flair.nii.gz")
    for name in ("anomaly_map", "reconstruction", "mask"):
        saved = nib.load(tmp_path / f"{name}.nii.gz")
        assert saved.shape == source.shape
        np.testing.assert_allclose(saved.affine, source.affine)
        assert nib.aff2axcodes(saved.affine) == nib.aff2axcodes(source.affine)


def test_output_among_the_patients_files_is_refused_before_the_run(call, patient_folder, model_folder):
    before = (patient_folder / "seg.nii.gz").read_bytes()
    status, _, err = call("detect", patient_folder, "--model", model_folder, "--out", patient_folder)
    assert status == 2
    assert "among the patient's own files" in err
    assert (patient_folder / "seg.nii.gz").read_bytes() == before


def test_the_result_of_another_model_or_patient_is_not_replaced(
    call, patient_folder, model_folder, vae_folder, tmp_path
):
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(patient_folder, other)
    assert call("detect", patient_folder, "--model", model_folder, "--out", out)[0] == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    for patient, model in ((patient_folder, vae_folder), (other, model_folder)):
        status, _, err = call("detect", patient, "--model", model, "--out", out)
        assert status == 2
        assert f"the result of {model_folder.name} for {patient_folder.name} lies here" in err
        assert f"that of {model.name} for {patient.name} would replace it" in err
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    threshold = ("--threshold", "0.9")
    assert call("detect", patient_folder, "--model", model_folder, "--out", out, *threshold)[0] == 0
    assert (out / "mask.nii.gz").read_bytes() != before["mask.nii.gz"], "the same one is made anew"


def test_without_a_verb_there_is_help(call):
    for arguments in ([], ["models"]):
        status, out, err = call(*arguments)
        assert (status, err) == (0, "")
        assert out.startswith("Usage:")
        assert out.count("\n") > 5


@pytest.mark.parametrize("verb", [[], ["models"], ["runs"]])
def test_no_verb_is_cut_short_in_the_help(call, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = call(*verb, "--help")
    assert status == 0
    assert "Commands:" in out
    verbs = out.partition("Commands:")[2].splitlines()
    assert [line for line in verbs if line.endswith("...")] == []


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "napari_cead", "models", "list", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") <= 2
    assert done.stderr.startswith("error: ")


def test_an_error_speaks_of_the_flag_that_was_typed(call, patient_folder, model_folder, tmp_path):
    _, _, err = call(
        "detect", patient_folder, "--model", model_folder, "--out", tmp_path / "o", "--closing", -1
    )
    assert err == "error: --closing must be a whole number from 0 to 25, not -1\n"


def test_a_script_gets_the_error_as_json_and_the_line_stays(call, tmp_path):
    missing = tmp_path / "no"
    status, out, err = call("detect", missing, "--model", "ae", "--out", tmp_path / "out", "--json")
    found = json.loads(out)
    assert status == 2
    assert found["error"] == {
        "code": "patient-not-found",
        "message": err.removeprefix("error: ").strip(),
        "reason": "there is no such file or folder",
        "file": str(missing),
        "hint": "check the path",
        "mend": "check the path",
    }
    assert call("detect", missing, "--model", "ae", "--out", tmp_path / "out")[1] == ""
