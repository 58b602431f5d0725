"""What is told of a scan before anybody trusts its map; contrasts are in test_contrast_range."""

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.detection import run
from napari_cead.detection.scan_warnings import evenness_doubt
from napari_cead.patients import Patient
from napari_cead.slices import slice_stack
from napari_cead.slices import stack as stacks


def patient_with(field, shape=(20, 80, 70)):
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = z**2 + y**2 + x**2 < 0.9
    tissue = np.random.default_rng(1).normal(100, 5, shape)
    volume = np.where(inside, tissue * field(y, x), 0).astype(np.float32)
    return Patient.from_arrays({"flair": volume}, spacing=(5.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (lambda y, x: 1 + 0 * x, None),
        (lambda y, x: 1 + 0.05 * x, None),
        (lambda y, x: 1 + 0.2 * x, "the left of the brain is 2"),
        (lambda y, x: 1 - 0.2 * x, "the right of the brain is 2"),
        (lambda y, x: 1 + 0.2 * y, "the back of the brain is 2"),
        (lambda y, x: 1 - 0.2 * y + 0.1 * x, "the front of the brain is 2"),
    ],
)
def test_a_brighter_side_is_told_with_what_helps(field, said):
    doubt = evenness_doubt(slice_stack(patient_with(field)))
    if said is None:
        assert doubt is None
    else:
        assert doubt.startswith(said) and "napari_cead.correct_bias_field" in doubt


def test_a_detection_tells_it_and_the_correction_mends_it(model_folder):
    detector = cead.load_model(model_folder, "cpu")
    patient = patient_with(lambda y, x: 1 + 0.2 * x)
    assert any("brighter than the right" in text for text in cead.detect(patient, detector).warnings)
    corrected = cead.detect(cead.correct_bias_field(patient), detector).warnings
    assert not any("brighter than" in text for text in corrected)
    assert "bias field of flair taken out by N4" in corrected


def test_what_slices_tell_is_found_out_once_for_all_models(model_folder, monkeypatch):
    asked = []
    for name in ("unevenness", "contrast_figures"):
        real = getattr(stacks, name)
        monkeypatch.setattr(
            stacks, name, lambda *args, name=name, real=real: asked.append(name) or real(*args)
        )
    detector, patient = cead.load_model(model_folder, "cpu"), patient_with(lambda y, x: 1 + 0.2 * x)
    stack = slice_stack(patient)
    first, again = (run(patient, detector, stack=stack).warnings for _ in range(2))
    assert first == again and any("brighter than the right" in text for text in first)
    assert sorted(asked) == ["contrast_figures", "unevenness"]
