import numpy as np
import pytest

import napari_cead as cead
from napari_cead.contributions.layers import KEY, contrast_limits, tag_of, to_layer_data
from napari_cead.contributions.sample import sample_patient


def test_a_patient_becomes_layers_in_millimetres(patient_folder):
    patient = cead.load_patient(patient_folder)
    layers = to_layer_data(patient)
    assert [(kind, keywords["name"]) for _, keywords, kind in layers] == [
        ("image", "t1_gd"),
        ("image", "flair"),
        ("labels", "lesion mask"),
    ]
    for data, keywords, _ in layers:
        assert data.shape == patient.shape
        assert keywords["scale"] == pytest.approx((1.5, 0.95, 0.9))
        assert keywords["units"] == ("mm", "mm", "mm")
        assert keywords["metadata"][KEY].patient is patient
    assert [keywords.get("visible", True) for _, keywords, _ in layers] == [False, True, True]


def test_display_limits_leave_out_the_background():
    data = np.zeros((20, 20, 20), np.float32)
    data[5:10] = np.linspace(100, 200, 400).reshape(20, 20)
    low, high = contrast_limits(data)
    assert low == 0
    assert 190 < high <= 200


def test_a_layer_of_someone_else_has_no_tag():
    class Layer:
        metadata = {KEY: "something else"}  # noqa: RUF012

    assert tag_of(Layer()) is None


def test_the_sample_is_a_whole_patient_with_lesions():
    layers = sample_patient()
    names = [keywords["name"] for _, keywords, _ in layers]
    assert sorted(names) == ["bravo", "flair", "lesion mask", "t1_gd", "t1_pre"]
    mask = layers[-1][0]
    assert mask.shape == (150, 256, 256)
    assert 0 < mask.sum() < 0.02 * mask.size
