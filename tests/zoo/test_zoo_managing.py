"""Renaming, notes and removal of installed models."""

import json
import shutil
from pathlib import Path

import pytest

from model_folders import CARD, one_sentence, save
from napari_cead import zoo
from napari_cead.errors import ModelError, OutputError, ParameterError
from napari_cead.zoo.managing import LONGEST_NOTES


@pytest.fixture
def installed(tmp_path, home):
    return zoo.install_model(save(tmp_path / "mine", description="Grün"))


def hide(tmp_path, bundled):
    """Install a model of the name of a bundled one."""
    save(bundled / "given", seed=1)
    return zoo.install_model(save(tmp_path / "given", seed=2), replace=True)


def test_a_renamed_model_is_the_same_under_another_name(installed, home):
    before = zoo.load_card(installed)
    done = zoo.rename_model("mine", "ward-7")
    assert (done.folder, done.uncovered) == (home / "ward-7", None)
    assert list(zoo.find_models()) == ["ward-7"]
    card = zoo.check_model(home / "ward-7")
    assert card == before.model_copy(update={"name": "ward-7"})
    assert zoo.load_model("ward-7", "cpu").name == "ward-7"
    with pytest.raises(ModelError):
        zoo.find_model("mine")


def test_names_are_checked_and_taken_ones_refused(installed, tmp_path, home, bundled):
    save(bundled / "given")
    zoo.install_model(save(tmp_path / "other", seed=1))
    for name in ("../up", "", "nul.1", "a b", "x" * 65):
        with pytest.raises(ParameterError) as bad:
            zoo.rename_model("mine", name)
        one_sentence(bad)
    for name in ("other", "OTHER", "given", "Given"):
        with pytest.raises(OutputError) as taken:
            zoo.rename_model("mine", name)
        assert name in one_sentence(taken)
    assert sorted(zoo.find_models()) == ["given", "mine", "other"]
    assert zoo.rename_model("mine", "mine").folder == installed
    assert zoo.rename_model("mine", "Mine").folder == home / "Mine"  # its own name is not another model's


def test_a_rename_that_fails_half_way_is_taken_back(installed, home, monkeypatch):
    before = zoo.load_card(installed)

    def full(path, text):
        raise OutputError("no space is left", file=path, hint="make room")

    monkeypatch.setattr("napari_cead.zoo.managing.write_text", full)
    with pytest.raises(OutputError):
        zoo.rename_model("mine", "new")
    assert [path.name for path in home.iterdir()] == ["mine"]
    assert zoo.check_model(installed) == before


def test_bundled_and_unknown_models_are_left_alone(installed, bundled, tmp_path):
    folder = save(bundled / "given")
    content = (folder / CARD).read_bytes()
    outside = save(tmp_path / "outside")
    for change in (
        lambda name: zoo.rename_model(name, "new"),
        lambda name: zoo.note_model(name, "text"),
        zoo.remove_model,
    ):
        with pytest.raises(ModelError) as caught:
            change("given")
        assert "comes with the program" in one_sentence(caught)
        for name in ("nobody", "", ".", "..", "../models/mine", str(outside), str(installed)):
            with pytest.raises(ModelError) as caught:
                change(name)
            assert "no model of this name is installed" in one_sentence(caught)
    assert (folder / CARD).read_bytes() == content
    assert zoo.check_model(outside).notes == zoo.check_model(installed).notes == ""


def test_what_an_installed_model_hid_comes_back(tmp_path, home, bundled):
    hide(tmp_path, bundled)
    done = zoo.rename_model("given", "mine")
    assert done.uncovered == bundled / "given"
    assert "comes with the program" in str(done)
    shutil.rmtree(home / "mine")
    hide(tmp_path, bundled)
    done = zoo.remove_model("given")
    assert (done.folder, done.uncovered) == (None, bundled / "given")
    assert zoo.find_model("given") == bundled / "given"
    assert list(home.iterdir()) == []


def test_notes_are_kept_beside_the_description(installed):
    before = zoo.load_card(installed)
    card = zoo.note_model("mine", "  von Ward 7,\nzweite Hälfte\n")
    assert card.notes == "von Ward 7,\nzweite Hälfte"
    assert zoo.check_model(installed) == card
    assert card.model_copy(update={"notes": ""}) == before
    zoo.note_model("mine", "")
    # As if there had never been any: versions that know no notes read the card.
    assert "notes" not in json.loads((installed / CARD).read_text("utf-8"))
    with pytest.raises(ParameterError) as caught:
        zoo.note_model("mine", "x" * (LONGEST_NOTES + 1))
    one_sentence(caught)


def test_cards_from_before_there_were_notes_are_read():
    from napari_cead.resources import sample_data

    for file in sample_data().glob(f"models/*/{CARD}"):
        values = json.loads(file.read_text("utf-8"))
        assert "notes" not in values and values["schema_version"] == 1
        assert zoo.load_card(file.parent).model_dump(mode="json") == values


def test_a_removed_model_is_gone_whole_or_damaged(installed, home):
    (installed / CARD).write_text("{", encoding="utf-8")
    assert list(zoo.damaged_models()) == ["mine"]
    zoo.remove_model("mine")
    assert list(home.iterdir()) == []
    with pytest.raises(ModelError):
        zoo.remove_model("mine")


def test_what_is_not_part_of_a_model_is_never_deleted(installed, home):
    (installed / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError) as caught:
        zoo.remove_model("mine")
    assert "thesis.txt" in one_sentence(caught)
    assert (installed / "thesis.txt").read_text() == "years of work"
    assert zoo.check_model(installed)


def test_of_a_link_only_the_link_is_removed(tmp_path, home):
    folder = save(tmp_path / "elsewhere" / "mine")
    home.mkdir(parents=True)
    try:
        (home / "mine").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no user make links")
    zoo.remove_model("mine")
    assert list(home.iterdir()) == []
    assert zoo.check_model(Path(folder))
