"""Which settings a detection runs with, and where each of them is said to come from."""

import pytest

import napari_cead as cead
from model_folders import card
from napari_cead.detection.choosing import (
    Settled,
    Suggested,
    remarks,
    settings_line,
    settle,
    settle_by_value,
    settle_given,
    suggested,
    suggestions_for,
    threshold_doubt,
)
from napari_cead.detection.options import MAP_OPTIONS, MapOptions
from napari_cead.detection.params import PARAMETERS, PostprocessParams
from napari_cead.errors import ParameterError
from napari_cead.zoo import Suggestion

OWN = {"threshold": 0.05, "closing_radius": 1, "area_fraction": 0.2, "dilation_radius": 0}
MINE = card(
    suggestions=(
        Suggestion(score="positive-residual", rule="validation", params=OWN),
        Suggestion(score="residual", rule="healthy-quantile", params={"threshold": 0.3}),
    )
)
NAMES = {"score", *(row.name for row in (*PARAMETERS, *MAP_OPTIONS))}


def origins(settled, whence):
    return {name for name, value in settled.origins.items() if value == whence}


def test_by_default_the_threshold_alone_is_the_models():
    for settled in (settle(MINE), settle(MINE, "default")):
        assert (settled.score, settled.rule) == ("positive-residual", "validation")
        assert settled.params == PostprocessParams(threshold=0.05)
        assert settled.params.area_fraction == 0.6
        assert settled.options == MapOptions()
        assert origins(settled, "suggested") == {"score", "threshold"}
        assert origins(settled, "default") == NAMES - {"score", "threshold"}


def test_all_that_the_model_suggests_is_taken_if_asked_for():
    settled = settle(MINE, "suggested")
    assert settled.params == PostprocessParams(**OWN) == suggested(MINE)[1]
    assert origins(settled, "suggested") == {"score", *OWN}
    assert settled.params.inside_brain and settled.origins["inside_brain"] == "default"


def test_given_settings_are_given_and_so_is_the_score():
    params = PostprocessParams(threshold=0.5)
    settled = settle(MINE, params, "residual", MapOptions(smoothing_mm=1.0))
    assert (settled.params, settled.score, settled.rule) == (params, "residual", "given")
    assert origins(settled, "given") == NAMES
    assert settle(MINE, settled) is settled


def test_some_given_settings_leave_the_others():
    settled = settle_given(MINE, "suggested", None, {"dilation_radius": 4}, {"erosion_radius": 2})
    assert settled.params == PostprocessParams(**OWN | {"dilation_radius": 4})
    assert settled.rule == "validation", "that of the threshold"
    assert origins(settled, "given") == {"dilation_radius", "erosion_radius"}
    settled = settle_given(MINE, "default", None, {"threshold": 0.4}, {})
    assert (settled.rule, settled.params) == ("given", PostprocessParams(threshold=0.4))


def test_a_model_that_suggests_nothing_has_the_defaults():
    for start in (None, "suggested"):
        settled = settle(card(), start)
        assert (settled.score, settled.params, settled.rule) == ("residual", PostprocessParams(), "default")
        assert origins(settled, "default") == NAMES


def test_another_word_is_refused():
    with pytest.raises(ParameterError, match="default or suggested, not 'best'"):
        settle(MINE, "best")


def test_a_suggestion_of_a_newer_version_is_used_without_what_is_unknown_and_named():
    newer = card(
        suggestions=(Suggestion(score="residual", rule="x", params={"threshold": 0.3, "opening": 2}),)
    )
    assert suggestions_for(newer, "residual") == (Suggested("x", PostprocessParams(threshold=0.3)),)
    (note,) = remarks(newer)
    assert "suggests opening, which this version does not know" in note
    assert remarks(MINE) == ()


