from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_cead as cead
from model_folders import card, network, two_heads
from napari_cead.detection import MapOptions, run, suggested
from napari_cead.detection.cache import ReconstructionCache
from napari_cead.detection.evidence import Seen, fused
from napari_cead.detection.reconstruct import GROUP
from napari_cead.errors import Cancelled, ParameterError
from napari_cead.patients import Patient
from napari_cead.slices import slice_stack
from napari_cead.slices.symmetry import midline
from napari_cead.zoo import Preprocessing, Suggestion, save_model
from scans import brain_of, make_brain
from small_stores import CE_VAE, SIZE


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
    expected = cead.postprocess(result.anomaly_map, params, patient.spacing, brain_of(patient))
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
    with pytest.raises(ParameterError, match="no anomaly score called"):
        cead.detect(patient, detector, score="loss", on_progress=lambda *_: pytest.fail("it ran"))


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A small VAE that can give every score."""
    rng = np.random.default_rng(0)
    statistics = {
        "residual_mean": torch.from_numpy(rng.random((SIZE, SIZE), dtype=np.float32) / 2),
        "residual_std": torch.from_numpy(0.1 + rng.random((SIZE, SIZE), dtype=np.float32)),
    }
    whole = card(
        "vae",
        spec=CE_VAE,
        preprocessing=Preprocessing(image_size=SIZE),
        score_scales={"residual-z": 2.0, "kl-gradient": 0.01, "combined": 0.01},
    )
    folder = tmp_path_factory.mktemp("models") / "vae"
    return cead.load_model(save_model(network(5, CE_VAE), whole, folder, statistics=statistics), "cpu")


def small_patient(spacing):
    volume, lesion = make_brain(shape=(20, 36, 34))
    return Patient.from_arrays({"flair": volume}, lesion_mask=lesion, spacing=spacing)


@pytest.mark.parametrize("name", ["residual-z", "kl-gradient", "combined"])
def test_scores_of_a_vae_equal_a_plain_loop_over_slices(vae, name):
    patient = small_patient((1.0, 0.94, 0.94))
    stack = slice_stack(patient, size=SIZE)
    values = np.zeros_like(stack.images)
    for z in stack.occupied:
        x = torch.from_numpy(stack.images[z])[None, None].double().requires_grad_()
        module = network(5, CE_VAE).double().eval()
        output = module(x, sample=False)
        posterior = torch.distributions.Normal(output.mu, output.log_std.exp())
        torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum().backward()
        residual = (x - output.reconstruction).abs()[0, 0].detach().numpy()
        gradient = x.grad.abs()[0, 0].numpy()
        mean, std = (vae.statistics[f"residual_{moment}"].numpy() for moment in ("mean", "std"))
        values[z] = {
            "residual-z": (residual - mean) / std / 2.0,
            "kl-gradient": gradient / 0.01,
            "combined": residual * gradient / 0.01,
        }[name].clip(0, 1)
    expected = stack.geometry.to_patient(values) * stack.brain
    found = cead.detect(patient, vae, score=name)
    assert 0.01 < expected[stack.brain].mean() < 0.99  # neither empty nor clipped away
    np.testing.assert_allclose(found.anomaly_map, expected, atol=1e-4)


@pytest.mark.parametrize("spacing", [(1.0, 0.94, 0.94), (1.0, 0.7, 1.1)])  # a crop, and a resampled patient
@pytest.mark.parametrize("options", [MapOptions(), MapOptions(smoothing_mm=1.2, erosion_radius=2)])
def test_slices_alone_are_those_of_the_whole_map(vae, spacing, options):
    made = run(small_patient(spacing), vae, score=["combined", "residual-z"])
    assert made.stack.geometry.resampled == (spacing[1] != 0.94)
    for indices in ([7], [12, 3, 4], [0, 19], range(20)):
        chosen = np.array(indices)
        for score in ("residual", "combined", "residual-z", "intensity"):
            found = made.anomaly_slices(score, chosen, options)
            np.testing.assert_array_equal(found, made.anomaly_map(score, options)[chosen])
        np.testing.assert_array_equal(made.volume_slices(chosen), made.volume()[chosen])


def test_slices_arrive_while_it_runs_and_can_be_shown(vae):
    patient, shown, seen = small_patient((1.0, 0.94, 0.94)), np.zeros((20, 36, 34), np.float32), []

    def arrived(made, indices):
        seen.append(made)
        shown[indices] = made.anomaly_slices("combined", indices)

    made = run(patient, vae, score="combined", first=12, batch_size=4, on_slices=arrived)
    np.testing.assert_array_equal(shown, made.anomaly_map("combined"))
    assert len(seen) == -(-len(made.stack.occupied) // 4)
    assert all(one is made for one in seen)
    assert (made.batch_size, made.from_cache, made.model_folder) == (4, False, vae.folder)


def test_options_change_the_map_and_so_the_mask(vae):
    patient = small_patient((1.0, 0.94, 0.94))
    options = MapOptions(smoothing_mm=2.0, erosion_radius=3)
    params = cead.PostprocessParams(threshold=0.6)
    result = cead.detect(patient, vae, params, "intensity", options=options, batch_size=5)
    raw = cead.detect(patient, vae, params, "intensity")
    expected = options.apply(raw.anomaly_map, slice_stack(patient, size=SIZE).brain, patient.spacing)
    np.testing.assert_array_equal(result.anomaly_map, expected)
    np.testing.assert_array_equal(
        result.mask, cead.postprocess(expected, params, patient.spacing, brain_of(patient))
    )
    assert (result.options, result.batch_size) == (options, 5)
    assert (raw.options, raw.batch_size) == (MapOptions(), GROUP)
    assert (result.anomaly_map != raw.anomaly_map).any()


@pytest.mark.parametrize("score", ["kl-gradient", "combined", "residual-z"])
def test_a_score_that_the_model_cannot_give_is_an_error_before_the_run(patient, detector, score):
    for ask in (
        lambda: cead.detect(patient, detector, score=score, on_progress=lambda *_: pytest.fail("it ran")),
        lambda: run(patient, detector, score=score, on_progress=lambda *_: pytest.fail("it ran")),
        lambda: suggested(detector.card, score),
    ):
        with pytest.raises(ParameterError, match=rf"{score} needs .*, which tiny .*; use one of residual, "):
            ask()


def test_a_map_that_needs_a_gradient_which_was_not_computed_says_so(vae):
    made = run(small_patient((1.0, 0.94, 0.94)), vae)
    assert "gradient" not in made.ingredients
    with pytest.raises(
        ParameterError, match="kl-gradient needs the KL gradient of vae, which was not computed"
    ):
        made.anomaly_map("kl-gradient")


def test_a_suggestion_that_the_model_cannot_give_is_passed_over():
    strange = card(
        suggestions=(
            Suggestion(score="residual-z", rule="validation"),
            Suggestion(score="squared", rule="validation", params={"threshold": 0.1}),
        )
    )
    assert suggested(strange)[0] == "squared"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
def test_a_gpu_gives_the_same_map(patient, model_folder):
    gpu = cead.detect(patient, cead.load_model(model_folder, device="cuda"))
    cpu = cead.detect(patient, cead.load_model(model_folder, device="cpu"))
    np.testing.assert_allclose(gpu.anomaly_map, cpu.anomaly_map, atol=1e-3)


def load_two_heads(folder):
    return cead.load_model(two_heads(folder / "two"), device="cpu")


def test_the_probability_of_a_lesion_is_that_of_the_network_alone(patient, tmp_path):
    detector = load_two_heads(tmp_path)
    result = cead.detect(patient, detector, score="lesion-probability")
    stack = slice_stack(patient, scaling="volume-tissue", size=64)
    with torch.no_grad():
        logit = detector.module(torch.from_numpy(stack.images)[:, None]).lesion_logit[:, 0]
    expected = stack.geometry.to_patient(logit.sigmoid().numpy() * (stack.images > 0)) * stack.brain
    np.testing.assert_allclose(result.anomaly_map, expected, atol=1e-5)


def test_with_the_mirror_image_the_probability_is_the_mean(patient, tmp_path):
    detector = load_two_heads(tmp_path)
    both = replace(detector, card=detector.card.model_copy(update={"mirror_average": True}))
    batch = torch.rand(3, 1, 64, 64)
    (made, lesion), (other, seen) = detector.repair(batch), detector.repair(batch.flip(-1))
    averaged = both.repair(batch)
    torch.testing.assert_close(averaged[0], (made + other.flip(-1)) / 2)
    torch.testing.assert_close(averaged[1], (lesion + seen.flip(-1)) / 2)


def test_a_fused_map_is_that_of_the_patients_own_grid(patient, tmp_path):
    detector = load_two_heads(tmp_path)
    made = run(patient, detector)
    back, stack = made.stack.geometry, made.stack
    scan = Seen(
        stack.scaled,
        stack.scaled - back.to_patient(stack.images - made.slices),
        back.to_patient(made.ingredients["lesion"]),
        patient.spacing,
        midline(stack.brain),
    )
    expected = fused(scan, detector.card.tails) * stack.brain
    np.testing.assert_allclose(made.anomaly_map("fused"), expected, atol=1e-5)
    assert expected.std() > 0.01


@pytest.mark.parametrize("score", ["asymmetry", "brightness"])
def test_slices_of_a_map_through_slices_are_those_of_the_whole(patient, tmp_path, score):
    made = run(patient, load_two_heads(tmp_path))
    whole = made.anomaly_map(score)
    for chosen in ([0], [17], [5, 6, 7], [39, 12]):
        np.testing.assert_allclose(made.anomaly_slices(score, chosen), whole[chosen], atol=1e-5)


def test_slices_of_a_fused_map_are_a_preview(patient, tmp_path):
    made = run(patient, load_two_heads(tmp_path))
    whole = made.anomaly_map("fused")
    chosen = [17, 18]
    preview = made.anomaly_slices("fused", chosen)
    brain = made.stack.brain[chosen]
    assert np.array_equal(preview > 0, whole[chosen] > 0)
    assert np.corrcoef(preview[brain], whole[chosen][brain])[0, 1] > 0.9
    assert made.anomaly_slices("fused", []).shape == (0, *patient.shape[1:])


def test_what_a_second_head_gave_is_kept_with_the_rest(patient, tmp_path):
    detector, cache = load_two_heads(tmp_path), ReconstructionCache()
    first, again = (run(patient, detector, cache=cache) for _ in range(2))
    assert again.from_cache
    np.testing.assert_array_equal(first.ingredients["lesion"], again.ingredients["lesion"])
    assert first.ingredients["lesion"].max() > 0
