"""From a run to a model that can be used."""

import csv
import json
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import torch

from napari_cead.calibration.finishing import default_name, finish, install, kept_settings
from napari_cead.detection.choosing import Suggested
from napari_cead.errors import ParameterError, RunError, StoreError
from napari_cead.store.prepare import prepare
from napari_cead.training import train
from napari_cead.zoo import Suggestion, find_models, load_card, load_model, save_model
from napari_cead.zoo.finding import models_folder
from small_stores import AE, SIZE, settings, write_patients


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finish")
    cohort = write_patients(folder / "cohort")
    store = prepare(cohort, folder / "store", image_size=SIZE, validation=0.5, test=0)
    return train(settings(epochs=4), store, folder / "my run!"), store


def test_the_model_is_the_best_epoch_with_its_figures(trained):
    result, store = trained
    detector = load_model(finish(result.run))
    best = result.run.load_best()
    assert all(torch.equal(tensor, best[name]) for name, tensor in detector.module.state_dict().items())
    card = detector.card
    assert card.name == "my-run" and card.spec == AE
    with result.run.log.open() as stream:
        lines = list(csv.DictReader(stream))
    line = lines[card.training["best_epoch"] - 1]
    assert card.training["validation_loss"] == float(line["validation_loss"])
    assert card.training["data_fingerprint"] == store.fingerprint
    assert card.training["validation_patients"] == 2 and card.training["steps"] == int(lines[-1]["step"])


def test_the_description_tells_trained_from_fine_tuned_and_no_other_name(trained, tmp_path):
    result, store = trained
    base = finish(result.run, name="base")
    assert load_card(base).description == "AE trained on healthy flair slices of 2 patients"
    tuned = finish(train(settings(epochs=1), store, tmp_path / "tuned", init_from=base).run)
    assert load_card(tuned).description == "AE fine-tuned on healthy flair slices of 2 patients"


SHAPE = {"closing_radius": 1, "area_fraction": 0.2, "dilation_radius": 0, "min_area_mm2": 3.0}


@pytest.mark.parametrize("labelled", [True, False])
def test_fine_tuning_keeps_the_suggestion_of_the_model_it_started_from_but_for_the_threshold(
    trained, tmp_path, labelled
):
    result, store = trained
    folder = finish(result.run, name="base")
    card = load_card(folder)
    kept = Suggestion(score="squared", rule="validation", params={"threshold": 0.5, **SHAPE})
    others = tuple(each for each in card.suggestions if each.score != "squared")
    base = save_model(
        load_model(folder).module,
        card.model_copy(update={"suggestions": (kept, *others)}),
        tmp_path / "base",
    )
    if not labelled:
        cohort = write_patients(tmp_path / "cohort")
        for mask in cohort.glob("*/seg.nii.gz"):
            mask.unlink()
        store = prepare(
            cohort, tmp_path / "store", image_size=SIZE, validation=0.5, test=0, assume_healthy=True
        )
    run = train(settings(epochs=1), store, tmp_path / "tuned", init_from=base).run
    rmtree(base)  # what it started from is remembered
    tuned = load_card(finish(run))
    first = tuned.suggestions[0]
    assert (first.score, {name: first.params[name] for name in SHAPE}) == ("squared", SHAPE)
    assert first.params["threshold"] != 0.5
    for suggestion in tuned.suggestions:  # each score has the radii and areas that it had
        before = next((each for each in (kept, *others) if each.score == suggestion.score), kept)
        assert Suggested.of(suggestion).params.replace(threshold=0) == Suggested.of(before).params.replace(
            threshold=0
        )
    assert any(each.rule == "validation" for each in tuned.suggestions) == labelled
    words = kept_settings(load_card(folder).model_copy(update={"suggestions": (kept,)}), tuned)
    assert (
        "those of base (closing 1 px, area 20%, dilation 0 px)" in words
        and "above 0.5 by validation" in words
    )
    assert finish(run) and load_card(run.model).suggestions == tuned.suggestions  # and stays


def test_the_healthy_statistics_are_those_of_the_validation_slices(trained):
    result, store = trained
    detector = load_model(finish(result.run))
    images = store.healthy_slices("validation").astype(np.float32) / 255
    with torch.no_grad():
        made = detector.module(torch.from_numpy(images)[:, None]).reconstruction[:, 0].numpy()
    brain = images > 0
    found = detector.statistics["residual_mean"].numpy()
    assert found.shape == (SIZE, SIZE)
    # Smoothed over neighbours, but about the same inside the brain as a whole.
    assert found[brain.all(axis=0)].mean() == pytest.approx(np.abs(images - made)[brain].mean(), rel=0.15)


def test_another_store_may_choose_the_settings(trained, tmp_path):
    result, store = trained
    seen = [patient.name for patient in store.patients_of("train")]
    others = write_patients(tmp_path / "cohort", 7)
    for name in [patient.name for patient in store.patients]:
        rmtree(others / name)
    other = prepare(others, tmp_path / "other", image_size=SIZE, validation=0.9, test=0)
    assert seen and not {patient.name for patient in other.patients} & set(seen)
    before, card = load_card(finish(result.run)), load_card(finish(result.run, calibrate_on=other.path))
    assert card.training["calibration"]["validation_patients"] == len(other.patients_of("validation"))
    assert card.training["validation_patients"] == 2
    assert card.training["validation_loss"] == before.training["validation_loss"]
    assert card.suggestions != before.suggestions


def test_a_store_that_would_flatter_the_model_does_not_choose_its_settings(trained, tmp_path):
    result, store = trained
    parts = {"train": "validation", "validation": "train"}
    split = {
        parts[part]: [patient.name for patient in store.patients_of(part)] for part in ("train", "validation")
    }
    (tmp_path / "split.json").write_text(json.dumps(split))
    cohort = Path(store.patients[0].source).parent
    swapped = prepare(cohort, tmp_path / "swapped", image_size=SIZE, split=tmp_path / "split.json")
    with pytest.raises(StoreError, match="was trained on"):
        finish(result.run, calibrate_on=swapped)
    coarser = prepare(
        cohort, tmp_path / "coarser", image_size=SIZE, spacing=(1.5, 1.5), validation=0.5, test=0
    )
    with pytest.raises(StoreError, match="prepared with spacing"):
        finish(result.run, calibrate_on=coarser)


def test_half_precision_halves_the_weights(trained):
    result, _ = trained
    folder = finish(result.run, half=True)
    assert load_card(folder).dtype == "float16"


def test_a_finished_model_is_installed_once(trained):
    result, _ = trained
    folder = finish(result.run)
    assert install(folder).name == install(folder).name == "my-run"
    assert "my-run" in find_models() and "my-run-2" not in find_models()


def test_a_damaged_model_of_the_same_name_is_not_replaced(trained):
    result, _ = trained
    folder = finish(result.run)
    damaged = models_folder() / "other"
    damaged.mkdir(parents=True)
    (damaged / "model.json").write_text("{")
    try:
        assert install(folder, "other").name == "other-2"
        assert (damaged / "model.json").read_text() == "{"
    finally:
        rmtree(damaged)
        rmtree(damaged.with_name("other-2"), ignore_errors=True)


def test_names_come_from_the_folder_or_are_checked(trained, tmp_path):
    result, _ = trained
    assert default_name(tmp_path / "Über 30 Köpfe") == "ber-30-K-pfe"
    assert default_name(tmp_path / "…") == "model"
    with pytest.raises(ParameterError):
        finish(result.run, name="../../up")
    with pytest.raises(RunError):
        finish(tmp_path)
