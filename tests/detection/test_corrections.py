import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from model_folders import one_sentence
from napari_cead.detection.corrections import Corrections, corrected, read_corrections
from napari_cead.errors import MaskError
from napari_cead.patients import Patient
from scans import make_brain, write_nifti


@pytest.fixture
def masks():
    rng = np.random.default_rng(0)
    return rng.random((4, 6, 5)) < 0.5, rng.random((4, 6, 5)) < 0.5


def test_what_was_painted_comes_back_on_the_same_mask(masks):
    automatic, painted = masks
    corrections = Corrections.between(automatic, painted)
    np.testing.assert_array_equal(corrections.apply(automatic), painted)
    for z in range(4):
        np.testing.assert_array_equal(corrections.apply(automatic[z], z), painted[z])


def test_equal_masks_have_no_corrections(masks):
    assert Corrections.between(masks[0], masks[0].copy()) is None


def test_labels_say_what_was_painted_in_and_what_was_erased(masks):
    automatic, painted = masks
    labels = Corrections.between(automatic, painted).volume()
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels == 1, painted & ~automatic)
    np.testing.assert_array_equal(labels == 2, automatic & ~painted)
    again = Corrections.from_volume(labels.astype(np.float32))
    np.testing.assert_array_equal(again.apply(automatic), painted)


@pytest.mark.parametrize("value", [3, -1, 0.5, np.nan])
def test_other_labels_are_refused(value):
    labels = np.zeros((2, 3, 4), np.float32)
    labels[1, 1, 1] = value
    with pytest.raises(MaskError) as error:
        Corrections.from_volume(labels)
    assert "0, 1 and 2" in one_sentence(error)


@pytest.mark.parametrize("axcodes", ["RAS", "LPI", "SAL"])
def test_a_saved_correction_lands_on_the_same_voxels_whatever_the_axes(tmp_path, axcodes):
    volume, _ = make_brain()
    grid = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axcodes)
    )
    image = nib.Nifti1Image(np.transpose(volume, (2, 1, 0)), np.diag([0.9, 0.95, 1.5, 1]))
    nib.save(image.as_reoriented(grid), tmp_path / "flair.nii.gz")
    patient = cead.load_patient(tmp_path / "flair.nii.gz")
    labels = np.zeros(patient.shape, np.uint8)
    labels[3, 10, 20], labels[5, 30, 7] = 1, 2
    path = cead.save_volume(labels, patient, tmp_path / "corrections.nii.gz")
    np.testing.assert_array_equal(read_corrections(path, patient).volume(), labels)


def test_files_that_do_not_fit_are_one_sentence(patient_folder, tmp_path):
    patient = cead.load_patient(patient_folder)
    here = np.asarray(nib.load(patient_folder / "flair.nii.gz").dataobj).shape
    affine = patient.grid.affine
    (tmp_path / "broken.nii.gz").write_bytes(b"broken")
    cases = {
        "missing": (tmp_path / "missing.nii.gz", "no such file"),
        "broken": (tmp_path / "broken.nii.gz", "cannot be read"),
        "shape": (write_nifti(tmp_path / "a.nii.gz", np.zeros((4, 4, 4), np.uint8), affine), "grid"),
        "moved": (write_nifti(tmp_path / "b.nii.gz", np.zeros(here, np.uint8), affine + 0.5), "grid"),
        "values": (write_nifti(tmp_path / "c.nii.gz", np.full(here, 7, np.uint8), affine), "0, 1 and 2"),
    }
    for what, (path, words) in cases.items():
        with pytest.raises(MaskError, match=words) as error:
            read_corrections(path, patient)
        assert path.name in one_sentence(error), what


def test_a_corrected_detection_has_the_dice_of_its_mask(model_folder):
    volume, lesion = make_brain()
    patient = Patient.from_arrays({"flair": volume}, lesion_mask=lesion)
    result = cead.detect(patient, cead.load_model(model_folder, device="cpu"))
    better = corrected(result, Corrections.between(result.mask, lesion))
    assert better.dice == 1.0
    np.testing.assert_array_equal(better.mask, lesion)
    assert result.dice != 1.0
