"""The integrity report: every kind of damage is found, and a whole cohort is clean."""

import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from napari_cead.errors import Cancelled, PatientError
from napari_cead.patients.integrity import check_cohort
from scanners import write_dicom
from scans import make_brain, write_nifti

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def stored(volume):
    return np.transpose(volume, (2, 1, 0))


@pytest.fixture
def cohort(tmp_path):
    """Three whole patients of three files each."""
    for number in range(3):
        brain, lesion = make_brain(seed=number)
        folder = tmp_path / "train" / f"Mets_00{number}"
        write_nifti(folder / "flair.nii.gz", stored(brain), AFFINE)
        write_nifti(folder / "t1_gd.nii.gz", stored(brain * 2), AFFINE)
        write_nifti(folder / "seg.nii.gz", stored(lesion.astype(np.uint8)), AFFINE)
    return tmp_path


def codes(report):
    return {(finding.patient, finding.code, finding.file.name) for finding in report.findings}


def change(file, work):
    image = nib.load(file)
    data, affine = work(np.asarray(image.dataobj).copy(), image.affine.copy())
    write_nifti(file, data, affine)


def test_a_whole_cohort_is_clean(cohort):
    seen = []
    report = check_cohort(cohort, on_progress=lambda done, total: seen.append((done, total)))
    assert report.clean
    assert report.expected == ("flair", "t1_gd")
    assert (len(report.patients), report.labelled) == (3, 3)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    patient = report.patients[0]
    assert patient.sequences["flair"].shape == (12, 60, 50)
    assert patient.sequences["flair"].spacing == (3, 2, 2)
    assert patient.sequences["flair"].axcodes == "RAS"
    assert patient.lesion_ml == pytest.approx(make_brain(seed=0)[1].sum() * 12 / 1000)


def test_patients_without_a_mask_are_counted_not_blamed(cohort):
    (cohort / "train" / "Mets_001" / "seg.nii.gz").unlink()
    report = check_cohort(cohort)
    assert report.clean
    assert report.labelled == 2
    assert report.patients[1].lesion_ml is None


