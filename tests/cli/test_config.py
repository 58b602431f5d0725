"""``--config`` and ``--print-config``: all options of a job as a file that gives the same again."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from napari_cead.models.specs import DESIGN_NAMES
from napari_cead.options_file import CONFIG_FILE
from napari_cead.training.recipe import Recipe
from small_stores import write_patients

FAST = ("--preset", "small", "--epochs", 1, "--batch-size", 4, "--device", "cpu", "--no-install")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from napari_cead.store.prepare import prepare

    cohort = write_patients(tmp_path_factory.mktemp("cohort") / "train", 3, (6, 120, 110)).parent
    return prepare(cohort, cohort.parent / "store", min_brain=0.05).path


@pytest.mark.parametrize("model", DESIGN_NAMES)
def test_a_printed_file_is_complete_and_prints_the_same_again(call, tmp_path, model):
    status, text, err = call("train", model, "--print-config", "--seed", 3)
    assert status == 0, err
    values = yaml.safe_load(text)
    assert list(values) == [name for name in Recipe.model_fields if name != "resume"]
    assert (values["model"], values["seed"], values["data"]) == (model, 3, None)
    assert values["epochs"] == 200 or model in ("dae", "ce-unet")
    assert all(f"# {line}" in text for line in ("Seed of all random numbers (default: 0).",))
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert call("train", "--config", file, "--print-config") == (0, text, "")


def test_the_file_that_a_run_keeps_gives_the_same_weights(call, store, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    status, _, err = call("train", "ce-vae1", "--data", store, "--out", first, *FAST, "--fill", "zero")
    assert status == 0, err
    kept = first / CONFIG_FILE
    values = yaml.safe_load(kept.read_text())
    assert values["epochs"] == 1 and values["lr"] == 2e-3
    assert json.loads(values["corruption"])["fill"] == "zero"
    status, _, err = call("train", "--config", kept, "--out", second)
    assert status == 0, err
    settings = [json.loads((run / "run.json").read_text())["settings"] for run in (first, second)]
    assert settings[0] == settings[1]
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in (first, second)]
    assert weights[0] == weights[1]


def test_what_is_typed_beside_a_file_wins(call, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("model: ae\nepochs: 7\nlr: 5e-4\naugment: false\n")
    status, text, err = call("train", "--config", file, "--print-config", "--epochs", 9)
    assert status == 0, err
    values = yaml.safe_load(text)
    assert (values["epochs"], values["lr"], values["augment"]) == (9, 5e-4, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 7", "no option called 'epoch'"),
        ("epochs: seven", "--epochs"),
        ("epochs: [1, 2]", "epochs is a number, a text, true or false"),
        ("- epochs", "holds no options"),
        ("epochs: [", "is not valid YAML"),
        ("model: ae\nbeta: 2", "--beta does nothing for ae"),
        ("size: medium", "medium"),
        ("resume: true", "no option called 'resume'"),
        ('model: ce-ae\ncorruption: \'{"kind": "squares", "side": 3}\'', "side"),
        ("model: ae\naugmentation: '{\"flips\": 3}'", "flips"),
        ("model: ae\naugmentation: '{\"flip\"'", "not valid JSON"),
        ("model: ae\naugment: false\naugmentation: '{\"flip\": true}'", "--augmentation does nothing"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_in_a_sentence(call, store, tmp_path, text, said):
    file, out = tmp_path / "run.yaml", tmp_path / "out"
    file.write_text(text)
    given = () if "model" in text else ("ae",)
    status, _, err = call("train", *given, "--config", file, "--data", store, "--out", out)
    assert status == 2
    assert err.startswith("error: ") and said in err and len(err.splitlines()) == 1
    assert not out.exists()


def test_a_file_that_is_not_there_is_named(call, tmp_path):
    status, _, err = call("evaluate", tmp_path, "--out", tmp_path / "out", "--config", tmp_path / "no.yaml")
    assert status == 2 and "no.yaml" in err


@pytest.mark.parametrize("verb", ["train", "evaluate", "detect", "prepare"])
def test_the_help_shows_ten_options_first_and_the_rest_as_advanced(call, verb):
    _, text, _ = call(verb, "--help")
    first, advanced = text.split("\nAdvanced:\n")
    first = first.partition("\nOptions:\n")[2]
    shown, below = (re.findall(r"^  (--[a-z-]+)", part, re.MULTILINE) for part in (first, advanced))
    assert len(set(shown) - {"--help"}) == 10
    assert {"--config", "--print-config", "--out"} <= set(shown)
    _, text, _ = call(verb, "--print-config")
    flags = {f"--{name.replace('_', '-')}" for name in yaml.safe_load(text)}
    assert flags - {"--model", "--cohort", "--patient"} <= {*shown, *below}
    assert not set(shown) & set(below) and len(below) > 8


def test_what_a_training_needs_is_shown_first(call):
    _, text, _ = call("train", "--help")
    first, advanced = text.split("\nAdvanced:\n")
    assert all(f"--{name} " in first for name in ("data", "out", "size", "init-from", "epochs", "device"))
    assert all(f"--{name} " in advanced for name in ("resume", "seeds", "folds", "detach", "lr"))


@pytest.mark.parametrize("verb", ["prepare", "detect", "evaluate"])
def test_every_long_job_has_such_a_file(call, tmp_path, verb):
    status, text, err = call(verb, "--print-config")
    assert status == 0, err
    assert len(yaml.safe_load(text)) > 8
    file = tmp_path / "options.yaml"
    file.write_text(text)
    assert call(verb, "--config", file, "--print-config")[1] == text


def test_a_file_of_an_earlier_version_still_says_how_progress_is_shown(call, tmp_path):
    for name in ("progress", "shown"):
        (tmp_path / "options.yaml").write_text(f"{name}: json\nscores: null\n")
        status, text, err = call("evaluate", "--config", tmp_path / "options.yaml", "--print-config")
        assert status == 0, err
        values = yaml.safe_load(text)
        assert (values["progress"], values["scores"]) == ("json", "suggested") and "shown" not in values


@pytest.mark.parametrize("seeds", [(), ("--seeds", "0,1"), ("--folds", 3)], ids=["one", "seeds", "folds"])
def test_a_printed_file_of_several_models_holds_what_they_share(call, store, tmp_path, seeds):
    for known in ((), ("--data", store, "--out", tmp_path / "out")):
        status, text, err = call("train", "ae,ce-vae1", *known, *seeds, "--beta", 2, "--print-config")
        assert status == 0, err
        values = yaml.safe_load(text)
        assert (values["model"], values["beta"], values["epochs"]) == ("ae,ce-vae1", 2.0, 200)
        assert values["lr"] == 1e-4 and values["augment"] is True
        assert json.loads(values["corruption"])["kind"] == "squares"
        (tmp_path / "run.yaml").write_text(text)
        assert call("train", "--config", tmp_path / "run.yaml", "--print-config")[1] == text
    assert not (tmp_path / "out").exists()
