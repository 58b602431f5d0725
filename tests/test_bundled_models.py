"""The models that come with the program."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_cead as cead
from napari_cead import resources
from napari_cead.detection import run
from napari_cead.exploring import DEFAULT_MODEL
from napari_cead.models import build, parameter_count
from napari_cead.models.specs import MODEL_NAMES
from napari_cead.zoo import check_model, find_models, load_card

FOLDERS = sorted((resources.sample_data() / "models").iterdir())
BUNDLED = [folder for folder in FOLDERS if folder.name in MODEL_NAMES]


def test_all_eight_designs_are_bundled():
    assert {folder.name for folder in BUNDLED} == set(MODEL_NAMES)


def test_the_default_model_is_bundled():
    assert DEFAULT_MODEL in {folder.name for folder in FOLDERS}


def test_every_model_beside_them_is_whole_calibrated_and_small():
    for folder in FOLDERS:
        card = check_model(folder)
        assert sum(file.stat().st_size for file in folder.iterdir()) <= 8_000_000
        assert card.suggestions and "calibration" in card.training


@pytest.mark.parametrize("folder", BUNDLED, ids=lambda folder: folder.name)
def test_a_bundled_model_is_small_whole_and_says_how_it_was_made(folder):
    card = load_card(folder)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 5_000_000
    assert card.spec.size == "small"
    assert card.preprocessing.image_size == 196
    training = card.training
    assert training["patients"] >= 60 and training["validation_patients"] >= 10
    assert {"seed", "data_fingerprint", "best_epoch", "calibration"} <= set(training)
    curve = training["curve"]["validation_loss"]
    assert len(curve) == training["epochs"]
    assert min(curve) < 0.6 * curve[0]  # it has learned since its first pass,
    assert min(curve) > 0.97 * curve[-3]  # and the loss has flattened
    # Trained on lesion-free slices alone: no lesion chose its threshold.
    assert {suggestion.rule for suggestion in card.suggestions} == {"healthy-quantile"}
    detector = cead.load_model(folder.name, device="cpu")
    assert find_models()[folder.name] == folder
    assert parameter_count(detector.module) == card.parameters <= 2_400_000
    assert detector.module.training is False


@pytest.mark.parametrize(("model", "likeness"), [(DEFAULT_MODEL, 0.9), ("ce-vae1", 0.45)])
def test_a_model_has_learned_what_a_healthy_slice_looks_like(model, likeness):
    patient = cead.load_patient(resources.sample_patient(), only=True)
    result = cead.detect(patient, cead.load_model(model, device="cpu"))
    healthy = (result.input > 0) & ~patient.lesion_mask
    image, made = result.input[healthy], result.reconstruction[healthy]
    own = np.corrcoef(image, made)[0, 1]
    assert own > likeness
    # Of this slice, and not of a brain in general: the reconstruction 10 slices away is less like it.
    beside = np.roll(result.reconstruction, 10, axis=0)
    both = healthy & (beside > 0)
    assert own > np.corrcoef(result.input[both], beside[both])[0, 1] + 0.2
    assert np.sqrt(np.mean((image - made) ** 2)) < np.std(image)
    # Lesions are reconstructed worse than the rest: the idea of the whole program.
    assert result.anomaly_map[patient.lesion_mask].mean() > 2 * result.anomaly_map[healthy].mean()


def test_the_default_model_gives_the_maps_of_a_plain_loop():
    """The network as PyTorch builds it, one slice at a time, with nothing settled, joined or laid out anew."""
    whole = cead.load_patient(resources.sample_patient(), only=True)
    patient = cead.Patient.from_arrays({"flair": whole.volume()[60:84]}, spacing=whole.spacing)
    detector = cead.load_model(DEFAULT_MODEL, device="cpu")
    made = run(patient, detector, score="fused")
    network = build(detector.card.spec).eval()
    network.load_state_dict(detector.module.state_dict())
    slices, lesion = (np.zeros_like(made.slices) for _ in range(2))
    with torch.no_grad():
        for z, image in enumerate(made.stack.images):
            output = network(torch.from_numpy(image)[None, None])
            slices[z] = output.reconstruction[0, 0].numpy() * (image != 0)
            lesion[z] = output.lesion_logit.sigmoid()[0, 0].numpy() * (image != 0)
    plain = replace(made, slices=slices, ingredients={"lesion": lesion})
    for score in ("residual", "lesion-probability", "fused"):
        expected = plain.anomaly_map(score)
        assert expected.max() > 0.1
        np.testing.assert_allclose(made.anomaly_map(score), expected, atol=1e-4)