def test_one_truncated_file_one_missing_flair_one_shifted_mask(cohort):
    first, second, third = sorted((cohort / "train").iterdir())
    data = (first / "flair.nii.gz").read_bytes()
    (first / "flair.nii.gz").write_bytes(data[: len(data) // 2])
    (second / "flair.nii.gz").unlink()
    change(
        third / "seg.nii.gz", lambda data, affine: (data, affine + np.array([[0, 0, 0, 30]] + 3 * [[0] * 4]))
    )
    report = check_cohort(cohort, "flair")
    assert codes(report) == {
        ("Mets_000", "unreadable", "flair.nii.gz"),
        ("Mets_001", "missing-sequence", "Mets_001"),
        ("Mets_002", "affine", "seg.nii.gz"),
    }
    assert "30.0 mm" in next(item.sentence for item in report.findings if item.code == "affine")
    assert report.counts() == {"unreadable": 1, "missing-sequence": 1, "affine": 1}


def test_a_finding_says_how_bad_it_is_and_what_was_measured(cohort):
    first, second, third = sorted((cohort / "train").iterdir())
    (first / "t1_gd.nii.gz").write_bytes(b"no")
    change(
        second / "t1_gd.nii.gz",
        lambda data, affine: (data, affine + np.array([[0, 0, 0, 30]] + 3 * [[0] * 4])),
    )
    change(third / "t1_gd.nii.gz", lambda data, affine: (data[:-4], affine))
    found = {
        finding["code"]: (finding["severity"], finding["values"])
        for patient in check_cohort(cohort).as_dict()["patients"]
        for finding in patient["findings"]
    }
    assert found["unreadable"] == ("error", {})
    assert found["affine"] == ("note", {"shift_mm": pytest.approx(30)})
    assert found["shape"] == ("note", {"shape": (12, 60, 46), "first": (12, 60, 50)})
    said = [finding.sentence for finding in check_cohort(cohort).findings if finding.code == "shape"]
    assert said == ["the t1_gd scan has 46 x 60 x 12 voxels, the flair scan 50 x 60 x 12; it is resampled"]


def test_other_scans_and_the_mask_are_compared_with_the_wanted_scan(cohort):
    for folder in (cohort / "train").iterdir():
        change(folder / "flair.nii.gz", lambda data, affine: (data[:-4], affine))
    assert {(code, name) for _, code, name in codes(check_cohort(cohort, "t1_gd"))} == {
        ("shape", "flair.nii.gz")
    }


def test_a_mask_that_was_shifted_by_voxels_lies_outside_the_brain(cohort):
    file = cohort / "train" / "Mets_000" / "seg.nii.gz"
    change(file, lambda data, affine: (np.roll(data, -14, axis=0), affine))
    assert codes(check_cohort(cohort)) == {("Mets_000", "mask-place", "seg.nii.gz")}


@pytest.mark.parametrize(
    ("name", "work", "code"),
    [
        ("t1_gd", lambda data, affine: (data[:-4], affine), "shape"),
        ("t1_gd", lambda data, affine: (data, affine @ np.diag([1, 1, 1.5, 1])), "spacing"),
        ("t1_gd", lambda data, affine: (data[::-1], affine @ np.diag([-1.0, 1, 1, 1])), "affine"),
        ("seg", lambda data, affine: (data * 0.5, affine), "mask-values"),
        ("seg", lambda data, affine: (np.arange(data.size).reshape(data.shape) % 40, affine), "mask-values"),
        ("flair", lambda data, affine: (np.where(np.arange(12) == 5, 0, data), affine), "slice-gap"),
        ("flair", lambda data, affine: (np.where(data > 110, np.nan, data), affine), "intensities"),
        ("flair", lambda data, affine: (data * 0, affine), "intensities"),
        ("flair", lambda data, affine: (data, None), "orientation"),
    ],
    ids=["shape", "spacing", "affine", "half", "image", "gap", "nan", "zero", "orientation"],
)
def test_each_kind_of_damage(cohort, name, work, code):
    folder = cohort / "train" / "Mets_001"
    file = folder / f"{name}.nii.gz"
    data, affine = work(np.asarray(nib.load(file).dataobj).astype(np.float32), AFFINE.copy())
    image = nib.Nifti1Image(data.astype(np.float32), affine)
    nib.save(image, file)
    found = codes(check_cohort(cohort))
    assert ("Mets_001", code, file.name) in found
    assert {patient for patient, *_ in found} == {"Mets_001"}


def test_several_labels_are_listed_and_no_fault(cohort):
    file = cohort / "train" / "Mets_000" / "seg.nii.gz"
    change(file, lambda data, affine: (np.where(np.arange(50)[:, None, None] < 25, data, data * 3), affine))
    report = check_cohort(cohort)
    assert report.clean
    assert set(report.patients[0].labels) <= {1, 3} and report.patients[1].labels == (1,)


def test_png_slices_that_are_missing_and_of_another_size(tmp_path):
    for name in ("3", "seg"):
        (tmp_path / "Mets_1" / name).mkdir(parents=True)
        for number in range(5):
            picture = np.full((8, 8), 9 if name == "3" else number == 2, np.uint8)
            Image.fromarray(picture).save(tmp_path / "Mets_1" / name / f"{number:03}.png")
    assert check_cohort(tmp_path).clean
    (tmp_path / "Mets_1" / "3" / "002.png").unlink()
    assert codes(check_cohort(tmp_path)) == {("Mets_1", "slice-gap", "3")}
    Image.fromarray(np.full((9, 8), 9, np.uint8)).save(tmp_path / "Mets_1" / "3" / "002.png")
    assert codes(check_cohort(tmp_path)) == {("Mets_1", "unreadable", "3")}


def test_scans_of_which_nobody_knows_what_they_are_and_names_that_are_double(cohort):
    shutil.copytree(cohort / "train" / "Mets_000", cohort / "test" / "Mets_000")
    shutil.copy(cohort / "train" / "Mets_002" / "flair.nii.gz", cohort / "train" / "Mets_002" / "FLAIR.nii")
    folder = cohort / "other"
    folder.mkdir()
    shutil.copy(cohort / "train" / "Mets_000" / "flair.nii.gz", folder / "x17.nii.gz")
    report = check_cohort(cohort)
    assert codes(report) == {
        ("Mets_000", "same-name", "Mets_000"),
        ("Mets_002", "unrecognised", "Mets_002"),
        ("other", "unrecognised", "other"),
    }


def test_nothing_to_check_is_an_error_and_it_can_be_stopped(tmp_path, cohort):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PatientError, match="no patients"):
        check_cohort(tmp_path / "empty")
    with pytest.raises(PatientError, match="no such folder"):
        check_cohort(tmp_path / "gone")
    with pytest.raises(Cancelled):
        check_cohort(cohort, should_stop=lambda: True)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("seg_of_anna", "its name is like that of one"),
        ("wmh_AUTOMATIC", "its name is like that of one"),
        ("predicted_mask", "its name is like that of one"),
        ("x17", "it holds a few whole numbers on the grid of the scan"),
    ],
)
def test_a_mask_that_was_not_recognised_is_listed(cohort, name, why):
    folder = cohort / "train" / "Mets_001"
    (folder / "seg.nii.gz").rename(folder / f"{name}.nii.gz")
    report = check_cohort(cohort)
    (finding,) = report.findings
    assert (finding.patient, finding.code, finding.file) == (
        "Mets_001",
        "mask-name",
        folder / f"{name}.nii.gz",
    )
    assert finding.sentence == (
        f"there is no lesion mask, but {name}.nii.gz may be one: {why}; call it seg, or name it with --mask"
    )
    assert report.labelled == 2


