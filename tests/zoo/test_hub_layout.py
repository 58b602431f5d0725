"""Models in the layout of the Hugging Face hub: config.json, model.safetensors, README.md."""

import json
import shutil
from zipfile import ZipFile

import pytest
import yaml
from safetensors import safe_open

from model_folders import CARD, WEIGHTS, one_sentence, save
from napari_cead import zoo
from napari_cead.errors import ModelError, OutputError

LAYOUT = ["README.md", "config.json", WEIGHTS]


@pytest.fixture
def exported(tmp_path):
    suggestion = zoo.Suggestion(score="residual", rule="healthy-quantile", params={"threshold": 0.25})
    source = save(
        tmp_path / "mine",
        description="VAE of our scanner",
        suggestions=(suggestion,),
        training={"patients": 12, "epochs": 3, "validation_loss": None},
    )
    return zoo.export_model(source, tmp_path / "out")


def test_an_export_is_what_the_hub_expects(exported):
    assert sorted(path.name for path in exported.iterdir()) == LAYOUT
    assert json.loads((exported / "config.json").read_text())["name"] == "mine"
    with safe_open(exported / WEIGHTS, framework="pt") as weights:
        assert weights.metadata() == {"format": "pt"}


def test_the_page_has_front_matter_and_says_how_to_use_the_model(exported):
    _, front, body = (exported / "README.md").read_text("utf-8").split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["library_name"] == "napari-cead" and values["model_name"] == "mine"
    assert values["pipeline_tag"] == "image-segmentation" and "mri" in values["tags"]
    card = zoo.load_card(exported)
    assert "# mine\n" in body and "VAE of our scanner" in body and "not a medical device" in body
    assert "napari-cead models install" in body and card.sha256 in body
    assert f"| weights | {card.parameters:,} (float32) |" in body and "| patients | 12 |" in body
    assert "| residual | healthy-quantile | threshold 0.25 |" in body
    assert "None" not in body


@pytest.mark.parametrize("packed", [False, True])
def test_it_is_installed_from_a_folder_or_a_zip_of_it(exported, home, tmp_path, packed):
    (exported / ".gitattributes").write_text("*.safetensors filter=lfs\n")  # as a clone of the hub has it
    source = exported
    if packed:
        source = tmp_path / "download.zip"
        with ZipFile(source, "w") as archive:
            for path in exported.iterdir():
                archive.write(path, f"mine-main/{path.name}")
    assert zoo.install_model(source) == home / "mine"
    assert sorted(path.name for path in (home / "mine").iterdir()) == [CARD, WEIGHTS]
    assert zoo.load_card(home / "mine") == zoo.load_card(exported)


def test_it_is_used_without_being_installed(exported):
    for wish in (exported, exported / "config.json", str(exported / WEIGHTS)):
        assert zoo.load_model(wish, "cpu").folder == exported


def test_a_copy_among_the_installed_models_is_one(exported, home):
    shutil.copytree(exported, home / "mine")
    assert [info.name for info in zoo.list_models()] == ["mine"]
    assert zoo.note_model("mine", "of ward 7").notes == "of ward 7"
    assert zoo.load_card(home / "mine").notes == "of ward 7"
    zoo.remove_model("mine")
    assert not (home / "mine").exists()


def test_another_model_of_the_hub_is_refused_by_name(tmp_path, home):
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    (folder / WEIGHTS).write_bytes(b"\0" * 16)
    with pytest.raises(ModelError, match="another kind of model") as caught:
        zoo.install_model(folder)
    assert str(folder) in one_sentence(caught)


def test_an_export_replaces_an_export_and_nothing_else(exported, tmp_path):
    assert zoo.export_model(exported, exported) == exported
    assert sorted(path.name for path in exported.iterdir()) == LAYOUT
    for names in (["README.md"], ["config.json"], ["config.json", "README.md"]):
        other = tmp_path / "-".join(names)
        other.mkdir()
        for name in names:
            (other / name).write_text("{}")
        with pytest.raises(OutputError, match="not a model"):
            zoo.export_model(exported, other)
