"""The map of an ensemble is the median of the maps that its members give alone."""

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import model_folders
import napari_cead as cead
from napari_cead.cli import run as command_line
from napari_cead.detection import (
    SCORES,
    MapOptions,
    ReconstructionCache,
    available_scores,
    run,
    save_detection,
)
from napari_cead.detection.members import differs, median
from napari_cead.exploring import Session
from napari_cead.models import ModelSpec
from napari_cead.patients import Patient
from napari_cead.zoo import Detector, load_card
from scans import make_brain, write_nifti

SCALES = {score.name: 0.2 for score in SCORES if score.scaled}
"""Constants low enough that some maps are cut off at 1."""

KINDS = ("autoencoders", "denoisers", "denoisers that average over mirrored slices")


def autoencoder(folder, seed, statistics):
    module = model_folders.network(seed)
    with torch.no_grad():
        for weights in module.parameters():
            weights.mul_(3)  # so that members differ
    spec = ModelSpec(**{**model_folders.SPEC.model_dump(), "name": f"tiny{seed}"})
    card = model_folders.card(folder.name, score_scales=SCALES, spec=spec)
    return model_folders.zoo.save_model(module, card, folder, statistics=statistics)


def denoiser(folder, seed, statistics, **more):
    written = model_folders.two_heads(folder, seed, score_scales=SCALES, **more)
    model = cead.load_model(written, device="cpu")
    return model_folders.zoo.save_model(model.module, model.card, folder, statistics=statistics)


def make(kind, count, root):
    """Write members and their ensemble, all with the same constants; return the loaded ensemble and members."""
    side = 20 if kind == "autoencoders" else 64
    rng = np.random.default_rng(5)
    statistics = {
        "residual_mean": torch.from_numpy(rng.uniform(0.01, 0.1, (side, side)).astype(np.float32)),
        "residual_std": torch.from_numpy(rng.uniform(0.5, 1, (side, side)).astype(np.float32)),
    }
    more = {"mirror_average": True} if "mirrored" in kind else {}
    members = [
        autoencoder(root / f"m{seed}", seed, statistics)
        if kind == "autoencoders"
        else denoiser(root / f"m{seed}", seed, statistics, **more)
        for seed in range(1, 1 + count)
    ]
    whole = model_folders.ensemble_of(root / "ours", members, statistics)
    return cead.load_model(whole, device="cpu"), [cead.load_model(each, device="cpu") for each in members]


