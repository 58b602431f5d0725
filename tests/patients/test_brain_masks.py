import numpy as np
import pytest
from PIL import Image

from napari_cead.errors import CeadWarning, MaskError, PatientError
from napari_cead.patients import BRAIN_MASK, Patient, load_patient, within_brain
from scans import make_brain, write_nifti

AFFINE = np.diag([0.9, 0.95, 1.5, 1])
FAR = AFFINE + np.array([[0, 0, 0, 900]] + [[0] * 4] * 3)


@pytest.fixture
def head(tmp_path):
    """A scan with noise everywhere, its brain, and the brain's mask on disk (RAS)."""
    volume, _ = make_brain()
    noisy = (volume + 20).astype(np.float32)
    write_nifti(tmp_path / "flair.nii.gz", np.transpose(noisy, (2, 1, 0))[::-1, ::-1], AFFINE)
    brain = volume != 0
    write_nifti(tmp_path / "bm.nii.gz", np.transpose(brain, (2, 1, 0))[::-1, ::-1].astype(np.uint8), AFFINE)
    return tmp_path, noisy, brain


def test_outside_the_mask_nothing_is_left(head):
    folder, noisy, brain = head
    patient = load_patient(folder / "flair.nii.gz", brain_mask=folder / "bm.nii.gz")
    np.testing.assert_array_equal(patient.volume(), np.where(brain, noisy, 0))
    assert patient.files[BRAIN_MASK] == folder / "bm.nii.gz"
    again = within_brain(load_patient(folder / "flair.nii.gz"), brain)
    np.testing.assert_array_equal(again.volume(), patient.volume())


def test_a_mask_on_another_grid_is_brought_over_and_said(head):
    folder, _, brain = head
    fine = np.repeat(np.transpose(brain, (2, 1, 0))[::-1, ::-1], 2, axis=0).astype(np.uint8)
    affine = np.diag([0.45, 0.95, 1.5, 1])
    affine[0, 3] = -0.225  # the first half voxel begins where the whole one does
    write_nifti(folder / "fine.nii.gz", fine, affine)
    with pytest.warns(CeadWarning, match="another grid, resampled"):
        patient = load_patient(folder / "flair.nii.gz", brain_mask=folder / "fine.nii.gz")
    np.testing.assert_array_equal(patient.volume() != 0, brain)


@pytest.mark.parametrize(
    ("data", "affine", "sentence"),
    [
        (np.zeros((50, 60, 12), np.uint8), AFFINE, "the brain mask is empty"),
        (np.linspace(0, 1, 36000).reshape(50, 60, 12), AFFINE, "this is an image, not a mask"),
        (np.ones((4, 4, 4), np.uint8), FAR, "lies outside"),
    ],
)
def test_masks_that_cannot_be_used(head, data, affine, sentence):
    folder, _, _ = head
    write_nifti(folder / "other.nii.gz", data, affine)
    with pytest.raises(MaskError, match=sentence) as caught:
        load_patient(folder / "flair.nii.gz", brain_mask=folder / "other.nii.gz")
    assert "\n" not in str(caught.value)
    assert "other.nii.gz" in str(caught.value)


def test_arrays_of_another_shape_and_empty_ones():
    patient = Patient.from_arrays({"flair": make_brain()[0]})
    with pytest.raises(MaskError, match=r"shape \(2, 3, 4\), the scan \(12, 60, 50\)"):
        within_brain(patient, np.ones((2, 3, 4), bool))
    with pytest.raises(MaskError, match="is empty"):
        within_brain(patient, np.zeros(patient.shape, bool))
    corner = np.zeros(patient.shape, bool)
    corner[0, 0, 0] = True
    with pytest.raises(PatientError, match="0 everywhere inside the brain mask"):
        within_brain(patient, corner)
    with pytest.raises(MaskError, match="no such file"):
        within_brain(patient, "nowhere.nii.gz")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_picture_has_the_side_of_its_scan(tmp_path, side, quiet):
    rng = np.random.default_rng(0)
    picture = rng.integers(1, 255, (20, 30)).astype(np.uint8)
    mask = np.zeros_like(picture)
    mask[:, :7] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    patient = load_patient(tmp_path / "a.png", brain_mask=tmp_path / "m.png", png_first_column=side)
    shown = patient.volume()[0] if side == "right" else patient.volume()[0, :, ::-1]
    np.testing.assert_array_equal(shown, np.where(mask > 0, picture, 0))
