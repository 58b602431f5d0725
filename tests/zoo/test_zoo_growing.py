"""Cards of older and newer versions: what is missing is the default, what is unknown is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import napari_cead as cead
from model_folders import CARD, one_sentence, save
from napari_cead import zoo
from napari_cead.errors import CeadWarning, ModelError
from napari_cead.zoo import Suggestion


@pytest.fixture
def edited(tmp_path):
    """A model folder whose card a function changes."""

    def edit(change):
        suggestion = Suggestion(score="residual", rule="validation", params={"threshold": 0.4})
        folder = save(tmp_path / "mine", suggestions=(suggestion,))
        values = json.loads((folder / CARD).read_text())
        change(values)
        (folder / CARD).write_text(json.dumps(values))
        return folder

    return edit


def test_a_whole_card_has_nothing_to_be_said_of(edited):
    assert zoo.load_card(edited(lambda values: None)).remarks == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("suggestions", ()), ("description", ""), ("training", {}), ("parents", ()), ("statistics", ())],
)
def test_a_missing_key_is_the_default_and_said(edited, name, value):
    folder = edited(lambda values: values.pop(name))
    card = zoo.load_card(folder)
    assert getattr(card, name) == value
    (remark,) = card.remarks
    assert remark.startswith(f"{folder / CARD}: {name} is missing and taken as ")


@pytest.mark.parametrize("name", ["notes", "contrast", "mirror_average"])
def test_what_is_written_only_where_it_is_used_is_not_missed(edited, name):
    assert zoo.load_card(edited(lambda values: values.pop(name, None))).remarks == ()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda values: values.update(colour="red"), "colour"),
        (lambda values: values["suggestions"][0].update(sure=True), "suggestions.sure"),
    ],
)
def test_a_key_of_a_newer_version_is_ignored_and_named(edited, change, named):
    folder = edited(change)
    (remark,) = zoo.load_card(folder).remarks
    assert remark.startswith(f"{folder / CARD}: {named}: not known to this version, and ignored")
    assert zoo.load_model(folder, "cpu").sha256


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda values: values["spec"].update(dropout=0.1), "spec.dropout"),
        (lambda values: values["preprocessing"].update(sharpened=True), "preprocessing.sharpened"),
    ],
)
def test_a_key_that_would_change_the_result_is_refused_and_named(edited, change, named):
    with pytest.raises(ModelError, match=f"{named}: not known to this version") as caught:
        zoo.load_card(edited(change))
    assert "update napari-cead" in one_sentence(caught)


def test_a_detection_says_what_its_model_is_missing(edited):
    def change(values):
        values["colour"] = "red"
        values["suggestions"][0]["params"]["opening"] = 3

    volume = np.zeros((4, 24, 24), np.float32)
    volume[:, 4:20, 5:19] = np.random.default_rng(0).uniform(50, 100, (4, 16, 14))
    patient = cead.patients.Patient.from_arrays({"flair": volume}, spacing=(1.0, 0.94, 0.94))
    result = cead.detect(patient, zoo.load_model(edited(change), "cpu"))
    assert result.params == cead.PostprocessParams(threshold=0.4)
    assert any("colour: not known to this version" in note for note in result.warnings)
    assert any("suggests opening, which this version does not know" in note for note in result.warnings)


def test_writing_a_card_anew_says_what_is_left_out(edited, tmp_path):
    folder = edited(lambda values: values.update(colour="red"))
    with pytest.warns(CeadWarning, match="colour: not known to this version, and ignored"):
        zoo.export_model(folder, tmp_path / "out")


@pytest.mark.parametrize("packed", [False, True])
def test_installing_a_card_says_what_is_left_out(edited, tmp_path, monkeypatch, packed):
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(tmp_path / "home"))
    source = edited(lambda values: values.update(colour="red"))
    if packed:
        source = Path(shutil.make_archive(str(tmp_path / "model"), "zip", source))
    with pytest.warns(CeadWarning, match="colour: not known to this version, and ignored"):
        zoo.install_model(source, "newer")
