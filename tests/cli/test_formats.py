"""Every way in, through every verb that takes a patient or a cohort."""

import hashlib
import json
import zipfile

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from napari_cead.training import SliceStore
from scanners import itk_image, write_dicom
from scans import make_brain, write_nifti

AFFINE = np.diag([-0.94, -0.94, 2.0, 1.0])


def write_all(root):
    """The same patient, with its mask, in every format; returns the places by name."""
    volume, lesion = make_brain((12, 60, 50))
    scan, mask = np.round(volume.T).astype(np.int16), lesion.T.astype(np.uint8)
    write_nifti(root / "nifti" / "flair.nii.gz", scan, AFFINE)
    write_nifti(root / "nifti" / "seg.nii.gz", mask, AFFINE)
    write_dicom(root / "dicom", scan, AFFINE)
    write_nifti(root / "dicom" / "seg.nii.gz", mask, AFFINE)
    with zipfile.ZipFile(root / "zip.zip", "w") as archive:
        for name in ("flair", "seg"):
            archive.write(root / "nifti" / f"{name}.nii.gz", f"anna/{name}.nii.gz")
    (root / "nrrd").mkdir()
    sitk.WriteImage(itk_image(scan, AFFINE), str(root / "nrrd" / "flair.nrrd"))
    sitk.WriteImage(itk_image(mask, AFFINE), str(root / "nrrd" / "seg.nrrd"))
    (root / "mgz").mkdir()
    nib.save(nib.MGHImage(scan, AFFINE), root / "mgz" / "flair.mgz")
    nib.save(nib.MGHImage(mask, AFFINE), root / "mgz" / "seg.mgz")
    write_nifti(root / "bids" / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_FLAIR.nii.gz", scan, AFFINE)
    write_nifti(
        root / "bids/derivatives/x/sub-01/ses-1/anat/sub-01_ses-1_label-lesion_mask.nii.gz", mask, AFFINE
    )
    write_nifti(root / "nnunet" / "imagesTr" / "case_0000.nii.gz", scan, AFFINE)
    write_nifti(root / "nnunet" / "labelsTr" / "case.nii.gz", mask, AFFINE)
    (root / "nnunet" / "dataset.json").write_text(json.dumps({"channel_names": {"0": "FLAIR"}}))
    return {
        "nifti": root / "nifti",
        "dicom": root / "dicom",
        "zip": root / "zip.zip",
        "nrrd": root / "nrrd",
        "mgz": root / "mgz",
        "bids": root / "bids" / "sub-01" / "ses-1",
        "nnunet": root / "nnunet" / "imagesTr" / "case",
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return tmp_path_factory.mktemp("formats") / "cohort"


@pytest.fixture(scope="module")
def places(cohort):
    return write_all(cohort)


RESULTS = ("anomaly_map", "reconstruction", "mask")


def volumes(folder):
    return [nib.load(folder / f"{name}.nii.gz") for name in RESULTS]


def test_detect_finds_the_same_in_every_format_and_repeats_it(call, cohort, places, model_folder, tmp_path):
    out = tmp_path / "out"
    flags = (
        "--model",
        model_folder,
        "--score",
        "intensity",
        "--threshold",
        0.6,
        "--device",
        "cpu",
        "--threads",
        1,
    )
    for name, place in places.items():
        status, _, err = call("detect", place, "--out", out / name, *flags)
        assert (status, err) == (0, ""), name
        for found, wanted in zip(volumes(out / name), volumes(out / "nifti"), strict=True):
            np.testing.assert_array_equal(found.get_fdata(), wanted.get_fdata(), err_msg=name)
            np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-3, err_msg=name)
        facts = json.loads((out / name / "detection.json").read_text())
        assert facts["dice"] == json.loads((out / "nifti" / "detection.json").read_text())["dice"]
        if name in ("dicom", "zip", "bids"):
            program, *arguments = facts["command"]["argv"]
            assert program == "napari-cead"
            assert call(*arguments)[0] == 0
            for result in RESULTS:
                again = out / name / "replay" / f"{result}.nii.gz"
                assert again.read_bytes() == (out / name / f"{result}.nii.gz").read_bytes()
    sources = {name: json.loads((out / name / "detection.json").read_text())["sources"] for name in places}
    assert sources["zip"]["flair"]["sha256"] == hashlib.sha256(places["zip"].read_bytes()).hexdigest()
    slices = b"".join(file.read_bytes() for file in sorted(places["dicom"].glob("*.dcm")))
    assert sources["dicom"]["flair"]["sha256"] == hashlib.sha256(slices).hexdigest()
    assert sources["dicom"]["flair"]["path"] == f"{places['dicom']}#5"
    assert len({each["flair"]["voxels_sha256"] for each in sources.values()}) == 1
    assert "SimpleITK" in json.loads((out / "dicom" / "detection.json").read_text())["versions"]


def test_a_cohort_of_all_formats(call, cohort, places, model_folder, tmp_path):
    flags = (
        "--model",
        model_folder,
        "--score",
        "intensity",
        "--threshold",
        0.6,
        "--device",
        "cpu",
        "--workers",
        1,
    )
    status, out, err = call("detect", cohort, "--out", tmp_path / "out", *flags)
    assert (status, err) == (0, "")
    assert "7 patients done, 0 skipped" in out
    table = (tmp_path / "out" / "detections.tsv").read_text().splitlines()
    rows = {line.split("\t")[0]: line.split("\t")[1] for line in table[1:]}
    assert rows == {
        "sub-01_ses-1": "bids/sub-01/ses-1",
        "dicom": "dicom",
        "mgz": "mgz",
        "nifti": "nifti",
        "case": "nnunet/imagesTr/case",
        "nrrd": "nrrd",
        "zip": "zip",
    }
    status, out, _ = call("detect", cohort, "--out", tmp_path / "out", *flags)
    assert "7 patients done, 7 of them before" in out.replace("again, ", "")


def test_check_is_clean(call, cohort, places):
    status, out, _ = call("check", cohort)
    assert (status, out.splitlines()[-1]) == (0, "no findings")
    assert out.startswith("7 patients, 7 with a lesion mask, 0 unlabelled")
    for place in places.values():
        assert call("check", place)[0] == 0, place


def test_prepare_takes_them_all(call, cohort, places, tmp_path):
    status, out, _ = call("prepare", cohort, "--out", tmp_path / "store", "--min-brain", 0)
    assert status == 0
    assert "0 patients left out" in out
    store = SliceStore.open(tmp_path / "store")
    assert sorted(patient.name for patient in store.patients) == [
        "case",
        "dicom",
        "mgz",
        "nifti",
        "nrrd",
        "sub-01_ses-1",
        "zip",
    ]
    for name in ("zip", "dicom"):
        out = tmp_path / name
        assert call("prepare", places[name], "--out", out, "--min-brain", 0, "--split", "slice")[0] == 0
        assert len(SliceStore.open(out).patients) == 1


@pytest.mark.slow
def test_evaluate_takes_them_all(call, cohort, places, model_folder, tmp_path):
    for number, place in enumerate((cohort, places["zip"], places["dicom"])):
        out = tmp_path / str(number)
        status, _, err = call("evaluate", place, "--models", model_folder, "--out", out, "--workers", 1)
        assert status == 0, err
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))
        assert results["skipped"] == []
        assert (out / "results.csv").is_file()


def test_results_do_not_fall_among_the_files_of_a_series(call, places, model_folder):
    status, _, err = call("detect", places["dicom"], "--model", model_folder, "--out", places["dicom"])
    assert status == 2
    assert "among the patient's own files" in err


def test_several_series_are_named_and_one_can_be_chosen(call, model_folder, tmp_path):
    scan = np.round(make_brain((12, 60, 50))[0].T).astype(np.int16)
    for number in (3, 8):
        write_dicom(tmp_path / "anna", scan, AFFINE, number=number, name=f"{number}-{{}}.dcm")
    flags = ("--model", model_folder, "--score", "intensity", "--device", "cpu")
    status, _, err = call("detect", tmp_path / "anna", "--out", tmp_path / "out", *flags)
    assert status == 2
    assert err.count("\n") == 1
    assert "2 series look like flair: 3 (Ax T2 FLAIR, 12 slices), 8 (Ax T2 FLAIR, 12 slices)" in err
    assert f"name one, for instance {tmp_path}/anna#3" in err
    assert not (tmp_path / "out").exists()
    assert call("detect", f"{tmp_path}/anna#8", "--out", tmp_path / "out", *flags)[0] == 0
