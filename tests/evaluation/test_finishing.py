"""From a run to a model that can be used."""

import csv

import numpy as np
import pytest
import torch

from napari_cead.errors import ParameterError, RunError
from napari_cead.evaluation.finishing import default_name, finish, install
from napari_cead.training import train
from napari_cead.training.preparation import prepare
from napari_cead.zoo import find_models, load_card, load_model
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


def test_half_precision_halves_the_weights(trained):
    result, _ = trained
    folder = finish(result.run, half=True)
    assert load_card(folder).dtype == "float16"


def test_a_finished_model_is_installed_once(trained):
    result, _ = trained
    folder = finish(result.run)
    assert install(folder).name == install(folder).name == "my-run"
    assert "my-run" in find_models() and "my-run-2" not in find_models()


def test_names_come_from_the_folder_or_are_checked(trained, tmp_path):
    result, _ = trained
    assert default_name(tmp_path / "Über 30 Köpfe") == "ber-30-K-pfe"
    assert default_name(tmp_path / "…") == "model"
    with pytest.raises(ParameterError):
        finish(result.run, name="../../up")
    with pytest.raises(RunError):
        finish(tmp_path)
