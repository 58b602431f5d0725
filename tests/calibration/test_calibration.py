from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import napari_cead as cead
from model_folders import ensemble_of, network, two_heads
from napari_cead.calibration import calibration
from napari_cead.calibration.rules import QUANTILE
from napari_cead.calibration.statistics import MIN_STD, SMOOTHING
from napari_cead.detection import SCORES, anomaly_score, available_scores
from napari_cead.detection.evidence import KINDS, SHARES, Seen
from napari_cead.detection.scores import Evidence
from napari_cead.errors import Cancelled
from napari_cead.evaluation import calibrate
from napari_cead.patients.brain import brain_mask
from napari_cead.slices.symmetry import midline
from napari_cead.training import prepare
from napari_cead.zoo import ModelCard, Preprocessing, save_model
from small_stores import CE_VAE, SIZE

BRIGHT = ["smoothed-residual", "residual-times-intensity", "smoothed-times-intensity"]

ALL_OF_AE = [
    "positive-residual",
    "residual",
    "squared",
    "median-residual",
    *BRIGHT,
    "residual-z",
    "intensity",
]
"""Scores of an autoencoder in the order of the suggestions by rule `healthy-quantile`."""


@pytest.fixture(scope="module")
def store(untouched, split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores") / "store"
    return prepare(untouched, folder, split=split, image_size=SIZE, min_brain=0.05)


@pytest.fixture(scope="module")
def detector(model):
    return cead.load_model(model, device="cpu")


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    card = ModelCard(name="vae", spec=CE_VAE, preprocessing=Preprocessing(image_size=SIZE))
    return cead.load_model(
        save_model(network(2, CE_VAE), card, tmp_path_factory.mktemp("vae") / "vae"), "cpu"
    )


@pytest.fixture(scope="module")
def found(store, detector):
    return calibrate(detector, store)


def healthy(store, detector):
    """Healthy validation slices and their reconstructions, one at a time."""
    images = store.healthy_slices("validation").astype(np.float32) / 255
    made = [detector.reconstruct(torch.from_numpy(image)[None, None])[0, 0].numpy() for image in images]
    return images, np.stack(made)


def dice_patient(store, detector, score, params):
    values = []
    for name in ("Mets_002", "Mets_003"):
        found = store.slices(name)
        images = found.images.astype(np.float32) / 255
        made = detector.reconstruct(torch.from_numpy(images)[:, None])[:, 0].numpy()
        anomaly_map = anomaly_score(score, images, made) * (images > 0)
        mask = cead.postprocess(anomaly_map, params, found.patient.spacing, brain_mask(found.images))
        values.append(cead.dice(mask, found.masks))
    return np.mean(values)


def healthy_threshold(found, score):
    (params,) = (
        item.params for item in found.suggestions if (item.rule, item.score) == ("healthy-quantile", score)
    )
    return params["threshold"]


def test_suggestions_are_ordered_and_the_dice_is_theirs(store, detector, found):
    validated, rest = found.suggestions[:2], found.suggestions[2:]
    assert {item.score for item in validated} == {"residual", "positive-residual"}
    assert [item.rule for item in found.suggestions] == ["validation"] * 2 + ["healthy-quantile"] * len(
        ALL_OF_AE
    )
    assert [item.score for item in rest] == ALL_OF_AE
    dice = found.figures["validation_dice_patient"]
    assert dice[validated[0].score] >= dice[validated[1].score]
    for item in validated:
        params = cead.PostprocessParams(**item.params)
        expected = dice_patient(store, detector, item.score, params)
        assert dice[item.score] == pytest.approx(expected, abs=1e-9)
    assert dice[validated[0].score] > 0


def test_the_healthy_threshold_is_the_quantile_of_healthy_validation_slices(store, detector, found):
    images, made = healthy(store, detector)
    expected = {"residual": np.abs(images - made), "squared": (images - made) ** 2, "intensity": images}
    for score, values in expected.items():
        threshold = healthy_threshold(found, score)
        assert threshold < 1
        assert (values[images > 0] > threshold).mean() <= 1 - QUANTILE
        assert (values[images > 0] > threshold - 2 / 1024).mean() > 1 - QUANTILE


def test_statistics_are_moments_of_the_residual_over_slices_and_neighbours(store, detector, found):
    images, made = healthy(store, detector)
    brain = images > 0
    residual = np.where(brain, np.abs(images - made), 0)
    count, first, second = (
        ndimage.gaussian_filter(plane.astype(float), SMOOTHING, mode="constant")
        for plane in (brain.sum(0), residual.sum(0), (residual.astype(float) ** 2).sum(0))
    )
    known = count >= 1
    mean = first[known] / count[known]
    std = np.maximum(np.sqrt(np.maximum(second[known] / count[known] - mean**2, 0)), MIN_STD)
    assert sorted(found.statistics) == ["residual_mean", "residual_std"]
    for values in found.statistics.values():
        assert (values.dtype, tuple(values.shape)) == (torch.float32, (SIZE, SIZE))
    np.testing.assert_allclose(found.statistics["residual_mean"].numpy()[known], mean, atol=1e-5)
    np.testing.assert_allclose(found.statistics["residual_std"].numpy()[known], std, atol=1e-4)
    assert found.statistics["residual_mean"].numpy()[~known] == pytest.approx(
        residual[brain].mean(), abs=1e-5
    )


def test_image_quality_is_the_mean_over_healthy_validation_slices(store, detector, found):
    figures = found.figures
    images, made = healthy(store, detector)
    pairs = [(image.astype(float), other.astype(float)) for image, other in zip(images, made, strict=True)]
    psnr = np.mean([peak_signal_noise_ratio(*pair, data_range=1.0) for pair in pairs])
    ssim = np.mean([structural_similarity(*pair, data_range=1.0) for pair in pairs])
    assert figures["healthy_slices"] == len(images)
    assert figures["healthy_psnr"] == pytest.approx(psnr, abs=1e-4)
    assert figures["healthy_ssim"] == pytest.approx(ssim, abs=1e-5)
    assert figures["grid"] == "model"
    assert (figures["validation_patients"], figures["validation_lesion_patients"]) == (2, 2)


def test_without_lesions_the_healthy_rule_gives_the_default(cohort, split, tmp_path, detector, quiet):
    for name in ("Mets_002", "Mets_003"):
        flair = cead.load_patient(cohort / name)
        cead.save_volume(np.zeros(flair.shape, np.uint8), flair, cohort / name / "seg.nii.gz")
    store = prepare(cohort, tmp_path / "store", split=split, image_size=SIZE, min_brain=0.05)
    found = calibrate(detector, store)
    assert [(item.rule, item.score) for item in found.suggestions] == [
        ("healthy-quantile", score) for score in ALL_OF_AE
    ]
    assert found.figures["validation_dice_patient"] == {}


def test_without_validation_patients_there_is_nothing_to_suggest(store, detector):
    patients = [replace(patient, parts=("train",) * len(patient.parts)) for patient in store.patients]
    found = calibrate(detector, replace(store, patients=tuple(patients)))
    assert (found.suggestions, dict(found.statistics), dict(found.score_scales)) == ((), {}, {})
    assert found.figures["healthy_psnr"] is None


def test_test_patients_have_no_say(store, detector, found):
    fewer = [patient for patient in store.patients if "test" not in patient.parts]
    assert len(fewer) < len(store.patients)
    other = calibrate(detector, replace(store, patients=tuple(fewer)))
    assert (other.suggestions, other.figures) == (found.suggestions, found.figures)


def test_a_model_can_be_saved_with_its_calibration(detector, found, tmp_path):
    card = ModelCard(
        **{
            **detector.card.model_dump(exclude={"suggestions", "training"}),
            "suggestions": found.suggestions,
            "training": {"calibration": found.figures},
        }
    )
    folder = save_model(detector.module, card, tmp_path / "done", statistics=found.statistics)
    loaded = cead.load_model(folder, device="cpu")
    assert loaded.card.suggestions == found.suggestions
    assert loaded.card.training["calibration"] == found.figures
    torch.testing.assert_close(loaded.statistics["residual_std"], found.statistics["residual_std"])


def raw_scores(store, detector, statistics):
    """Raw scores of healthy validation slices that need scaling, one slice at a time, over brain pixels."""
    images, made = healthy(store, detector)
    mean, std = (statistics[f"residual_{moment}"].numpy() for moment in ("mean", "std"))
    residual = np.abs(images - made)
    (spacing,) = {patient.spacing[1:] for patient in store.patients_of("validation")}
    values = {
        name: np.stack(
            [
                SCORES.find(name).compute(Evidence(*pair, spacing=spacing))
                for pair in zip(images, made, strict=True)
            ]
        )
        for name in BRIGHT
    }
    values["residual-z"] = np.maximum((residual - mean) / std, 0)
    if detector.card.spec.family == "vae":
        slopes = [detector.kl_gradient(torch.from_numpy(image)[None, None])[0, 0].numpy() for image in images]
        values["kl-gradient"] = np.stack(slopes)
        values["combined"] = residual * np.stack(slopes)
    return {name: raw[images > 0] for name, raw in values.items()}


@pytest.mark.parametrize("family", ["ae", "vae"])
def test_scores_that_need_a_scale_get_their_headroom_above_the_healthy_quantile(
    store, detector, vae, monkeypatch, family
):
    monkeypatch.setattr(calibration, "_SAMPLE", 1)
    model = detector if family == "ae" else vae
    found = calibrate(model, store)
    raw = raw_scores(store, model, found.statistics)
    assert list(found.score_scales) == list(raw)
    for name, values in raw.items():
        scale = found.score_scales[name]
        assert scale == pytest.approx((10 if name in BRIGHT else 4) * np.quantile(values, QUANTILE), rel=1e-3)
        # The rule's threshold lets the same share of healthy voxels through as for any other score.
        threshold = healthy_threshold(found, name)
        assert (values / scale > threshold).mean() <= 1 - QUANTILE
        assert (values / scale > threshold - 2 / 1024).mean() > 1 - QUANTILE


def test_a_sample_of_the_pixels_gives_nearly_the_same_scales(store, vae, monkeypatch):
    sampled = calibrate(vae, store).score_scales
    monkeypatch.setattr(calibration, "_SAMPLE", 1)
    for name, scale in calibrate(vae, store).score_scales.items():
        assert sampled[name] == pytest.approx(scale, rel=0.4)  # of a few hundred pixels


OWN = tuple(
    name
    for name in SCORES.names
    if name not in ("bright-and-changed", "fused", "brightness", "asymmetry", "lesion-probability")
)  # of scans that are scaled by their tissue, and of a second head


def test_a_calibrated_vae_can_give_every_score(store, vae, untouched, tmp_path):
    assert available_scores(vae.card) == (
        "residual",
        "positive-residual",
        "squared",
        "median-residual",
        "intensity",
    )
    found = calibrate(vae, store)
    assert {item.score for item in found.suggestions} == set(OWN)
    update = {"score_scales": dict(found.score_scales), "suggestions": found.suggestions}
    folder = save_model(
        vae.module, vae.card.model_copy(update=update), tmp_path / "done", statistics=found.statistics
    )
    loaded = cead.load_model(folder, device="cpu")
    assert available_scores(loaded.card) == OWN
    patient = cead.load_patient(untouched / "Mets_003")
    lower = slice(0, patient.shape[0] // 2)
    for name in ("residual-z", "kl-gradient", "combined"):
        result = cead.detect(patient, loaded, score=name)
        assert (result.score, result.rule) == (name, "healthy-quantile")
        # Few healthy voxels are above the threshold, and the rest is not all 0.
        values = result.anomaly_map[lower][patient.volume()[lower] > 0]
        assert (values > result.params.threshold).mean() < 0.05
        assert values.any()


@pytest.fixture
def denoiser(denoiser_folder):
    return cead.load_model(denoiser_folder, "cpu")


def test_a_denoiser_is_searched_for_the_scores_of_bright_lesions(store, denoiser):
    seen = []
    found = calibrate(denoiser, store, on_progress=lambda *step: seen.append(step))
    searched = ["positive-residual", *BRIGHT]
    assert seen == [(done, 12) for done in range(1, 13)]  # two passes and four searches of two patients
    validated, rest = found.suggestions[:4], found.suggestions[4:]
    assert {item.score for item in validated} == set(searched)
    assert {item.rule for item in validated} == {"validation"}
    assert rest[0].score == "smoothed-times-intensity" and rest[0].rule == "healthy-quantile"
    dice = found.figures["validation_dice_patient"]
    assert [dice[item.score] for item in validated] == sorted(dice.values(), reverse=True)
    for item in validated:
        values = []
        for name in ("Mets_002", "Mets_003"):
            stored = store.slices(name)
            images = stored.images.astype(np.float32) / 255
            made = denoiser.reconstruct(torch.from_numpy(images)[:, None])[:, 0].numpy()
            spacing = stored.patient.spacing
            scored = anomaly_score(item.score, images, made, found.score_scales, spacing=spacing[1:])
            params, brain = cead.PostprocessParams(**item.params), brain_mask(stored.images)
            mask = cead.postprocess(scored * (images > 0), params, spacing, brain)
            values.append(cead.dice(mask, stored.masks))
        assert dice[item.score] == pytest.approx(np.mean(values), abs=1e-9)


def test_a_denoiser_lets_less_of_a_healthy_brain_through(store, detector, denoiser):
    found = calibrate(denoiser, store)
    images, made = healthy(store, denoiser)
    for score, values in {"residual": np.abs(images - made), "intensity": images}.items():
        threshold = healthy_threshold(found, score)
        assert (values[images > 0] > threshold).mean() <= 0.003
        assert (values[images > 0] > threshold - 2 / 1024).mean() > 0.003
    assert found.figures["healthy_quantile"] == 0.997
    assert calibrate(detector, store).figures["healthy_quantile"] == 0.99


def test_a_denoiser_detects_with_the_mean_of_both_sides(store, denoiser, untouched):
    batch = torch.rand(3, 1, SIZE, SIZE)
    batch[:, :, :5] = 0
    one, other = (denoiser.module(x, sample=False).reconstruction for x in (batch, batch.flip(-1)))
    expected = (one + other.flip(-1)) / 2
    expected[:, :, :5] = 0  # outside the brain it was taught nothing
    torch.testing.assert_close(denoiser.reconstruct(batch), expected)
    result = cead.detect(cead.load_patient(untouched / "Mets_002"), denoiser)
    assert result.preparation["mirror_average"] is True


@pytest.fixture(scope="module", params=[2, 3])
def ensemble(request, detector, tmp_path_factory):
    """The fixture's model beside worse ones; returns the members, too."""
    root, members = tmp_path_factory.mktemp("ensemble"), [detector]
    for seed in range(1, request.param):
        torch.manual_seed(seed)
        module = deepcopy(detector.module)
        with torch.no_grad():
            for weights in module.parameters():
                weights.add_(1.0 * weights.abs().mean() * torch.randn_like(weights))
        card = detector.card.model_copy(update={"name": f"m{seed}"})
        members.append(cead.load_model(save_model(module, card, root / f"m{seed}"), "cpu"))
    folder = ensemble_of(root / "ours", [member.folder for member in members])
    return cead.load_model(folder, "cpu"), members


def test_what_healthy_tissue_gives_an_ensemble_is_that_of_all_members(store, ensemble):
    whole, members = ensemble
    found = calibrate(whole, store).statistics
    images = healthy(store, whole)[0]
    residual = np.concatenate([np.abs(images - healthy(store, member)[1]) for member in members])
    brain = np.concatenate([images > 0] * len(members))
    count, first, second = (
        ndimage.gaussian_filter(plane.astype(float), SMOOTHING, mode="constant")
        for plane in (brain.sum(0), (residual * brain).sum(0), (residual.astype(float) ** 2 * brain).sum(0))
    )
    known = count >= len(members)
    mean = first[known] / count[known]
    std = np.maximum(np.sqrt(np.maximum(second[known] / count[known] - mean**2, 0)), MIN_STD)
    np.testing.assert_allclose(found["residual_mean"].numpy()[known], mean, atol=1e-5)
    np.testing.assert_allclose(found["residual_std"].numpy()[known], std, atol=1e-4)


def test_scales_and_thresholds_of_an_ensemble_are_those_of_the_median_of_its_members_maps(
    store, ensemble, monkeypatch
):
    monkeypatch.setattr(calibration, "_SAMPLE", 1)
    whole, members = ensemble
    found = calibrate(whole, store)
    each = [raw_scores(store, member, found.statistics) for member in members]
    assert list(found.score_scales) == list(each[0])
    maps = {"squared": []}
    for images, made in (healthy(store, member) for member in members):
        maps["squared"].append(((images - made) ** 2)[images > 0])
    for name in each[0]:
        raw = [one[name] for one in each]
        headroom = 10 if name in BRIGHT else 4
        scale = found.score_scales[name]
        assert scale == pytest.approx(headroom * np.quantile(np.median(raw, axis=0), QUANTILE), rel=1e-3)
        maps[name] = [np.clip(values / scale, 0, 1) for values in raw]
    for name, values in maps.items():
        middle, threshold = np.median(values, axis=0), healthy_threshold(found, name)
        assert (middle > threshold).mean() <= 1 - QUANTILE
        assert (middle > threshold - 2 / 1024).mean() > 1 - QUANTILE


def test_the_dice_of_an_ensemble_is_that_of_the_median_of_its_members_maps(store, ensemble):
    whole, members = ensemble
    found = calibrate(whole, store)
    for item in found.suggestions[:2]:
        values = []
        for name in ("Mets_002", "Mets_003"):
            stored = store.slices(name)
            images = stored.images.astype(np.float32) / 255
            batch = torch.from_numpy(images)[:, None]
            maps = [
                anomaly_score(item.score, images, member.reconstruct(batch)[:, 0].numpy())
                for member in members
            ]
            params = cead.PostprocessParams(**item.params)
            anomaly_map = np.median(maps, axis=0) * (images > 0)
            mask = cead.postprocess(anomaly_map, params, stored.patient.spacing, brain_mask(stored.images))
            values.append(cead.dice(mask, stored.masks))
        assert found.figures["validation_dice_patient"][item.score] == pytest.approx(
            np.mean(values), abs=1e-9
        )


def test_tables_of_an_ensemble_hold_the_values_of_all_members(untouched, split, tmp_path):
    store = prepare(
        untouched,
        tmp_path / "store",
        split=split,
        image_size=64,
        min_brain=0.05,
        intensity="volume-tissue",
    )
    members = [two_heads(tmp_path / f"m{seed}", seed) for seed in (1, 2, 3)]
    whole = cead.load_model(ensemble_of(tmp_path / "ours", members), "cpu")
    found = calibrate(whole, store).tails
    usable = store.healthy_rows("validation")
    values = {"lesion": [], "brightness": [], "asymmetry": []}
    for folder in members:
        model = cead.load_model(folder, "cpu")
        for patient in store.patients_of("validation"):
            stored = store.slices(patient.name)
            images, brain = stored.images.astype(np.float32) / 255, brain_mask(stored.images)
            made, lesion = (each[:, 0].numpy() for each in model.repair(torch.from_numpy(images)[:, None]))
            scan = Seen(images, made, lesion, patient.spacing, midline(brain))
            here = usable[usable[:, 0] == store.patients.index(patient), 1]
            for name, parts in values.items():
                parts.append(KINDS[name].compute(scan)[here][brain[here]])
    assert set(found) >= set(values)
    for name, parts in values.items():
        for share in (0.5, 0.1, 0.01):
            expected = np.quantile(np.concatenate(parts), 1 - share)
            place = int(np.argmin(np.abs(SHARES - share)))
            # Each member shows every third voxel.
            assert found[name][place] == pytest.approx(expected, rel=0.05, abs=1e-3), (name, share)


def test_progress_and_stop(store, detector):
    seen = []
    calibrate(detector, store, on_progress=lambda *step: seen.append(step))
    assert seen == [(done, 6) for done in range(1, 7)]
    with pytest.raises(Cancelled):
        calibrate(detector, store, should_stop=lambda: True)
