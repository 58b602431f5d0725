"""Raw scans on the command line: stripped when they need it, and said."""

import json
import stat
import sys

import nibabel as nib
import numpy as np
import pytest

from heads import add_head, make_stripped
from napari_cead.cli import run as run_cli
from napari_cead.patients import load_patient, save_volume
from napari_cead.preparing import Preparation, stripping
from napari_cead.preparing import preparation as module
from scans import write_nifti

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for a stripper is a script")


@pytest.fixture
def cohort(tmp_path):
    """Two patients: one with its skull and a lesion mask, and one without a skull."""
    brain = np.pad(make_stripped(), ((2, 2), (18, 18), (18, 18)))
    head = np.pad(add_head(make_stripped(), margin=18, scalp_width=10), ((2, 2), (0, 0), (0, 0)))
    affine = np.diag([-1.5, -1.5, 8, 1])
    folder = tmp_path / "cohort"
    lesion = np.zeros(brain.shape, np.uint8)
    lesion[9:11, 60:66, 40:46] = 1
    for name, volume in (("Mets_001", head), ("Mets_002", brain)):
        write_nifti(folder / name / "flair.nii.gz", volume.T, affine)
        write_nifti(folder / name / "seg.nii.gz", lesion.T, affine)
    return folder


@pytest.fixture
def finder(cohort, tmp_path):
    patient = load_patient(cohort / "Mets_001")
    brain = load_patient(cohort / "Mets_002").volume() != 0
    mask = save_volume(brain, patient, tmp_path / "brain.nii.gz")
    script = tmp_path / "finder"
    script.write_text(f"#!{sys.executable}\nimport shutil, sys\nshutil.copy({str(mask)!r}, sys.argv[2])\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"command:{script} {{input}} {{output}}"


@pytest.fixture
def default(finder, monkeypatch):
    monkeypatch.setattr(module, "DEFAULT_STRIPPER", finder)
    return finder


def run(*arguments):
    return run_cli([str(argument) for argument in arguments])


def test_detect_strips_what_has_a_skull_and_says_so(cohort, default, model_folder, tmp_path, capsys):
    assert run("detect", cohort / "Mets_001", "--model", model_folder, "--out", tmp_path / "out") == 0
    assert "the skull was stripped by command:" in capsys.readouterr().err
    described = json.loads((tmp_path / "out" / "detection.json").read_text())
    assert described["preparation"]["asked"] == Preparation().as_dict()
    brain = nib.load(tmp_path / "out" / "brain_mask.nii.gz").get_fdata() > 0
    mask = nib.load(tmp_path / "out" / "mask.nii.gz").get_fdata() > 0
    assert brain.any()
    assert not mask[~brain].any()
    assert run("detect", cohort / "Mets_002", "--model", model_folder, "--out", tmp_path / "two") == 0
    assert not (tmp_path / "two" / "brain_mask.nii.gz").exists()


def test_detect_in_a_cohort(cohort, finder, model_folder, tmp_path):
    more = ("--out", tmp_path / "out", "--workers", 1)
    assert run("detect", cohort, "--model", model_folder, "--strip", finder, *more) == 0
    for name in ("Mets_001", "Mets_002"):
        assert (tmp_path / "out" / name / "brain_mask.nii.gz").is_file(), (
            "a stripper that is named always runs"
        )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--strip", "nonsense"], "there is no skull stripper called 'nonsense'"),
        (["--strip", "some_mask.nii.gz"], "goes with one patient"),
        (["--strip", "command:tool"], "{input} and {output}"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_nothing_written(
    cohort, model_folder, tmp_path, capsys, flags, said
):
    assert run("detect", cohort, "--model", model_folder, "--out", tmp_path / "out", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert not (tmp_path / "out").exists()


def test_a_stripper_that_is_not_there_is_one_line_and_nothing_written(
    cohort, model_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(module, "DEFAULT_STRIPPER", "command:no-such-program {input} {output}")
    assert run("detect", cohort / "Mets_001", "--model", model_folder, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "--strip never" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_evaluate_strips_the_skull(cohort, default, tmp_path, capsys):
    settings = {"out": tmp_path / "out", "workers": 1}
    flags = [word for name, value in settings.items() for word in (f"--{name}", value)]
    assert run("evaluate", cohort, "--models", "", *flags) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["preparation"]["strip"] == "auto"
    said = capsys.readouterr().err
    assert "the skull was stripped by command:" in said
    assert "(Mets_001)" in said
    assert "has a meaningless anomaly map" not in said


def test_check_says_what_has_a_skull(cohort, finder, capsys, monkeypatch):
    monkeypatch.setattr(type(stripping.find_stripper("deepbet")), "missing", lambda self: None)
    assert run("check", cohort) == 0
    assert "1 of 2 patients have a skull" in capsys.readouterr().out
    assert run("check", cohort, "--strip", "never") == 2
    assert "preparation: " in capsys.readouterr().out
    monkeypatch.setattr(type(stripping.find_stripper("deepbet")), "missing", lambda self: "install it")
    assert run("check", cohort) == 2
    assert "is not installed" in capsys.readouterr().out
    assert run("check", cohort, "--strip", finder, "--bias-field", "auto") in (0, 2)


def test_prepare_takes_raw_scans_when_asked(cohort, finder, tmp_path, capsys):
    (cohort / "Mets_001" / "seg.nii.gz").unlink()
    (cohort / "Mets_002" / "seg.nii.gz").unlink()
    many = ("--assume-healthy", "--validation", 0.5, "--test", 0)
    assert run("prepare", cohort, "--out", tmp_path / "store", *many, "--strip", finder) == 0
    assert "0 patients left out" in capsys.readouterr().out
    assert run("prepare", cohort, "--out", tmp_path / "store", *many, "--strip", finder) == 0, "and again"
    assert (
        run("prepare", cohort, "--out", tmp_path / "even", *many, "--strip", finder, "--bias-field", "n4")
        == 0
    )
    assert "taken out by N4" in capsys.readouterr().err
    assert run("prepare", cohort, "--out", tmp_path / "two", *many) in (0, 2)
    assert "not skull-stripped" in capsys.readouterr().err


def test_a_dicom_segmentation_needs_a_dicom_scan(cohort, model_folder, tmp_path, capsys):
    pytest.importorskip("highdicom")
    flags = ("--model", model_folder, "--out", tmp_path / "out", "--dicom")
    assert run("detect", cohort / "Mets_002", *flags) == 2
    assert "refers to DICOM slices" in capsys.readouterr().err
    assert run("detect", cohort, *flags) == 2
    assert "--dicom goes with one patient" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dicom_series_comes_back_as_a_segmentation(model_folder, tmp_path):
    pytest.importorskip("highdicom")
    import pydicom

    from enhanced import write_slices

    said = {"FrameOfReferenceUID": "1.2.3.9", "PatientID": "p", "PatientBirthDate": "", "PatientSex": ""}
    said |= {"StudyDate": "20260101", "StudyTime": "120000", "AccessionNumber": "", "StudyID": "1"}
    data = np.round(make_stripped()).astype(np.uint16).transpose(2, 1, 0)
    write_slices(tmp_path / "dicom", data, np.diag([-1.5, -1.5, 8, 1]), ReferringPhysicianName="", **said)
    flags = ("--model", model_folder, "--score", "intensity", "--threshold", 0.8)
    assert run("detect", tmp_path / "dicom", *flags, "--out", tmp_path / "out", "--dicom") == 0
    mask = nib.load(tmp_path / "out" / "mask.nii.gz").get_fdata() > 0
    made = pydicom.dcmread(tmp_path / "out" / "mask.dcm")
    assert made.pixel_array.sum() == mask.sum() > 0
    assert [item.SegmentLabel for item in made.SegmentSequence] == ["lesion"]
