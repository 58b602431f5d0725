import numpy as np
import pytest
import torch

import napari_cead as cead
from napari_cead.detection.reconstruct import GROUP
from napari_cead.errors import Cancelled, ParameterError
from napari_cead.patients import Patient
from napari_cead.slices import slice_stack
from scans import make_brain


@pytest.fixture
def patient():
    volume, lesion = make_brain(shape=(40, 60, 50))
    return Patient.from_arrays({"flair": volume}, lesion_mask=lesion, spacing=(1.5, 0.94, 0.94))


@pytest.fixture
def detector(model_folder):
    return cead.load_model(model_folder, device="cpu")


def test_detect_equals_a_plain_loop_over_slices(patient, detector):
    result = cead.detect(patient, detector, score="residual")
    stack = slice_stack(patient)
    residual = np.zeros_like(stack.images)
    with torch.no_grad():
        for z, image in enumerate(stack.images):
            made = detector.module(torch.from_numpy(image)[None, None]).reconstruction[0, 0].numpy()
            residual[z] = np.clip(np.abs(image - made), 0, 1)
    expected = stack.geometry.to_patient(residual) * stack.brain
    np.testing.assert_allclose(result.anomaly_map, expected, atol=1e-5)
    inside = stack.brain
    np.testing.assert_allclose(
        np.abs(result.input - result.reconstruction).clip(0, 1)[inside], result.anomaly_map[inside], atol=1e-6
    )


def test_the_result_is_on_the_patients_grid(patient, detector):
    result = cead.detect(patient, detector)
    for volume in (result.input, result.reconstruction, result.anomaly_map):
        assert volume.shape == patient.shape
        assert volume.dtype == np.float32
    assert result.mask.dtype == bool
    assert (result.anomaly_map >= 0).all()
    assert (result.anomaly_map <= 1).all()
    assert (result.anomaly_map[patient.volume() == 0] == 0).all()


def test_mask_and_dice_are_those_of_the_public_functions(patient, detector):
    params = cead.PostprocessParams(threshold=0.6, dilation_radius=0)
    result = cead.detect(patient, detector, params, "intensity")
    expected = cead.postprocess(result.anomaly_map, params, patient.spacing)
    np.testing.assert_array_equal(result.mask, expected)
    assert result.dice == cead.dice(expected, patient.lesion_mask)
    assert (result.params, result.score, result.rule) == (params, "intensity", "given")


def test_without_settings_the_model_suggests_them_and_the_rule_is_named(patient, detector):
    result = cead.detect(patient, detector)
    assert (result.score, result.rule, result.params.threshold) == ("positive-residual", "validation", 0.7)
    other = cead.detect(patient, detector, score="squared")
    assert (other.score, other.rule, other.params) == ("squared", "default", cead.PostprocessParams())


def test_without_a_lesion_mask_there_is_no_dice(patient, detector):
    assert cead.detect(patient.with_lesion_mask(None), detector).dice is None


def test_two_empty_masks_have_no_dice_either(patient, detector):
    healthy = patient.with_lesion_mask(np.zeros(patient.shape, bool))
    result = cead.detect(healthy, detector, cead.PostprocessParams(threshold=1.0))
    assert not result.mask.any()
    assert np.isnan(result.dice)


def test_progress_is_in_slices_and_ends_at_all_of_them(patient, detector):
    seen = []
    cead.detect(patient, detector, on_progress=lambda done, total: seen.append((done, total)))
    total = int((patient.volume() > 0).any(axis=(1, 2)).sum())
    assert seen == [(min(start + GROUP, total), total) for start in range(0, total, GROUP)]


def test_a_stop_ends_it_after_the_group_under_way(patient, detector):
    seen = []
    with pytest.raises(Cancelled):
        cead.detect(
            patient,
            detector,
            on_progress=lambda done, total: seen.append(done),
            should_stop=lambda: bool(seen),
        )
    assert seen == [GROUP]


def test_a_detection_twice_is_identical(patient, detector):
    one, other = cead.detect(patient, detector), cead.detect(patient, detector)
    np.testing.assert_array_equal(one.anomaly_map, other.anomaly_map)


def test_another_sequence_than_the_models_is_said(patient, detector):
    volume = patient.volume()
    result = cead.detect(Patient.from_arrays({"t1_gd": volume}), detector)
    assert any("trained on flair, this is t1_gd" in note for note in result.warnings)


def test_a_resampled_patient_comes_back_on_its_own_grid(detector):
    volume, lesion = make_brain(shape=(6, 200, 180))
    patient = Patient.from_arrays({"flair": volume}, lesion_mask=lesion, spacing=(3, 0.5, 0.5))
    result = cead.detect(patient, detector, score="intensity")
    assert result.anomaly_map.shape == (6, 200, 180)
    inside = lesion & (volume > 0)
    assert result.anomaly_map[inside].mean() == pytest.approx(result.input[inside].mean(), rel=0.05)


def test_an_unknown_score_is_an_error_before_the_run(patient, detector):
    with pytest.raises(ParameterError, match="unknown score"):
        cead.detect(patient, detector, score="loss", on_progress=lambda *_: pytest.fail("it ran"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
def test_a_gpu_gives_the_same_map(patient, model_folder):
    gpu = cead.detect(patient, cead.load_model(model_folder, device="cuda"))
    cpu = cead.detect(patient, cead.load_model(model_folder, device="cpu"))
    np.testing.assert_allclose(gpu.anomaly_map, cpu.anomaly_map, atol=1e-3)
