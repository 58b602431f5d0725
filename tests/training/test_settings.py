import math
from itertools import pairwise

import pytest

from napari_cead.errors import ParameterError
from napari_cead.models.specs import MODEL_NAMES, spec
from napari_cead.training import ContextEncoding, TrainingSettings
from napari_cead.training.presets import training_settings
from napari_cead.training.settings import rate


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_papers_preset_is_the_paper(name):
    found = training_settings(name, preset="paper")
    assert (found.epochs, found.learning_rate, found.batch_size) == (200, 1e-4, 64)
    assert found.spec == spec(name, "paper") and found.spec.image_size == 196
    assert isinstance(found.corruption, ContextEncoding)
    assert found.corruption.squares == (1, 1) and found.commitment == 1.0
    assert found.augmentation is None and found.codebook_decay is None and found.patience is None
    assert found.schedule == "constant"


def test_what_is_given_wins_over_the_preset():
    found = training_settings("ae", preset="paper", size="small", epochs=3, learning_rate=None)
    assert (found.spec.size, found.epochs, found.learning_rate) == ("small", 3, 1e-4)


def test_fine_tuning_takes_the_parents_size_and_a_lower_rate():
    found = training_settings("vae1", parent=spec("ce-vae1", "small"))
    assert found.spec.size == "small" and found.learning_rate == pytest.approx(2e-5)
    assert training_settings("vae1", parent=spec("vae1"), learning_rate=0.1).learning_rate == 0.1


@pytest.mark.parametrize(
    "values",
    [{"epochs": 0}, {"batch_size": -1}, {"learning_rate": math.nan}, {"seed": -1}, {"precision": "8"}],
)
def test_what_is_out_of_range_is_one_sentence(values):
    with pytest.raises(ParameterError) as error:
        training_settings("ae", **values)
    assert next(iter(values)).replace("_", " ") in str(error.value) and "\n" not in str(error.value)


def test_unknown_names_are_one_sentence():
    for arguments in ({"model": "resnet"}, {"model": "ae", "preset": "huge"}):
        with pytest.raises(ParameterError) as error:
            training_settings(**arguments)
        assert "use one of" in str(error.value)


def test_settings_survive_json():
    found = training_settings("ce-vq-vae", preset="small", clip=1.0)
    assert TrainingSettings.model_validate_json(found.model_dump_json()) == found


def test_one_cycle_rises_for_a_tenth_and_falls_to_nothing():
    factors = [rate(step, 200, "one-cycle") for step in range(200)]
    assert factors[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert factors[20] == 1.0 and factors[110] == pytest.approx(0.5) and factors[-1] < 1e-3
    assert all(first >= second for first, second in pairwise(factors[20:]))
    assert {rate(step, 200, "constant") for step in range(200)} == {1.0}
