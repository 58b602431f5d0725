import numpy as np
import pytest
from PIL import Image

from heads import make_stripped
from napari_cead.errors import PatientError
from napari_cead.patients import Patient, load_patient
from napari_cead.store.scans import ScanSource, find_scans, save_scan


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def found(root, sequence="flair"):
    """Name, scan, lesion mask and brain mask of every scan, as text below the root."""

    def place(path):
        return None if path is None else path.relative_to(root).as_posix()

    return {
        source.name: (place(source.scan), place(source.lesion_mask), place(source.brain_mask))
        for source in find_scans(root, sequence)
    }


def test_a_flat_folder_with_masks_beside(tmp_path):
    touch(
        tmp_path,
        "a_flair.nii.gz",
        "a_brain_mask.nii.gz",
        "b_flair.nii",
        "b_seg.nii",
        "b_T1.nii",
        ".c_flair.nii",
    )
    touch(tmp_path, "d_FLAIR.nii.gz", "d_FLAIR_lesion_mask.nii.gz", "d_FLAIR_brainmask.nii.gz", "notes.txt")
    assert found(tmp_path) == {
        "a": ("a_flair.nii.gz", None, "a_brain_mask.nii.gz"),
        "b": ("b_flair.nii", "b_seg.nii", None),
        "d": ("d_FLAIR.nii.gz", "d_FLAIR_lesion_mask.nii.gz", "d_FLAIR_brainmask.nii.gz"),
    }


def test_of_several_scans_and_masks_of_a_patient_the_plainest_is_listed(tmp_path):
    touch(
        tmp_path, *(f"a_{name}.nii.gz" for name in ("FLAIR", "FLAIR_bias", "FLAIR_gd", "mask1", "consensus"))
    )
    touch(
        tmp_path,
        *(f"b_{name}.nii.gz" for name in ("FLAIR", "tumor_segmentation", "wm_mask", "T1_brain_mask")),
    )
    assert found(tmp_path) == {
        "a": ("a_FLAIR.nii.gz", "a_consensus.nii.gz", None),
        "b": ("b_FLAIR.nii.gz", "b_tumor_segmentation.nii.gz", "b_T1_brain_mask.nii.gz"),
    }


def test_names_that_tell_nothing_are_taken_with_masks_in_folders(tmp_path):
    touch(
        tmp_path,
        "scans/001.nii.gz",
        "scans/002.nii.gz",
        "masks/002.nii.gz",
        "brain_masks/001_brain_mask.nii.gz",
    )
    assert found(tmp_path) == {
        "001": ("scans/001.nii.gz", None, "brain_masks/001_brain_mask.nii.gz"),
        "002": ("scans/002.nii.gz", "masks/002.nii.gz", None),
    }


def test_a_bids_tree_with_derivatives(tmp_path):
    anat = "sub-01/ses-1/anat/sub-01_ses-1"
    touch(tmp_path, f"{anat}_FLAIR.nii.gz", f"{anat}_T1w.nii.gz", f"{anat}_PDw.nii.gz")
    touch(
        tmp_path, "sub-01/ses-1/dwi/sub-01_ses-1_dwi.nii.gz", "sub-01/ses-1/func/sub-01_task-rest_bold.nii.gz"
    )
    touch(tmp_path, "sub-02/anat/sub-02_FLAIR.nii.gz", "sub-03/anat/sub-03_T1w.nii.gz")
    derived = "derivatives/prep/sub-01/ses-1/anat/sub-01_ses-1"
    touch(tmp_path, f"{derived}_desc-brain_mask.nii.gz", f"{derived}_label-lesion_roi.nii.gz")
    touch(tmp_path, f"{derived}_space-MNI_FLAIR.nii.gz", f"{derived}_space-MNI_desc-brain_mask.nii.gz")
    brain = "_desc-brain_mask.nii.gz"
    assert found(tmp_path) == {
        "sub-01_ses-1": (f"{anat}_FLAIR.nii.gz", f"{derived}_label-lesion_roi.nii.gz", f"{derived}{brain}"),
        "sub-01_ses-1_space-MNI": (f"{derived}_space-MNI_FLAIR.nii.gz", None, f"{derived}_space-MNI{brain}"),
        "sub-02": ("sub-02/anat/sub-02_FLAIR.nii.gz", None, None),
        "sub-03": ("sub-03/anat/sub-03_T1w.nii.gz", None, None),
    }
    assert {source.name: source.sequence for source in find_scans(tmp_path)}["sub-03"] == "t1_pre"


