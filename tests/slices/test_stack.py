import numpy as np
import pytest

import napari_cead as cead
from heads import add_head, make_stripped
from napari_cead.errors import PatientError
from napari_cead.patients import Patient
from napari_cead.slices import slice_stack
from scans import make_brain


def patient_of(volume, lesion=None, spacing=(1.5, 0.94, 0.94)):
    return Patient.from_arrays({"flair": volume}, lesion_mask=lesion, spacing=spacing, name="anna")


def test_the_stack_holds_every_slice_and_names_those_with_brain():
    volume, lesion = make_brain()
    stack = slice_stack(patient_of(volume, lesion))
    assert stack.images.shape == (12, 196, 196)
    assert stack.images.dtype == np.float32
    np.testing.assert_array_equal(stack.occupied, np.flatnonzero((volume > 0).any(axis=(1, 2))))
    np.testing.assert_array_equal(stack.geometry.to_patient(stack.images), stack.scaled)
    assert stack.warnings == ()


def test_specks_outside_the_brain_are_not_shown_to_the_model():
    volume, _ = make_brain()
    volume[6, 0, 0] = 500
    stack = slice_stack(patient_of(volume))
    assert stack.scaled[6, 0, 0] == 0
    assert not stack.brain[6, 0, 0]


def test_lesion_outside_the_image_is_reported():
    volume = np.zeros((2, 256, 256), np.float32)
    volume[:, 100:150, 100:150] = np.linspace(1, 2, 50)
    lesion = np.zeros(volume.shape, bool)
    lesion[0, 2, 2] = True
    stack = slice_stack(patient_of(volume, lesion), size=64)
    assert any("1 lesion voxels lie outside" in note for note in stack.warnings)


def test_resampling_is_reported():
    volume, _ = make_brain()
    assert "resampled" in slice_stack(patient_of(volume, spacing=(1, 2, 2))).warnings[0]


def test_no_positive_intensity_names_the_patient():
    volume, _ = make_brain()
    with pytest.raises(PatientError, match="anna"):
        slice_stack(patient_of(-volume))


def test_the_real_mask_survives_the_way_to_the_model_and_back(real_data):
    patient = cead.load_patient(real_data / "patient26", only=True)
    stack = slice_stack(patient)
    there = stack.geometry.labels_to_model(patient.lesion_mask)
    np.testing.assert_array_equal(stack.geometry.labels_to_patient(there), patient.lesion_mask)
    assert len(stack.occupied) == 121


def test_a_constant_brain_is_an_error():
    volume = np.where(make_brain()[0] > 0, 7, 0)
    with pytest.raises(PatientError, match=r"same intensity \(7\) everywhere"):
        slice_stack(patient_of(volume))


def test_what_is_larger_than_the_image_is_the_brain_or_the_head():
    brain = make_stripped()
    for volume, what in ((brain, "brain"), (add_head(brain), "head")):
        stack = slice_stack(patient_of(volume), size=32)
        assert any(note.startswith(f"the {what} is larger than the model's image") for note in stack.warnings)


def test_a_background_of_noise_is_said():
    volume, _ = make_brain()
    noise = np.random.default_rng(0).uniform(1, 5, volume.shape)
    stack = slice_stack(patient_of(np.where(volume == 0, noise, volume)))
    assert any("skull-stripped" in note for note in stack.warnings)


def test_a_brain_of_z_scores_is_said():
    volume, _ = make_brain()
    brain = volume != 0
    scores = np.where(brain, (volume - volume[brain].mean()) / volume[brain].std(), 0)
    share = (scores[brain] < 0).mean()
    said = f"{share:.0%} of the brain's values are negative and count as 0"
    assert any(note.startswith(said) for note in slice_stack(patient_of(scores)).warnings)
    slightly = np.where(brain & (np.random.default_rng(0).random(volume.shape) < 0.005), -1, volume)
    assert slice_stack(patient_of(slightly)).warnings == ()
