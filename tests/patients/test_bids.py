import json

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.errors import CeadWarning, PatientError
from napari_cead.patients import find_files, find_patients, place_name
from scans import make_brain, write_nifti


@pytest.fixture
def scan():
    volume, lesion = make_brain((6, 20, 16))
    return volume.T, lesion.T.astype(np.uint8)


@pytest.fixture
def dataset(tmp_path, scan):
    """Two subjects, the first with two sessions, and what programs leave in the derivatives."""
    volume, lesion = scan
    root = tmp_path / "ds"
    for name in ("sub-01/ses-1", "sub-01/ses-2", "sub-02"):
        stem = name.replace("/", "_")
        for suffix in ("FLAIR", "T1w", "ce-gadolinium_T1w", "T2w"):
            write_nifti(root / name / "anat" / f"{stem}_{suffix}.nii.gz", volume)
        write_nifti(root / name / "func" / f"{stem}_task-rest_bold.nii.gz", volume)
        write_nifti(
            root / "derivatives" / "fmriprep" / name / "anat" / f"{stem}_desc-preproc_T1w.nii.gz", volume
        )
        write_nifti(root / "derivatives" / "fmriprep" / name / "anat" / f"{stem}_dseg.nii.gz", lesion * 0 + 3)
        write_nifti(
            root / "derivatives" / "fmriprep" / name / "anat" / f"{stem}_desc-brain_mask.nii.gz",
            lesion * 0 + 1,
        )
        write_nifti(root / "sourcedata" / name / "anat" / f"{stem}_FLAIR.nii.gz", volume)
    write_nifti(
        root
        / "derivatives"
        / "raters"
        / "sub-01"
        / "ses-2"
        / "anat"
        / "sub-01_ses-2_label-lesion_mask.nii.gz",
        lesion,
    )
    (root / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.8.0"}))
    return root


def test_one_patient_for_each_subject_and_session_and_none_in_the_derivatives(dataset):
    places = list(find_patients(dataset))
    assert [str(place.relative_to(dataset)) for place in places] == ["sub-01/ses-1", "sub-01/ses-2", "sub-02"]
    assert [place_name(place) for place in places] == ["sub-01_ses-1", "sub-01_ses-2", "sub-02"]
    assert [find_files(place).name for place in places] == ["sub-01_ses-1", "sub-01_ses-2", "sub-02"]
    patient = cead.load_patient(places[0])
    assert set(patient.sequences) == {"flair", "t1_pre", "t1_gd", "t2"}
    assert patient.lesion_mask is None  # tissues and brain masks are none
    assert patient.warnings == ()


def test_a_mask_of_the_derivatives_is_found_by_folder_and_by_file(dataset, scan):
    for path in ("sub-01/ses-2", "sub-01/ses-2/anat", "sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz"):
        patient = cead.load_patient(dataset / path)
        assert patient.name == "sub-01_ses-2"
        np.testing.assert_array_equal(patient.grid.to_source(patient.lesion_mask), scan[1])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("raters/sub-02/anat/sub-02_label-lesion_mask", True),
        ("raters/sub-02/anat/sub-02_label-lesion_roi", True),
        ("raters/sub-02/anat/sub-02_desc-lesion_dseg", True),
        ("raters/sub-02/anat/sub-02_space-FLAIR_label-L_desc-lesions_mask", True),
        ("raters/sub-02/sub-02_mask", True),
        ("other/v1/sub-02/anat/sub-02_dseg", True),
        ("raters/sub-02/masks/sub-02_mask", True),
        ("raters/sub-02/anat/sub-02_space-MNI152NLin6Asym_label-lesion_mask", False),
        ("raters/sub-02/anat/sub-02_label-GM_mask", False),
        ("raters/sub-02/anat/sub-02_label-lesion_probseg", False),
        ("raters/sub-01/ses-1/anat/sub-01_ses-1_label-lesion_mask", False),
        ("raters/sub-02/ses-1/anat/sub-02_ses-1_label-lesion_mask", False),
        ("smriprep/sub-02/anat/sub-02_dseg", False),
        ("raters/sub-02/anat/sub-02_FLAIR", False),
    ],
)
def test_which_files_are_lesion_masks(dataset, scan, name, found):
    write_nifti(dataset / "derivatives" / f"{name}.nii.gz", scan[1])
    assert (find_files(dataset / "sub-02").mask is not None) == found


def test_a_mask_beside_the_scan_is_found(dataset, scan):
    write_nifti(dataset / "sub-02" / "anat" / "sub-02_label-lesion_roi.nii.gz", scan[1])
    assert cead.load_patient(dataset / "sub-02").lesion_mask.sum() == scan[1].sum()


def test_of_several_masks_or_runs_one_is_taken_and_it_is_said(dataset, scan):
    for rater in ("a", "b"):
        write_nifti(
            dataset / "derivatives" / rater / "sub-02" / "anat" / "sub-02_label-lesion_mask.nii.gz", scan[1]
        )
    write_nifti(dataset / "sub-02" / "anat" / "sub-02_run-2_FLAIR.nii.gz", scan[0])
    with pytest.warns(CeadWarning) as told:
        patient = cead.load_patient(dataset / "sub-02")
    said = " ".join(str(note.message) for note in told)
    assert "sub-02_FLAIR.nii.gz is taken as the flair scan, not sub-02_run-2_FLAIR.nii.gz" in said
    assert "is taken as the lesion mask, not sub-02/anat/sub-02_label-lesion_mask.nii.gz" in said
    assert str(patient.files["seg"]).startswith(str(dataset / "derivatives" / "a"))


def test_a_subject_with_sessions_asks_for_one(dataset):
    with pytest.raises(PatientError, match=r"choose one patient, for instance .*sub-01/ses-1"):
        cead.load_patient(dataset / "sub-01")


def test_a_pipeline_s_own_folder_may_be_a_cohort(dataset, scan):
    root = dataset / "derivatives" / "stripped"
    write_nifti(root / "sub-01" / "ses-2" / "anat" / "sub-01_ses-2_desc-brain_FLAIR.nii.gz", scan[0])
    [place] = find_patients(root)
    patient = cead.load_patient(place)
    assert patient.name == "sub-01_ses-2"
    assert patient.lesion_mask is not None  # of the dataset's other derivatives
