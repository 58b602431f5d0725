"""The tool that makes one bundled model."""

import json

import pytest

import bundle_model as tool
from napari_cead.store.prepare import prepare
from napari_cead.zoo import check_model
from small_stores import SIZE, write_patients


def test_a_recipe_becomes_a_bundled_model(tmp_path, capsys):
    store = prepare(write_patients(tmp_path / "cohort"), tmp_path / "store", image_size=SIZE, min_brain=0.05)
    recipe = {
        "size": "small",
        "image_size": SIZE,
        "epochs": 2,
        "corruption": {"kind": "lesions", "shift": [0.2, 0.4]},
        "clip": 1.0,
    }
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(recipe))
    arguments = ["--work", str(tmp_path / "work"), "--data", str(store.path), "--name", "best"]
    arguments += ["--recipe", str(file), "--out", str(tmp_path / "models"), "--device", "cpu"]
    assert tool.main(arguments) == 0
    card = check_model(tmp_path / "models" / "best")
    assert (card.name, card.spec.name, card.dtype, card.mirror_average) == ("best", "dae", "float16", True)
    assert card.training["corruption"]["shift"] == [0.2, 0.4] and card.training["optimizer"] == "adamw"
    assert "smoothed-times-intensity" in card.score_scales
    assert "trained before" not in capsys.readouterr().out
    assert tool.main(arguments) == 0
    assert "trained before" in capsys.readouterr().out
    file.write_text(json.dumps(recipe | {"clip": 2.0}))
    assert tool.main(arguments) == 2
    assert "another clip than the recipe" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[1]", "{", '{"learning_rate": -1}', '{"corruption": {"kind": "salt"}}'])
def test_a_recipe_that_is_none_is_one_line(tmp_path, capsys, content):
    file = tmp_path / "recipe.json"
    file.write_text(content)
    arguments = ["--work", str(tmp_path), "--data", str(tmp_path), "--recipe", str(file)]
    assert tool.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