@pytest.fixture(scope="module", params=[(kind, count) for kind in KINDS for count in (2, 3)], ids=str)
def made(request, tmp_path_factory):
    kind, count = request.param
    return make(kind, count, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return make("denoisers", 3, tmp_path_factory.mktemp("three"))


@pytest.fixture(scope="module", params=[0.94, 1.4], ids=["model's grid", "resampled"])
def patient(request):
    volume, lesion = make_brain(shape=(40, 44, 42))
    return Patient.from_arrays({"flair": volume}, lesion_mask=lesion, spacing=(1.5, *[request.param] * 2))


@pytest.fixture(scope="module")
def small():
    volume, _ = make_brain(shape=(40, 44, 42))
    return Patient.from_arrays({"flair": volume}, spacing=(1.5, 0.94, 0.94))


def maps_of(members, patient, score, **more):
    return [cead.detect(patient, member, score=score, **more).anomaly_map for member in members]


def test_under_every_score_the_map_is_the_median_of_the_members_maps(made, patient):
    ensemble, members = made
    scores = available_scores(ensemble.card)
    assert {"residual", "squared", "median-residual", "residual-z", "smoothed-residual"} <= set(scores)
    assert ("fused" in scores) == ("lesion-probability" in scores) == ensemble.card.spec.denoising
    alone = [run(patient, member, score=scores) for member in members]
    for score in scores:
        expected = [each.anomaly_map(score) for each in alone]
        found = cead.detect(patient, ensemble, score=score)
        np.testing.assert_array_equal(found.anomaly_map, np.median(expected, axis=0), err_msg=score)
        assert (not np.array_equal(expected[0], expected[1])) == differs(score), score
        assert found.anomaly_map.any(), score
    assert any((each == 1).any() for each in maps_of(members, patient, "residual-times-intensity"))


def test_what_is_shown_as_the_reconstruction_is_the_median_of_theirs(made, patient):
    ensemble, members = made
    theirs = [run(patient, member).slices for member in members]
    np.testing.assert_array_equal(run(patient, ensemble).slices, np.median(theirs, axis=0))


def test_the_map_is_smoothed_and_eroded_after_the_median(three, small):
    ensemble, members = three
    options = MapOptions(smoothing_mm=2, erosion_radius=2)
    found = run(small, ensemble)
    middle = np.median(maps_of(members, small, "squared"), axis=0)
    expected = options.apply(middle, found.stack.brain, small.spacing)
    np.testing.assert_array_equal(found.anomaly_map("squared", options), expected)


@pytest.mark.parametrize("score", ["squared", "smoothed-residual", "fused"])
def test_slices_come_as_they_are_finished(three, small, score):
    ensemble, members = three
    arrived = {}

    def take(made, indices):
        for z, values in zip(indices, made.anomaly_slices(score, indices, alone=True), strict=True):
            arrived[int(z)] = values

    whole = run(small, ensemble, score=score, first=30, batch_size=8, on_slices=take)
    alone = [run(small, member, score=score, first=30, batch_size=8) for member in members]
    assert next(iter(arrived)) > 20 and sorted(arrived) == whole.stack.occupied.tolist()
    chosen = whole.stack.occupied[:8]  # a group: nothing beside it had arrived, or counts
    expected = np.median([each.anomaly_slices(score, chosen, alone=True) for each in alone], axis=0)
    np.testing.assert_array_equal(np.stack([arrived[z] for z in chosen]), expected)
    asked = [each.anomaly_slices(score, [20, 21]) for each in alone]
    np.testing.assert_array_equal(whole.anomaly_slices(score, [20, 21]), np.median(asked, axis=0))
    part = run(small, ensemble, score=score, batch_size=8, only=[int(chosen[0])])
    np.testing.assert_array_equal(part.anomaly_slices(score, chosen, alone=True), expected)


def test_explore_shows_and_keeps_it_under_every_score(three, small):
    ensemble, members = three
    session = Session()
    session.use(small)
    # This map is put together from the slices as they arrived, the other two are made at once.
    session.detect(ensemble.folder, "squared", device="cpu", batch_size=8, first=20)
    for score in ("squared", "fused", "residual"):
        session.set_score(score)
        expected = np.median(maps_of(members, small, score, batch_size=8), axis=0)
        np.testing.assert_array_equal(session.anomaly_map, expected)


def test_members_are_cached_with_the_rest(three, small):
    ensemble, members = three
    cache = ReconstructionCache()
    first, again = (run(small, ensemble, score="fused", cache=cache) for _ in range(2))
    assert not first.from_cache and again.from_cache
    for score in ("squared", "fused"):
        expected = np.median(maps_of(members, small, score), axis=0)
        np.testing.assert_array_equal(again.anomaly_map(score), expected)
    # The same weights as an ensemble of outputs make another reconstruction, where a pass averages two.
    card = ensemble.card.model_copy(update={"spec": of_outputs(ensemble.card.spec)})
    assert not run(small, replace(ensemble, card=card), cache=cache).from_cache


@dataclass(frozen=True)
class Cramped(Detector):
    """A model on a device whose memory holds five slices."""

    def repair_each(self, batch):
        if len(batch) > 5:
            raise torch.OutOfMemoryError("no room")
        return super().repair_each(batch)


def test_where_memory_is_short_fewer_slices_are_taken_at_a_time(three, small):
    ensemble, members = three
    values = {name: getattr(ensemble, name) for name in Detector.__dataclass_fields__}
    found = run(small, Cramped(**values), batch_size=16)
    assert found.batch_size == 4 and "4 were taken" in found.warnings[-1]
    expected = np.median(maps_of(members, small, "squared", batch_size=4), axis=0)
    np.testing.assert_array_equal(found.anomaly_map("squared"), expected)


@pytest.mark.parametrize("score", ["squared", "fused"])
def test_it_is_saved_and_repeated_to_the_byte(three, tmp_path, capsys, score):
    ensemble, members = three
    volume, _ = make_brain(shape=(40, 44, 42))
    file = write_nifti(tmp_path / "scan" / "flair.nii.gz", volume.T, np.diag([0.94, 0.94, 1.5, 1]))
    patient = cead.load_patient(file.parent)
    found = cead.detect(patient, ensemble, score=score)
    np.testing.assert_array_equal(found.anomaly_map, np.median(maps_of(members, patient, score), axis=0))
    out = tmp_path / "out"
    facts = save_detection(found, out)
    assert command_line(facts["command"]["argv"][1:]) == 0, capsys.readouterr().err
    for name in ("mask.nii.gz", "anomaly_map.nii.gz", "reconstruction.nii.gz"):
        one, other = ((each / name).read_bytes() for each in (out, out / "replay"))
        assert hashlib.sha256(one).digest() == hashlib.sha256(other).digest(), name


def of_outputs(spec):
    """The spec of the same ensemble as version 0.2.0 wrote it."""
    values = spec.model_dump(mode="json")
    assert values["options"].pop("median") == "maps"
    return ModelSpec.model_validate(values)


def test_an_ensemble_of_version_0_2_0_gives_the_maps_that_its_settings_were_chosen_for(
    three, small, tmp_path
):
    ensemble, members = three
    old = ensemble.folder.parent / "old"
    model_folders.zoo.save_model(
        ensemble.module,
        ensemble.card.model_copy(update={"name": "old", "spec": of_outputs(ensemble.card.spec)}),
        old,
        statistics=ensemble.statistics,
    )
    written = json.loads((old / "model.json").read_text())
    assert set(written["spec"]["options"]) == {"members"}
    found = run(small, cead.load_model(old, device="cpu"))
    # The score of the median of the outputs, which for a square is not the median of the squares.
    made = np.median([run(small, member).slices for member in members], axis=0)
    np.testing.assert_allclose(found.slices, made, atol=1e-6)
    squares = np.clip((found.stack.images - made) ** 2, 0, 1)
    expected = np.where(found.stack.brain, found.stack.geometry.to_patient(squares), 0)
    np.testing.assert_allclose(found.anomaly_map("squared"), expected, atol=1e-5)
    assert not np.allclose(
        found.anomaly_map("squared"), run(small, ensemble).anomaly_map("squared"), atol=1e-3
    )
    assert load_card(old).calibration != ensemble.card.calibration


def test_the_median_is_that_of_numpy_whatever_the_shape():
    rng = np.random.default_rng(1)
    for shape in ((0, 3, 3), (7,), (3, 120, 130)):
        for count in (1, 2, 3, 4):
            maps = [rng.random(shape, dtype=np.float32) for _ in range(count)]
            found = median(maps)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, np.median(maps, axis=0))
