"""A step of another package acts in its place, and its setting is everywhere where settings are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import disk

import napari_cead as cead
from napari_cead.cli import run
from napari_cead.detection import PostprocessParams, postprocess, save_detection, steps
from napari_cead.detection.choosing import remarks, suggestions_for
from napari_cead.detection.postprocessing import StagedPostprocessor
from napari_cead.errors import ParameterError
from napari_cead.exploring.curves import processed_curve
from napari_cead.exploring.settings_file import read_settings
from napari_cead.plugins import refresh_all
from napari_cead.zoo import Suggestion

NAME = "example_opening"


@pytest.fixture
def maps():
    rng = np.random.default_rng(2)
    volume = ndimage.gaussian_filter(rng.random((6, 50, 60)), (0, 2, 2)).astype(np.float32)
    volume = (volume - volume.min()) / np.ptp(volume)
    brain = ndimage.gaussian_filter(rng.random(volume.shape), (0, 4, 4)) > 0.49
    return volume, brain


def by_definition(pixels, params, brain, after):
    """The definition of one slice, with an opening after one of the settings."""

    def opened(mask, place):
        radius = params.example_opening
        return ndimage.binary_opening(mask, disk(radius)) if place == after else mask

    radius = params.closing_radius
    mask = np.pad(opened(pixels > params.threshold, "threshold"), max(radius, 1))
    mask = ndimage.binary_closing(mask, disk(radius)) if radius else mask
    inner = slice(max(radius, 1), -max(radius, 1))
    mask = opened(ndimage.binary_fill_holes(mask)[inner, inner], "closing_radius")
    labels, count = ndimage.label(ndimage.binary_fill_holes(mask), np.ones((3, 3)))
    if count:
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        keep = areas >= params.area_fraction * areas.max()
        keep[0] = False
        mask = keep[labels]
    mask = opened(mask, "area_fraction")
    mask = ndimage.binary_dilation(mask, disk(params.dilation_radius)) if params.dilation_radius else mask
    mask = opened(mask, "dilation_radius")
    mask = mask & brain if params.inside_brain else mask
    return opened(mask, "inside_brain")


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    "after", ["threshold", "closing_radius", "area_fraction", "dilation_radius", "inside_brain"]
)
def test_it_acts_after_the_setting_that_it_names_and_stages_stay_exact(maps, after, monkeypatch):
    (step,) = steps.added()
    monkeypatch.setattr(step, "after", after, raising=False)
    steps._chain.cache_clear()
    monkeypatch.setattr(type(step), "after", after)
    volume, brain = maps
    staged, rng = StagedPostprocessor(volume, brain=brain), np.random.default_rng(0)
    params = PostprocessParams(threshold=0.5)
    differ = 0
    for _ in range(40):
        change = {
            "threshold": round(float(rng.uniform(0.3, 0.7)), 2),
            "closing_radius": int(rng.integers(0, 4)),
            "area_fraction": float(rng.choice([0.0, 0.2, 0.6])),
            "dilation_radius": int(rng.integers(0, 4)),
            "inside_brain": bool(rng.random() < 0.5),
            NAME: int(rng.integers(0, 4)),
        }
        name = str(rng.choice(list(change)))
        params = params.replace(**{name: change[name]})
        found = staged.volume(params)
        expected = np.stack(
            [by_definition(*each, after) for each in zip(volume, [params] * 6, brain, strict=True)]
        )
        np.testing.assert_array_equal(found, expected, err_msg=str(params))
        np.testing.assert_array_equal(postprocess(volume, params, brain=brain), expected)
        differ += bool((postprocess(volume, params.replace(example_opening=0), brain=brain) != found).any())
    assert differ > 5
    steps._chain.cache_clear()


@pytest.mark.usefixtures("plugin")
def test_a_curve_of_dice_is_exact_with_it(maps):
    volume, brain = maps
    reference = volume > 0.8
    params = PostprocessParams(example_opening=1)
    curve = processed_curve(volume, reference, params, brain=brain, thresholds=[0.3, 0.5, 0.7])
    for threshold in (0.3, 0.5, 0.7):
        mask = postprocess(volume, params.replace(threshold=threshold), brain=brain)
        assert curve.at(threshold) == pytest.approx(cead.dice(mask, reference))


def test_its_setting_is_there_with_the_package_and_only_then(request):
    with pytest.raises(ParameterError, match=NAME):
        PostprocessParams(example_opening=1)
    assert NAME not in PostprocessParams().model_dump()
    request.getfixturevalue("plugin")
    params = PostprocessParams(example_opening=np.int64(3))
    assert params.example_opening == 3 and params.model_dump()[NAME] == 3
    assert PostprocessParams().model_dump()[NAME] == 0
    assert params != PostprocessParams() == params.replace(example_opening=0)
    names = PostprocessParams.names()
    assert names[names.index("area_fraction") + 1] == NAME
    for wrong in (-1, 11, 1.5, True, "2"):
        with pytest.raises(ParameterError, match="example_opening must be a whole number from 0 to 10, not "):
            PostprocessParams(example_opening=wrong)


@pytest.mark.usefixtures("quiet")
def test_it_is_saved_read_and_replayed_to_the_byte(patient_folder, model_folder, tmp_path, capsys, request):
    site = request.getfixturevalue("plugin")
    assert run(["detect", "--help"]) == 0
    assert "--example-opening" in capsys.readouterr().out
    patient, detector = cead.load_patient(patient_folder), cead.load_model(model_folder, device="cpu")
    params = PostprocessParams(threshold=0.3, example_opening=9)
    result = cead.detect(patient, detector, params, score="intensity")
    assert (
        result.mask != cead.detect(patient, detector, params.replace(example_opening=0), "intensity").mask
    ).any()
    out = tmp_path / "export"
    facts = save_detection(result, out)
    assert facts["params"][NAME] == 9
    command = facts["command"]["argv"]
    assert command[command.index("--example-opening") + 1] == "9"
    assert run(command[1:]) == 0
    again = json.loads((out / "replay" / "detection.json").read_text())
    assert (again["params"], again["files"]["mask.nii.gz"]) == (
        facts["params"],
        facts["files"]["mask.nii.gz"],
    )
    assert read_settings(out).params == params
    assert site.exists()


@pytest.mark.usefixtures("quiet")
def test_files_with_and_without_its_setting_can_be_read_either_way(
    patient_folder, model_folder, tmp_path, monkeypatch, request, capsys
):
    patient, detector = cead.load_patient(patient_folder), cead.load_model(model_folder, device="cpu")
    save_detection(cead.detect(patient, detector), tmp_path / "before")
    request.getfixturevalue("plugin")
    (note,) = read_settings(tmp_path / "before").notes
    assert NAME in note and "0" in note
    facts = save_detection(cead.detect(patient, detector), tmp_path / "default")
    assert "--example-opening" not in facts["command"]["argv"]  # it works without the package
    save_detection(cead.detect(patient, detector, PostprocessParams(example_opening=2)), tmp_path / "with")
    monkeypatch.setattr("napari_cead.plugins.entry_points", lambda group: ())
    refresh_all()
    read = read_settings(tmp_path / "with")
    assert NAME not in read.params.model_dump()
    (note,) = read.notes
    assert NAME in note and "package" in note
    capsys.readouterr()
    assert run(["detect", "--help"]) == 0
    assert "--example-opening" not in capsys.readouterr().out


def test_a_card_may_suggest_it(model_folder, request):
    card = cead.load_model(model_folder, device="cpu").card
    suggestion = Suggestion(score="residual", rule="validation", params={"threshold": 0.4, NAME: 2})
    card = card.model_copy(update={"suggestions": (suggestion,)})
    assert suggestions_for(card, "residual")[0].params == PostprocessParams(threshold=0.4)
    assert any(NAME in remark and "install the package" in remark for remark in remarks(card))
    request.getfixturevalue("plugin")
    assert suggestions_for(card, "residual")[0].params.example_opening == 2
    assert remarks(card) == card.remarks