@pytest.mark.parametrize("place", ["Mets_001/masks/drawn", "Mets_001/seg/Mets_001", "Labels/Mets_001_x"])
def test_a_mask_in_a_folder_of_masks_is_listed(cohort, place):
    expected = cohort / "train" / f"{place}.nii.gz"
    expected.parent.mkdir()
    (cohort / "train" / "Mets_001" / "seg.nii.gz").rename(expected)
    found = [finding for finding in check_cohort(cohort).findings if finding.code == "mask-name"]
    assert [(finding.patient, finding.file) for finding in found] == [("Mets_001", expected)]
    expected.rename(expected.with_name("Mets_001_brain_mask.nii.gz"))
    assert "mask-name" not in check_cohort(cohort).counts()


@pytest.mark.parametrize(
    "name", ["brain_mask", "csf_mask", "flair_brainmask.DERIVED", "change_mask_on_t1", "adc", "fine"]
)
def test_what_is_no_lesion_mask_is_not_listed(cohort, name):
    folder = cohort / "train" / "Mets_001"
    (folder / "seg.nii.gz").unlink()
    data = np.asarray(nib.load(folder / "flair.nii.gz").dataobj)
    if name == "fine":
        write_nifti(folder / f"{name}.nii.gz", np.repeat(data > 120, 2, axis=0).astype(np.uint8), AFFINE)
    else:
        write_nifti(
            folder / f"{name}.nii.gz", data if name == "adc" else (data > 50).astype(np.uint8), AFFINE
        )
    assert check_cohort(cohort).clean


def test_a_lesion_mask_in_another_space_of_a_data_set_is_listed(tmp_path):
    brain, lesion = make_brain((6, 20, 16))
    write_nifti(tmp_path / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz", stored(brain), AFFINE)
    derived = tmp_path / "derivatives" / "x" / "sub-01" / "anat"
    for name in ("space-MNI_label-lesion_mask", "desc-brain_mask", "dseg", "label-GM_mask"):
        path = derived.parents[1] / "fmriprep" / "sub-01" / "anat" if name == "dseg" else derived
        write_nifti(path / f"sub-01_{name}.nii.gz", stored(lesion.astype(np.uint8)), AFFINE)
    assert codes(check_cohort(tmp_path)) == {
        ("sub-01", "mask-name", "sub-01_space-MNI_label-lesion_mask.nii.gz")
    }


@pytest.mark.parametrize("layout", ["png", "picture", "dicom"])
def test_a_mask_that_was_not_recognised_is_listed_beside_slices(tmp_path, layout):
    brain, lesion = make_brain((6, 20, 16))
    if layout == "dicom":
        write_dicom(tmp_path / "anna", stored(brain).astype(np.int16), AFFINE)
        expected = tmp_path / "anna" / "seg_of_anna.nii.gz"
        write_nifti(expected, stored(lesion.astype(np.uint8)), AFFINE)
    else:
        scan, expected = (
            tmp_path / "anna" / ("3" if layout == "png" else "flair"),
            tmp_path / "anna" / "masks",
        )
        for folder, pixels in ((scan, brain[3]), (expected, lesion[3] * 255)):
            folder.mkdir(parents=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "003.png")
    (finding,) = check_cohort(tmp_path).findings
    assert (finding.code, finding.file) == ("mask-name", expected)


@pytest.mark.parametrize("name", ["flair", "seg"])
def test_a_header_that_contradicts_itself_is_found(cohort, name):
    file = next(cohort.rglob(f"{name}.nii.gz"))
    image = nib.load(file)
    header = image.header.copy()
    header.set_sform(image.affine, 1)
    moved = image.affine.copy()
    moved[:3, 3] += (0, 30, 0)
    header.set_qform(moved, 1)
    data = np.asarray(image.dataobj).copy()
    nib.save(nib.Nifti1Image(data, None, header), file)
    findings = [each for each in check_cohort(cohort).findings if each.file == file]
    assert [each.code for each in findings] == ["affine"]
    assert "qform and sform place the scan 30 mm apart" in findings[0].sentence