def test_a_suggested_score_of_a_newer_version_is_passed_over_and_named():
    newer = card(
        suggestions=(
            Suggestion(score="colours", rule="x", params={"threshold": 0.3}),
            Suggestion(score="squared", rule="x", params={"threshold": 0.1}),
        )
    )
    assert settle(newer).score == "squared"
    (note,) = remarks(newer)
    assert "suggests the score colours, which this version does not know" in note


@pytest.mark.parametrize(
    ("changes", "rule", "given"),
    [
        ({}, "validation", set()),
        ({"dilation_radius": 0}, "validation", {"dilation_radius"}),  # as suggested, but not all of it
        ({"threshold": 0.4}, "given", {"threshold"}),
        ({"threshold": 0.2}, "default", set()),
    ],
)
def test_what_was_moved_by_hand_is_told_by_its_value(changes, rule, given):
    start = settle(MINE)
    found, whence = settle_by_value(
        "suggested", suggestions_for(MINE, start.score), start.params.replace(**changes), MapOptions()
    )
    assert found == rule
    assert {name for name, value in whence.items() if value == "given"} == given
    assert set(whence) == NAMES


def test_all_settings_as_suggested_are_suggested():
    _, whence = settle_by_value(
        "given",
        suggestions_for(MINE, "positive-residual"),
        PostprocessParams(**OWN),
        MapOptions(smoothing_mm=1.0),
    )
    assert {name for name, value in whence.items() if value == "suggested"} == set(OWN)
    assert {name for name, value in whence.items() if value == "given"} == {"score", "smoothing_mm"}


def test_one_line_says_all_settings_and_where_they_come_from():
    settled = settle_given(MINE, "default", None, {"dilation_radius": 3, "inside_brain": False}, {})
    described = {
        "score": settled.score,
        "rule": settled.rule,
        "params": settled.params.model_dump(),
        "options": settled.options.model_dump(),
        "origins": settled.origins,
    }
    assert settings_line(described) == (
        "positive-residual (suggested), threshold 0.05 (suggested: validation), dilation 3, outside-brain (given), "
        "closing 2, area-fraction 0.6, min-area 0, smoothing 0, erosion 0 (default)"
    )


def test_detect_takes_the_words_and_says_what_it_took(patient_folder, model_folder):
    patient = cead.load_patient(patient_folder)
    detector = cead.load_model(model_folder, device="cpu")
    result = cead.detect(patient, detector)
    assert (result.rule, result.origins["threshold"]) == ("validation", "suggested")
    assert result.params == PostprocessParams(threshold=0.7)
    assert isinstance(settle(detector.card), Settled)
    whole = cead.detect(patient, detector, "suggested")
    assert whole.params == suggested(detector.card)[1]


def test_a_threshold_that_was_suggested_for_other_maps_says_so():
    def line(settled):
        values = {name: getattr(settled, name).model_dump(mode="json") for name in ("params", "options")}
        described = {"score": settled.score, "rule": settled.rule, "origins": settled.origins, **values}
        return settings_line(described)

    both = settle(MINE, options=MapOptions(smoothing_mm=1.0, erosion_radius=2))
    (said,) = threshold_doubt(both.origins, both.options)
    assert said == (
        "the suggested threshold was searched without smoothing and erosion of the map, which moves its values: give a "
        "threshold that was chosen with them"
    )
    assert "threshold 0.05 (suggested: validation, searched without smoothing and erosion)" in line(both)
    one = settle(MINE, "suggested", options=MapOptions(erosion_radius=2))
    assert threshold_doubt(one.origins, one.options)[0].endswith("chosen with it")
    assert "(suggested: validation, searched without erosion)" in line(one)
    given = settle(MINE, PostprocessParams(threshold=0.05), options=MapOptions(smoothing_mm=1.0))
    for settled in (given, settle(MINE), settle(card(), options=MapOptions(smoothing_mm=1.0))):
        assert threshold_doubt(settled.origins, settled.options) == ()
        assert "searched" not in line(settled)
