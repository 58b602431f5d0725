import os

import pytest

from model_folders import CARD, WEIGHTS, network, save
from napari_cead import zoo
from napari_cead.errors import ModelError, ModelNotFoundError, OutputError, ParameterError
from napari_cead.resources import PAPER_MODELS, bundled_models


def test_installed_models_hide_bundled_ones_of_the_same_name(home, bundled):
    save(bundled / "a", seed=0)
    save(bundled / "b", seed=0)
    save(home / "b", seed=1)
    assert zoo.find_models() == {"a": bundled / "a", "b": home / "b"}
    assert [(line.name, line.where) for line in zoo.list_models()] == [("a", "bundled"), ("b", "installed")]
    assert zoo.load_model("b", "cpu").folder == home / "b"
    assert zoo.load_model("a", "cpu").folder == bundled / "a"


def test_a_line_of_the_list(home):
    suggestion = zoo.Suggestion(score="positive-residual", rule="healthy-quantile", params={"threshold": 0.3})
    folder = save(home / "a", description="A tiny one.", suggestions=(suggestion,))
    (line,) = zoo.list_models()
    assert (line.family, line.description, line.score) == ("vae", "A tiny one.", "positive-residual")
    assert line.parameters == sum(p.numel() for p in network().parameters())
    assert line.size == sum(p.stat().st_size for p in folder.iterdir())


def test_damaged_folders_are_told_apart_and_break_nothing(home, bundled):
    save(bundled / "good")
    save(home / "bad")
    (home / "bad" / CARD).write_text("{")
    save(home / "weightless")
    (home / "weightless" / WEIGHTS).unlink()
    (home / "empty").mkdir()
    (home / "file").touch()
    (home / ".part-1").mkdir()
    if os.name != "nt":
        (home / "dangling").symlink_to(home / "nowhere")
    assert list(zoo.find_models()) == ["good"]
    assert set(zoo.damaged_models()) == {"bad", "weightless", "empty"}
    assert "JSON" in str(zoo.damaged_models()["bad"])


def test_a_damaged_installed_model_is_never_silently_another(home, bundled):
    save(bundled / "a")
    save(home / "a")
    (home / "a" / CARD).write_text("{")
    with pytest.raises(ModelError, match="JSON"):
        zoo.load_model("a", "cpu")


def test_no_models_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(tmp_path / "nowhere"))
    assert zoo.find_models() == {} and zoo.list_models() == []
    with pytest.raises(ModelError, match="none"):
        zoo.load_model("nobody", "cpu")


def test_models_of_a_package_of_their_own_are_found_as_the_others(tmp_path, monkeypatch):
    assert "vae1" in zoo.missing_models()
    with pytest.raises(ModelNotFoundError, match=r'vae1.* run: pip install "napari-cead\[paper\]"'):
        zoo.load_model("vae1", "cpu")
    folder = save(tmp_path / PAPER_MODELS / "vae1")
    (folder.parent / "__init__.py").touch()
    (folder.parent / "__pycache__").mkdir()
    monkeypatch.setattr("napari_cead.zoo.finding.bundled_models", bundled_models)
    monkeypatch.setattr("napari_cead.resources.sample_data", lambda: tmp_path / "bundle")
    monkeypatch.syspath_prepend(tmp_path)
    assert [(info.name, info.where) for info in zoo.list_models(damaged=True)] == [("vae1", "bundled")]
    assert zoo.load_model("vae1", "cpu").folder == folder
    assert "vae1" not in zoo.missing_models()


def test_a_name_of_the_paper_stays_reserved_where_its_model_is_not_installed(tmp_path, home):
    with pytest.raises(OutputError, match="comes with the program"):
        zoo.install_model(save(tmp_path / "vae1"), "vae1")
    zoo.install_model(tmp_path / "vae1", "vae1", replace=True)
    assert zoo.remove_model("vae1").uncovered is None


def test_a_file_of_the_folder_means_the_folder(tmp_path):
    folder = save(tmp_path / "mine")
    for wish in (folder / CARD, str(folder / WEIGHTS), str(folder), folder):
        assert zoo.load_model(wish, "cpu").folder == folder


def test_install_and_export(home, tmp_path):
    source = save(tmp_path / "mine")
    assert zoo.install_model(source) == home / "mine"
    assert zoo.install_model(source, "yours") == home / "yours"
    detector = zoo.load_model("yours", "cpu")
    assert detector.name == detector.card.name == "yours"
    assert detector.sha256 == zoo.load_card(source).sha256
    with pytest.raises(OutputError, match="is installed"):
        zoo.install_model(source)
    zoo.install_model(source, replace=True)
    assert zoo.check_model(zoo.export_model("yours", tmp_path / "out")).sha256 == detector.sha256
    for name in ("a/b", "..", ".hidden", "x" * 65):
        with pytest.raises(ParameterError, match="name"):
            zoo.install_model(source, name)


def test_damaged_models_are_not_installed(home, tmp_path):
    source = save(tmp_path / "mine")
    with (source / WEIGHTS).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ModelError):
        zoo.install_model(source)
    assert not (home / "mine").exists()
