"""Patients that a model was trained on are marked in every output of an evaluation."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import napari_cead as cead
from napari_cead.calibration.finishing import finish
from napari_cead.cli import run
from napari_cead.detection.baselines import BASELINES
from napari_cead.evaluation import evaluate
from napari_cead.slices import slice_marks
from napari_cead.training import prepare, train
from napari_cead.zoo import Parent, load_card, load_model, save_model
from napari_cead.zoo.recognising import recognised, was_trained_on
from small_stores import SIZE, settings

WORDS = "mine was trained on 2 of the 3 reported patients (Mets_004, Mets_005): its figures are too good"


def with_marks(model, folder, *trainings, parents=()):
    loaded = load_model(model)
    chain = tuple(Parent(name=name, sha256="0" * 64) for name in parents)
    return save_model(
        loaded.module, loaded.card.model_copy(update={"trained_on": trainings, "parents": chain}), folder
    )


def marks_of(*places):
    return [slice_marks(cead.load_patient(place).volume()) for place in places]


@pytest.fixture(scope="module")
def leaking(untouched, split, model, tmp_path_factory):
    """An evaluation of a model that knows two of the three reported patients, with its output folder."""
    folder = tmp_path_factory.mktemp("leaking")
    marks = marks_of(untouched / "Mets_001", untouched / "Mets_004", untouched / "Mets_005")
    place = with_marks(model, folder / "mine", recognised(marks))
    return evaluate(
        untouched, [place], folder / "out", split=split, device="cpu", resamples=20
    ), folder / "out"


def test_every_row_of_the_model_says_which_patients_and_no_baseline_does(leaking):
    found, _ = leaking
    rows = [row for row in found.rows if row.averages is not None]
    assert {row.rule for row in rows if row.model == "mine"} >= {"healthy-quantile", "validation", "oracle"}
    for row in rows:
        assert row.trained_on == (("Mets_004", "Mets_005") if row.model == "mine" else ())
    assert found.warnings.count(WORDS) == 1


def test_every_file_marks_them(leaking):
    _, out = leaking
    values = json.loads((out / "results.json").read_text())
    for row in values["rows"]:
        seen = ["Mets_004", "Mets_005"] if row["model"] == "mine" else []
        assert row["trained_on"] == seen and row["trained_on_patients"] == len(seen)
        assert [one["patient"] for one in row["per_patient"] if one["trained_on"]] == seen
    assert WORDS in values["warnings"]
    with (out / "results.csv").open() as stream:
        assert {(row["model"] == "mine", row["trained_on_patients"]) for row in csv.DictReader(stream)} == {
            (True, "2"),
            (False, "0"),
        }
    with (out / "per_patient.csv").open() as stream:
        for row in csv.DictReader(stream):
            seen = row["model"] == "mine" and row["patient"] in ("Mets_004", "Mets_005")
            assert row["trained_on"] == str(seen)
    table = (out / "table.md").read_text()
    assert f"- {WORDS}" in table and "| oracle (optimistic) (trained on 2 of 3) |" in table
    page = (out / "report.html").read_text()
    assert WORDS in page and '<span class="badge">trained on 2 of 3</span>' in page


def test_the_command_line_warns(untouched, split, leaking, tmp_path, capsys):
    model = leaking[1].parent / "mine"
    arguments = ["evaluate", untouched, "--models", model, "--split", split, "--out", tmp_path / "out"]
    assert (
        run([str(each) for each in (*arguments, "--workers", 1, "--device", "cpu", "--scores", "residual")])
        == 0
    )
    assert f"warning: {WORDS}\n" in capsys.readouterr().err


def test_a_validation_patient_that_was_trained_on_is_said(untouched, split, model, tmp_path):
    place = with_marks(model, tmp_path / "mine", recognised(marks_of(untouched / "Mets_002")))
    options = {"split": split, "device": "cpu", "resamples": 20, "report": False, "scores": ["residual"]}
    found = evaluate(untouched, [place], tmp_path / "out", **options)
    assert "mine was trained on a validation patient, which chooses its settings (Mets_002)" in found.warnings
    assert {row.trained_on for row in found.rows if row.averages} == {()}


@pytest.mark.parametrize("parents", [(), ("base",)])
def test_of_a_card_that_does_not_tell_nothing_is_claimed(untouched, split, model, tmp_path, parents):
    own = (
        [recognised(marks_of(untouched / "Mets_001"))] if parents else []
    )  # the parent's scans are not known
    place = with_marks(model, tmp_path / "mine", *own, parents=parents)
    options = {"split": split, "device": "cpu", "resamples": 20, "scores": ["residual"], "rules": ["oracle"]}
    found = evaluate(untouched, [place], tmp_path / "out", **options)
    assert {row.model: row.trained_on for row in found.rows}["mine"] is None
    assert not any("too good" in text for text in found.warnings)
    words = "Not known for mine: the card does not say which scans the model"
    assert words in (tmp_path / "out" / "table.md").read_text()
    assert "Not known for mine: whether it was trained" in (tmp_path / "out" / "report.html").read_text()
    values = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["model"]: row["trained_on_patients"] for row in values["rows"]} == {
        "mine": None,
        **{f"flair-{name}": 0 for name in BASELINES},
        "nothing": 0,
    }


def test_a_picture_that_was_trained_on_is_recognised_in_the_volume_and_the_other_way_round(
    tmp_path, untouched
):
    """Trained on single pictures, and fine-tuned on volumes: both are known, whatever they are called."""
    pictures = tmp_path / "pictures" / "flair"
    pictures.mkdir(parents=True)
    for number in range(4):
        volume = cead.load_patient(untouched / f"Mets_00{number + 1}").volume()
        grey = np.rint(volume[2] / volume.max() * 255).astype(np.uint8)
        Image.fromarray(grey).save(pictures / f"case-{number}.png")
    options = {"image_size": SIZE, "validation": 0.25, "test": 0, "assume_healthy": True, "min_brain": 0.05}
    first = prepare(tmp_path / "pictures", tmp_path / "first", **options)
    base = finish(train(settings(epochs=1), first, tmp_path / "base").run)
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["Mets_005"], "validation": ["Mets_006"]}))
    second = prepare(untouched, tmp_path / "second", image_size=SIZE, split=split, min_brain=0.05)
    tuned = load_card(finish(train(settings(epochs=1), second, tmp_path / "tuned", init_from=base).run))
    trained = {patient.name for patient in first.patients_of("train")}
    assert len(tuned.trained_on) == 2 and len(trained) == 3
    for number in range(4):
        (picture,) = [slice_marks(np.asarray(Image.open(pictures / f"case-{number}.png"), np.float32)[None])]
        assert was_trained_on(tuned, picture) == (f"case-{number}" in trained)
    assert was_trained_on(tuned, marks_of(untouched / "Mets_005")[0]) is True
    assert was_trained_on(tuned, marks_of(untouched / "Mets_006")[0]) is False  # it chose the threshold
    (tuned_on,) = {len(each.patients) for each in tuned.trained_on[:1]}
    assert tuned_on == 1
