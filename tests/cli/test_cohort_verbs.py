"""The verbs that go through many patients: check, detect, evaluate."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def cohort(patient_folder, tmp_path):
    """Three patients, of which one cannot be read."""
    for number in range(3):
        shutil.copytree(patient_folder, tmp_path / "cohort" / "train" / f"Mets_00{number}")
    broken = tmp_path / "cohort" / "train" / "Mets_001" / "flair.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    return tmp_path / "cohort"


def test_check_reports_and_exits_with_2(call, cohort):
    status, out, err = call("check", cohort)
    assert (status, err) == (2, "")
    lines = out.splitlines()
    assert lines[0].startswith("Mets_001: unreadable: ")
    assert "flair.nii.gz" in lines[0]
    assert lines[-2].startswith("3 patients, ")
    assert lines[-1] == "findings: 1 unreadable"
    shutil.rmtree(cohort / "train" / "Mets_001")
    status, out, _ = call("check", cohort)
    assert (status, out.splitlines()[-1]) == (0, "no findings")


def test_check_as_json(call, cohort):
    status, out, _ = call("check", cohort, "--json", "--sequence", "bravo")
    report = json.loads(out)
    assert status == 2
    assert report["schema_version"] == 1
    assert not report["clean"]
    assert report["counts"] == {"unreadable": 1, "missing-sequence": 3}
    assert [patient["name"] for patient in report["patients"]] == ["Mets_000", "Mets_001", "Mets_002"]
    assert report["patients"][0]["sequences"]["flair"]["axcodes"]


def test_check_of_nothing_is_an_error(call, tmp_path):
    status, out, err = call("check", tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_detect_leaves_a_derivative_and_goes_on_where_it_stopped(
    call, cohort, model_folder, tmp_path, workers
):
    out = tmp_path / "o"
    arguments = ("detect", cohort, "--model", model_folder, "--out", out, "--workers", workers)
    status, said, err = call(*arguments)
    assert status == 0
    assert "2 patients done, 1 skipped" in said
    assert "skipped:" in err
    described = json.loads((out / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "napari-cead"
    with (out / "detections.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [(row["patient"], row["state"]) for row in rows] == [
        ("Mets_000", "done"),
        ("Mets_001", "skipped"),
        ("Mets_002", "done"),
    ]
    assert "flair.nii.gz" in rows[1]["reason"]
    facts = json.loads((out / rows[0]["folder"] / "detection.json").read_text())
    assert float(rows[0]["volume_ml"]) == facts["volume_ml"]
    mask = out / rows[0]["folder"] / "mask.nii.gz"
    assert float(rows[0]["volume_ml"]) == pytest.approx(
        np.asarray(nib.load(mask).dataobj).astype(bool).sum()
        * np.prod(nib.load(mask).header.get_zooms())
        / 1000
    )

    before = mask.stat().st_mtime_ns
    (out / rows[2]["folder"] / "mask.nii.gz").unlink()
    assert "2 patients done, 1 of them before, 1 skipped" in call(*arguments)[1]
    assert mask.stat().st_mtime_ns == before
    assert (out / rows[2]["folder"] / "mask.nii.gz").exists()
    assert "2 patients done, 1 skipped" in call(*arguments, "--threshold", 0.4)[1]
    assert mask.stat().st_mtime_ns != before


def test_evaluate_tells_its_progress_in_json(call, cohort, model_folder, tmp_path):
    arguments = ("evaluate", cohort, "--models", model_folder, "--out", tmp_path / "e")
    status, out, err = call(*arguments, "--workers", 1, "--progress", "json", "--device", "cpu")
    assert status == 0
    lines = err.splitlines()
    steps = [json.loads(line) for line in lines if line.startswith("{")]
    assert steps[-1]["done"] == steps[-1]["total"]
    assert any(line.startswith("skipped: Mets_001: ") for line in lines)
    assert "2 patients reported, 1 skipped" in out
    assert (tmp_path / "e" / "report.html").exists()


def test_evaluate_measures_the_scores_that_are_asked_for(call, cohort, model_folder, tmp_path):
    arguments = ("evaluate", cohort, "--models", model_folder, "--workers", 1, "--device", "cpu")
    for given, expected in (
        ("squared,positive-residual", {"squared", "positive-residual"}),
        ("all", {"residual", "positive-residual", "squared", "median-residual", "intensity"}),
    ):
        assert call(*arguments, "--scores", given, "--out", tmp_path / given)[0] == 0
        rows = json.loads((tmp_path / given / "results.json").read_text("utf-8"))["rows"]
        assert {row["score"] for row in rows if row["model"] == "tiny"} == expected
    status, out, err = call(*arguments, "--scores", "best", "--out", tmp_path / "wrong")
    assert (status, out) == (2, "") and "no anomaly score called 'best'; use one of residual" in err


def test_evaluate_in_folds_leaves_out_who_cannot_be_read(call, cohort, model_folder, tmp_path):
    arguments = ("evaluate", cohort, "--models", model_folder, "--workers", 1, "--device", "cpu")
    status, out, _ = call(*arguments, "--scores", "residual", "--folds", 3, "--out", tmp_path / "e")
    assert status == 0 and "patient of the other folds" in out
    stored = json.loads((tmp_path / "e" / "results.json").read_text("utf-8"))
    assert sorted(name for fold in stored["folds"] for name in fold) == ["Mets_000", "Mets_002"]
    assert {row["chosen_by"] for row in stored["rows"] if row["chosen_on"] == "other folds"} == {1}
    status, out, err = call(*arguments, "--folds", 9, "--out", tmp_path / "wrong")
    assert (status, out) == (2, "")
    assert err == "error: 3 patients cannot make 9 folds; give from 2 to 3 folds\n"
    assert not (tmp_path / "wrong").exists()
