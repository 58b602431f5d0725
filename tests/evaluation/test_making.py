"""The whole way from a recipe to a model, without the command line."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from napari_cead.errors import ParameterError
from napari_cead.evaluation.making import Watch, make_model
from napari_cead.training.recipe import Recipe
from napari_cead.zoo import find_models, load_card
from small_stores import write_patients


class Listening(Watch):
    def __init__(self):
        self.said, self.stages, self.events = [], {}, []

    def say(self, text, *, warning=False):
        self.said.append(text)

    @contextmanager
    def progress(self, what):
        yield lambda done, total: self.stages.update({what: done / total})

    @contextmanager
    def training(self, alone):
        yield (lambda event: self.events.append(event["event"])), None


@pytest.fixture
def cohort(tmp_path):
    return write_patients(tmp_path / "train", 3, (6, 120, 110)).parent


def recipe(cohort, out, **more):
    given = {"preset": "small", "epochs": 1, "batch_size": 4, "device": "cpu"}
    return Recipe(model="ce-ae", data=cohort, out=out, **{**given, **more})


def test_a_recipe_becomes_a_model_that_is_installed(cohort, tmp_path):
    watch = Listening()
    model = make_model(recipe(cohort, tmp_path / "run", name="mine"), watch)
    assert model == tmp_path / "run" / "model"
    assert "mine" in find_models()
    card = load_card(model)
    assert card.training["epochs"] == 1 and card.spec.name == "ce-ae"
    assert watch.stages == {"preparing": 1, "calibrating": 1}
    assert "epoch" in watch.events
    assert any("installed as mine" in text for text in watch.said)


def test_it_needs_nobody_to_watch_and_can_leave_the_model_where_it_is(cohort, tmp_path, capsys):
    model = make_model(recipe(cohort, tmp_path / "run", no_install=True))
    assert model is not None and model.is_dir()
    assert "run" not in find_models()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "all"}, "no single model"),
        ({"beta": 2.0}, "--beta does nothing for ce-ae"),
        ({"freeze_encoder": True}, "--freeze-encoder"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(cohort, tmp_path, given, said):
    with pytest.raises(ParameterError, match=said):
        make_model(recipe(cohort, tmp_path / "run").model_copy(update=given))
    assert not (tmp_path / "run").exists()