def test_patient_folders_give_one_scan_each(tmp_path):
    touch(tmp_path, *(f"train/Mets_001/{name}.nii.gz" for name in ("flair", "bravo", "t1_gd", "seg", "adc")))
    touch(tmp_path, "test/Mets_001/flair.nii", "test/Mets_002/t1_gd.nii", "test/Mets_002/mask.nii")
    assert found(tmp_path) == {
        "test/Mets_001": ("test/Mets_001/flair.nii", None, None),
        "train/Mets_001": ("train/Mets_001/flair.nii.gz", "train/Mets_001/seg.nii.gz", None),
        "Mets_002": ("test/Mets_002/t1_gd.nii", "test/Mets_002/mask.nii", None),
    }
    assert {source.name: source.sequence for source in find_scans(tmp_path)}["Mets_002"] == "t1_gd"
    assert found(tmp_path, "t1_gd")["Mets_002"] == ("test/Mets_002/t1_gd.nii", "test/Mets_002/mask.nii", None)


def test_the_png_release_and_plain_slices(tmp_path):
    picture = Image.fromarray(np.full((4, 5), 9, np.uint8))
    for name in ("p/Mets_007/3/000", "p/Mets_007/seg/000", "s/flair/x", "s/flair/y", "s/mask/y"):
        file = tmp_path / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
    assert found(tmp_path) == {
        "Mets_007": ("p/Mets_007", "p/Mets_007/seg", None),
        "x": ("s/flair/x.png", None, None),
        "y": ("s/flair/y.png", "s/mask/y.png", None),
    }
    (by_sequence,) = find_scans(
        tmp_path / "p" / "Mets_007" / "3"
    )  # the folder of one sequence is the patient
    assert (by_sequence.scan, by_sequence.sequence) == (tmp_path / "p" / "Mets_007", "flair")
    assert [source.name for source in find_scans(tmp_path / "s" / "flair")] == ["x", "y"]


def test_several_places_and_each_scan_once(tmp_path):
    touch(tmp_path, "a/one_flair.nii", "b/one_flair.nii", "c/two.nii")
    sources = find_scans(
        [tmp_path / "a", tmp_path / "b", tmp_path / "a" / "one_flair.nii", tmp_path / "c/two.nii"]
    )
    assert [source.name for source in sources] == ["a/one", "b/one", "two"]
    assert all(source.scan.is_absolute() for source in sources)
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    assert len(find_scans(tmp_path / "a")) == 1


def test_a_place_that_is_not_there(tmp_path):
    with pytest.raises(PatientError, match="no such file or folder"):
        find_scans(tmp_path / "nowhere")
    assert find_scans(tmp_path) == []


def test_a_patient_in_memory_becomes_a_scan(tmp_path, quiet):
    volume = make_stripped()
    lesion = np.zeros(volume.shape, bool)
    lesion[8, 40:44, 30:33] = True
    patient = Patient.from_arrays(
        {"flair": volume}, lesion_mask=lesion, spacing=(3, 1, 0.9), name="Müller, A/1"
    )
    first = save_scan(patient, tmp_path)
    second = save_scan(patient.with_lesion_mask(None), tmp_path, healthy=True)
    assert (first.name, second.name) == ("M-ller-A-1", "M-ller-A-1-2")
    assert second == ScanSource(second.name, second.scan, None, None, True, "flair")
    again = load_patient(first.scan, mask=first.lesion_mask)
    np.testing.assert_array_equal(again.volume(), patient.volume())
    np.testing.assert_array_equal(again.lesion_mask, lesion)
    assert again.spacing == pytest.approx((3, 1, 0.9))
    assert {source.scan: source.lesion_mask for source in find_scans(tmp_path)} == {
        first.scan: first.lesion_mask,
        second.scan: None,
    }
