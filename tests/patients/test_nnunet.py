import json

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.errors import PatientError
from napari_cead.patients import find_files, find_patients
from napari_cead.patients.integrity import check_cohort
from scans import make_brain, write_nifti


@pytest.fixture
def scan():
    volume, lesion = make_brain((6, 20, 16))
    return volume.T, lesion.T.astype(np.uint8)


@pytest.fixture
def dataset(tmp_path, scan):
    volume, lesion = scan
    root = tmp_path / "Dataset001_Mets"
    for case in ("mets_001", "mets_002", "mets_010"):
        write_nifti(root / "imagesTr" / f"{case}_0000.nii.gz", volume)
        write_nifti(root / "imagesTr" / f"{case}_0001.nii.gz", volume * 2)
        write_nifti(root / "labelsTr" / f"{case}.nii.gz", lesion)
    write_nifti(root / "imagesTs" / "mets_011_0000.nii.gz", volume)
    return root


@pytest.mark.parametrize("key", ["channel_names", "modality"])
def test_dataset_json_tells_the_sequences(dataset, scan, key):
    (dataset / "dataset.json").write_text(
        json.dumps({key: {"0": "FLAIR", "1": "T1w"}, "labels": {"background": 0}})
    )
    places = list(find_patients(dataset))
    assert [str(place.relative_to(dataset)) for place in places] == [
        "imagesTr/mets_001",
        "imagesTr/mets_002",
        "imagesTr/mets_010",
        "imagesTs/mets_011",
    ]
    patient = cead.load_patient(places[1])
    assert (patient.name, set(patient.sequences)) == ("mets_002", {"flair", "t1_pre"})
    np.testing.assert_array_equal(patient.grid.to_source(patient.volume()), scan[0])
    np.testing.assert_array_equal(patient.grid.to_source(patient.lesion_mask), scan[1])
    assert cead.load_patient(places[3]).lesion_mask is None
    one = cead.load_patient(dataset / "imagesTr" / "mets_001_0001.nii.gz")
    assert (one.name, one.sequence, one.lesion_mask.sum()) == ("mets_001", "t1_pre", scan[1].sum())


def test_without_it_the_numbers_mean_what_the_table_says(dataset):
    assert set(find_files(dataset / "imagesTr" / "mets_001").sequences) == {"bravo", "t1_pre"}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"channel_names": 3}', '{"channel_names": {"x": "FLAIR", "0": "PET"}}']
)
def test_a_strange_dataset_json_is_as_none(dataset, content):
    (dataset / "dataset.json").write_text(content)
    assert set(find_files(dataset / "imagesTr" / "mets_001").sequences) == {"bravo", "t1_pre"}


def test_a_folder_of_cases_is_a_cohort_that_is_clean(dataset):
    (dataset / "dataset.json").write_text(json.dumps({"channel_names": {"0": "FLAIR", "1": "T1"}}))
    report = check_cohort(dataset / "imagesTr")
    assert (report.clean, len(report.patients), report.labelled) == (True, 3, 3)
    assert {finding.code for finding in check_cohort(dataset).findings} == {
        "missing-sequence"
    }  # of the test case


def test_a_flat_folder_of_several_patients_is_a_cohort(tmp_path, scan):
    for name in ("anna_flair", "anna_t1", "anna_seg", "bert_flair"):
        write_nifti(tmp_path / f"{name}.nii.gz", scan[1] if name.endswith("seg") else scan[0])
    assert [place.name for place in find_patients(tmp_path)] == ["anna", "bert"]
    assert cead.load_patient(tmp_path / "anna").lesion_mask is not None
    assert cead.load_patient(tmp_path / "bert").lesion_mask is None
    with pytest.raises(PatientError, match=r"choose one patient, for instance .*anna"):
        cead.load_patient(tmp_path)
    # Where the beginning of one name is another one, they may be two scans of one patient: nothing is guessed.
    write_nifti(tmp_path / "anna_old_flair.nii.gz", scan[0])
    assert list(find_patients(tmp_path)) == []


@pytest.mark.parametrize(
    "names",
    [("t2f", "t1c", "t1n", "t2w", "seg"), ("flair", "t1ce", "t1", "t2", "seg")],
    ids=["2023", "2020"],
)
def test_brats_folders_of_both_namings(tmp_path, scan, names):
    sequences = ("flair", "t1_gd", "t1_pre", "t2")
    for number in (1, 2):
        case = f"BraTS-MET-0000{number}-000" if names[0] == "t2f" else f"BraTS20_Training_00{number}"
        mark = "-" if names[0] == "t2f" else "_"
        for name in names:
            data = scan[1] if name == "seg" else scan[0]
            write_nifti(tmp_path / case / f"{case}{mark}{name}.nii.gz", data)
    places = list(find_patients(tmp_path))
    assert len(places) == 2
    patient = cead.load_patient(places[0])
    assert (patient.name, sorted(patient.sequences)) == (places[0].name, sorted(sequences))
    np.testing.assert_array_equal(patient.grid.to_source(patient.lesion_mask), scan[1])
