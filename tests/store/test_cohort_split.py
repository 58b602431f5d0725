import shutil

import pytest

from napari_cead.errors import PatientError, StoreError
from napari_cead.patients import PNG_SPACING
from napari_cead.store.cohort_split import split_cohort
from napari_cead.training import prepare
from small_stores import SIZE


def names(split, part):
    return [member.name for member in split.part(part)]


def test_without_a_split_all_patients_are_reported(untouched):
    split = split_cohort(untouched)
    assert names(split, "test") == [f"Mets_00{number}" for number in range(1, 7)]
    assert names(split, "train") == names(split, "validation") == []
    assert (split.source, split.sequence, split.png_spacing) == (None, "flair", PNG_SPACING)


def test_a_file_assigns_patients_by_name_and_says_what_does_not_fit(cohort, split):
    shutil.rmtree(cohort / "Mets_003")
    shutil.copytree(cohort / "Mets_001", cohort / "Mets_777")
    found = split_cohort(cohort, split)
    assert names(found, "train") == ["Mets_001"]
    assert names(found, "validation") == ["Mets_002"]
    assert names(found, "test") == ["Mets_004", "Mets_005", "Mets_006"]
    assert found.unassigned == (("Mets_777", cohort / "Mets_777"),)
    assert found.warnings == ("1 patient of the split is not in the cohort: Mets_003",)


def test_a_store_gives_its_split_sequence_and_spacing(cohort, split, tmp_path):
    prepare(
        cohort, tmp_path / "store", split=split, image_size=SIZE, min_brain=0.05, png_spacing=(2.0, 0.9, 0.9)
    )
    found = split_cohort(cohort, tmp_path / "store")
    assert names(found, "validation") == ["Mets_002", "Mets_003"]
    assert names(found, "test") == ["Mets_004", "Mets_005", "Mets_006"]
    assert all(member.slices is None for member in found.members)
    assert (found.sequence, found.png_spacing, found.warnings) == ("flair", (2.0, 0.9, 0.9), ())


def test_a_store_split_by_slice_gives_each_part_its_slices_and_a_warning(cohort, tmp_path, quiet):
    store = prepare(
        cohort, tmp_path / "store", split="slice", image_size=SIZE, validation=0.3, test=0.3, min_brain=0.05
    )
    found = split_cohort(cohort, tmp_path / "store")
    assert "optimistic" in found.warnings[0]
    for stored in store.patients:
        for part in ("train", "validation", "test"):
            expected = [
                number for number, where in zip(stored.numbers, stored.parts, strict=True) if where == part
            ]
            mine = [member.slices for member in found.part(part) if member.name == stored.name]
            assert mine == ([tuple(expected)] if expected else [])


def test_two_patients_of_one_name_are_told_apart_by_their_paths(cohort):
    shutil.copytree(cohort / "Mets_001", cohort / "more" / "Mets_001")
    assert {"Mets_001", "more/Mets_001"} <= set(names(split_cohort(cohort), "test"))


def test_one_patient_is_a_cohort(untouched):
    assert names(split_cohort(untouched / "Mets_002"), "test") == ["Mets_002"]
    assert len(split_cohort(untouched / "Mets_002" / "flair.nii.gz").members) == 1


def test_no_patients_and_bad_splits_are_said(cohort, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PatientError, match="no patients"):
        split_cohort(tmp_path / "empty")
    with pytest.raises(PatientError, match="no such folder"):
        split_cohort(tmp_path / "nowhere")
    bad = tmp_path / "bad.json"
    bad.write_text('{"train": ["Mets_001"], "test": ["Mets_001"]}')
    with pytest.raises(StoreError, match="Mets_001"):
        split_cohort(cohort, bad)
