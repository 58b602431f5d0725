"""Ensembles: several trained models as one that is used like any other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import napari_cead as cead
from model_folders import two_heads
from napari_cead.calibration.ensembling import is_ensemble_of, make_ensemble
from napari_cead.calibration.finishing import finish
from napari_cead.detection import available_scores
from napari_cead.errors import CeadError, ModelError, ParameterError
from napari_cead.exploring import Session
from napari_cead.models import ModelSpec, build
from napari_cead.models.networks import NETWORKS
from napari_cead.store.prepare import prepare
from napari_cead.training import train
from napari_cead.training.engine import check_start
from napari_cead.zoo import (
    ModelCard,
    check_model,
    export_model,
    install_model,
    load_card,
    load_model,
    save_model,
)
from napari_cead.zoo.recognising import was_trained_on
from small_stores import AE, CE_VAE, SIZE, UNET, settings, write_patients

BATCH = torch.rand(5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(3)) * 0.8 + 0.1


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    return prepare(
        write_patients(folder / "cohort"), folder / "store", image_size=SIZE, validation=0.5, test=0
    )


@pytest.fixture(scope="module")
def members(store, tmp_path_factory):
    root = tmp_path_factory.mktemp("members")
    return [
        finish(train(settings(epochs=1, seed=seed), store, root / f"mine.seed{seed}").run)
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def ensemble(store, members, tmp_path_factory):
    return make_ensemble(members, store, tmp_path_factory.mktemp("made") / "ours", "ours", device="cpu")


def made_by(folders):
    return np.stack([load_model(folder, "cpu").reconstruct(BATCH).numpy() for folder in folders])


def test_each_pixel_is_the_median_of_the_members(members, ensemble):
    expected = made_by(members)
    assert not np.allclose(expected[0], expected[1])
    found = load_model(ensemble, "cpu").reconstruct(BATCH).numpy()
    np.testing.assert_allclose(found, np.median(expected, axis=0), atol=1e-6)


def test_under_every_score_the_map_is_the_median_of_the_members_maps(store, members, ensemble):
    patient, whole = cead.load_patient(store.patients[0].source), load_model(ensemble, "cpu")
    own = {name: getattr(whole.card, name) for name in ("score_scales", "statistics", "tails")}
    alone = [load_model(member, "cpu") for member in members]
    alone = [
        replace(each, card=each.card.model_copy(update=own), statistics=whole.statistics) for each in alone
    ]
    assert {"squared", "median-residual", "residual-z"} <= set(available_scores(whole.card))
    for score in available_scores(whole.card):
        maps = [cead.detect(patient, each, score=score).anomaly_map for each in alone]
        found = cead.detect(patient, whole, score=score).anomaly_map
        np.testing.assert_array_equal(found, np.median(maps, axis=0), err_msg=score)


@pytest.mark.parametrize("score", ["positive-residual", "squared"])
def test_explore_shows_the_median_of_the_members_maps(store, members, ensemble, score):
    place = store.patients[0].source
    session = Session()
    session.open(place)
    session.detect(ensemble, score, device="cpu")
    patient = cead.load_patient(place)
    maps = [
        cead.detect(patient, cead.load_model(member, device="cpu"), score=score).anomaly_map
        for member in members
    ]
    np.testing.assert_array_equal(session.anomaly_map, np.median(maps, axis=0))


def test_an_even_number_of_members_takes_the_mean_of_the_two_in_the_middle(store, members, tmp_path):
    folder = make_ensemble(members[:2], store, tmp_path / "two", "two", device="cpu")
    found = load_model(folder, "cpu").reconstruct(BATCH).numpy()
    np.testing.assert_allclose(found, made_by(members[:2]).mean(axis=0), atol=1e-6)


def test_it_has_settings_statistics_and_marks_of_its_own(store, members, ensemble):
    card = load_card(ensemble)
    assert card.name == "ours" and card.statistics == ("residual_mean", "residual_std")
    assert {"healthy-quantile", "validation"} <= {each.rule for each in card.suggestions}
    assert [parent.sha256 for parent in card.parents] == [load_card(member).sha256 for member in members]
    seen, unseen = (store.patients_of(part)[0].marks for part in ("train", "validation"))
    assert was_trained_on(card, seen) is True and was_trained_on(card, unseen) is False


def test_it_is_kept_shared_and_installed_like_any_model(ensemble, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(tmp_path / "home"))
    packed = export_model(ensemble, tmp_path / "ours.zip")
    installed = install_model(packed, "theirs")
    assert check_model(installed).sha256 == load_card(ensemble).sha256
    assert {parent.name for parent in load_card(installed).parents} == {"another-model"}
    assert torch.equal(
        load_model("theirs", "cpu").reconstruct(BATCH), load_model(ensemble, "cpu").reconstruct(BATCH)
    )


def test_a_finished_one_is_known_again(store, members, ensemble, tmp_path):
    assert is_ensemble_of(ensemble, members, store)
    assert not is_ensemble_of(ensemble, members[:2], store)
    assert not is_ensemble_of(members[0], members, store)
    assert not is_ensemble_of(tmp_path / "none", members, store)


def test_one_of_version_0_2_0_is_made_again(store, members, ensemble, tmp_path):
    """The median of outputs is another model than the median of maps."""
    card = load_card(ensemble)
    values = card.model_dump(mode="json")
    del values["spec"]["options"]["median"]
    model = load_model(ensemble, "cpu")
    old = save_model(
        model.module, ModelCard.model_validate(values), tmp_path / "old", statistics=model.statistics
    )
    assert load_card(old).calibration != card.calibration
    assert not is_ensemble_of(old, members, store)
    found = load_model(old, "cpu").reconstruct(BATCH)
    torch.testing.assert_close(found, model.reconstruct(BATCH))


def test_what_does_not_belong_together_is_refused(store, members, ensemble, tmp_path):
    with pytest.raises(ParameterError, match="at least two members"):
        make_ensemble(members[:1], store, tmp_path / "one", "one")
    with pytest.raises(ModelError, match="cannot be an ensemble"):
        make_ensemble([members[0], ensemble], store, tmp_path / "nested", "nested")
    other = two_heads(tmp_path / "other")
    with pytest.raises(ModelError, match="preprocessing is not that of"):
        make_ensemble([members[0], other], store, tmp_path / "mixed", "mixed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]
    with pytest.raises(CeadError, match="start from one of its members"):
        check_start(settings(), store, init_from=ensemble)


def spec_of(*members):
    family = NETWORKS.find("denoiser-ensemble" if members[0].denoising else "ensemble")
    return ModelSpec(**family.spec_of(members))


def test_a_spec_survives_json_and_refuses_members_that_differ():
    spec = spec_of(AE, CE_VAE)
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec
    assert not spec.denoising and not spec.predicts_lesion
    with pytest.raises(ValidationError, match="denoisers and autoencoders"):
        spec_of(AE, UNET)
    with pytest.raises(ValidationError, match="pixels"):
        spec_of(AE, AE.model_copy(update={"image_size": 48}))


def test_denoisers_give_the_median_probability_of_a_lesion(tmp_path):
    members = [load_model(two_heads(tmp_path / f"m{seed}", seed), "cpu") for seed in range(3)]
    network = build(spec_of(*(member.card.spec for member in members))).eval()
    for place, member in zip(network.members, members, strict=True):
        place.load_state_dict(member.module.state_dict())
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = np.median([member.module(x).lesion_logit.sigmoid().numpy() for member in members], axis=0)
        found = network(x).lesion_logit.sigmoid().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
