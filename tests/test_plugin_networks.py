"""A network and a corruption of another package, from help to detection, and what is said when it is gone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from napari_cead import plugins, zoo
from napari_cead.cli import run
from napari_cead.corruption.mixtures import Mixture, Share, corrupt
from napari_cead.errors import ModelError, ParameterError, RunError
from napari_cead.models import ModelSpec, build, design_names, spec
from napari_cead.store.prepare import prepare
from napari_cead.training import CoarseNoise, RunFolder, TrainingSettings
from napari_cead.training.presets import training_settings
from small_stores import write_patients


@pytest.fixture
def call(capsys):
    def call(*arguments):
        status = run([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def without_plugins(plugin, monkeypatch):
    """Call it to take the package away again."""

    def take_away():
        monkeypatch.setattr(plugins, "entry_points", lambda group: ())
        plugins.refresh_all()

    return take_away


def test_they_are_in_the_help_and_nothing_imports_torch_for_it(plugin):
    code = (
        "import sys; from napari_cead.cli import run; run(['train', '--help'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split()).replace("ce- unet", "ce-unet")  # the help breaks lines at hyphens
    assert "dae, ce-unet, shallow; several with commas" in words
    assert "(dae: 16, ce-unet: 8, shallow: 8)" in words


def test_they_are_in_the_printed_options(call, plugin):
    status, text, _ = call("train", "shallow", "--print-config")
    words = " ".join(text.replace("\n#", "").split())
    assert status == 0 and "lesions, squares, stripes, scanners" in words
    assert "dae, ce-unet and shallow learn to undo" in words
    assert "For dae and ce-unet: weight of corrupted pixels" in words  # its loss has no such setting
    assert "batch_size: 8" in text and "emphasis: null" in text


def test_a_network_has_its_own_options_loss_and_recipe(plugin):
    assert design_names()[-1] == "shallow"
    small = spec("shallow", "small", 64)
    assert small.options.slope == 0.2 and small.package == "cead-example" and small.denoising
    assert ModelSpec.model_validate_json(small.model_dump_json(), strict=True) == small
    network = build(small)
    assert network(torch.rand(2, 1, 64, 64)).reconstruction.shape == (2, 1, 64, 64)
    found = training_settings("shallow", preset="small")
    assert (found.batch_size, found.epochs, found.corruption.kind) == (8, 16, "stripes")
    assert TrainingSettings.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ParameterError, match="emphasis does nothing for shallow"):
        training_settings("shallow", emphasis=3.0)
    with pytest.raises(ParameterError, match="multiple of 4"):
        spec("shallow", "small", 65)
    with pytest.raises(ValueError, match="slope"):
        ModelSpec.model_validate(small.model_dump() | {"options": {"slope": 7}})


def test_a_design_without_options_has_the_defaults_of_its_family(plugin):
    full = spec("shallow", "paper")
    assert full.options.slope == 0.1 and spec("shallow", "small").options.slope == 0.2
    small = full.model_copy(update={"feature_maps": (4, 4), "image_size": 32})
    assert build(small)(torch.zeros(1, 1, 32, 32)).reconstruction.shape == (1, 1, 32, 32)


def test_a_corruption_stands_beside_the_others(plugin):
    stripes = training_settings("shallow").corruption
    images = torch.rand(4, 1, 32, 32)
    images[..., :8] = 0
    found = corrupt(images, stripes, torch.Generator().manual_seed(0))
    assert torch.equal(found.images != images, found.mask) and bool(found.mask.any(dim=(1, 2, 3)).all())
    both = Mixture(parts=(Share(share=1, corruption=CoarseNoise()), Share(share=1, corruption=stripes)))
    assert Mixture.model_validate_json(both.model_dump_json()) == both
    assert both.model_dump()["parts"][1]["corruption"] == {"kind": "stripes", "every": 6, "darker": 0.5}


def test_a_run_says_whose_corruption_it_misses(without_plugins, tmp_path):
    settings = training_settings("ce-ae", size="small", corruption=training_settings("shallow").corruption)
    run = RunFolder(tmp_path / "run")
    run.create(settings, tmp_path, "0" * 64, ())
    assert run.plan().settings == settings
    without_plugins()
    with pytest.raises(RunError, match="its corruption 'stripes' comes from a package that is not installed"):
        run.plan()


def test_it_is_trained_listed_and_detected_with_and_names_its_package_when_that_is_gone(
    call, without_plugins, tmp_path
):
    cohort = write_patients(tmp_path / "cohort" / "train", 5, (6, 120, 110)).parent
    store = prepare(cohort, tmp_path / "store", min_brain=0.05).path
    options = ["--size", "small", "--epochs", 1, "--batch-size", 4, "--device", "cpu"]
    status, out, err = call("train", "shallow", "--data", store, "--out", tmp_path / "mine", *options)
    assert status == 0, err
    settings = RunFolder(tmp_path / "mine").plan().settings
    assert settings.corruption.kind == "stripes" and settings.learning_rate == 3e-3
    listed = {info["name"]: info for info in json.loads(call("models", "list", "--json")[1])}
    assert listed["mine"]["family"] == "shallow"
    status, _, err = call(
        "detect", cohort / "train" / "Mets_001", "--model", "mine", "--out", tmp_path / "found"
    )
    assert status == 0, err

    folder = zoo.find_models()["mine"]
    card = json.loads((folder / "model.json").read_text())
    assert card["spec"]["package"] == "cead-example" and card["spec"]["options"] == {"slope": 0.2}
    assert card["training"]["corruption"] == {"kind": "stripes", "every": 6, "darker": 0.5}
    private = zoo.private_card(zoo.load_card(folder))
    assert private.training["corruption"] == card["training"]["corruption"]

    without_plugins()
    with pytest.raises(
        ModelError, match=r"'shallow' comes from the package cead-example.*not installed"
    ) as error:
        zoo.load_model(folder)
    assert error.value.code == "model-unusable" and "pip install cead-example" in str(error.value)
    status, out, _ = call("models", "list")
    assert status == 0 and "cead-example" in out
    with pytest.raises(RunError, match="comes from the package cead-example"):
        RunFolder(tmp_path / "mine").plan()
    assert call("runs", "list")[0] == 0
    assert call("train", "shallow", "--data", store, "--out", tmp_path / "again", *options)[0] == 2
