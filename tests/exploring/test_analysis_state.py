"""Which settings an analysis starts with."""

from types import SimpleNamespace

import pytest

from model_folders import card
from napari_cead.detection import PostprocessParams
from napari_cead.detection.choosing import Suggested, preferred_score, suggestions_for
from napari_cead.exploring.analysis_state import carried_over
from napari_cead.zoo import Suggestion

DEFAULT = PostprocessParams()


def analysis(score, start, **chosen):
    return SimpleNamespace(score=score, start=start, params=start.replace(**chosen))


def suggested(**params):
    return (Suggested("validation", DEFAULT.replace(**params)),)


def test_the_suggestions_of_a_score_in_the_order_of_the_card():
    mine = card(
        suggestions=(
            Suggestion(score="squared", rule="validation", params={"threshold": 0.5}),
            Suggestion(score="residual", rule="validation", params={"threshold": 0.3}),
            Suggestion(score="residual", rule="healthy-quantile", params={"closing_radius": 2}),
        )
    )
    assert preferred_score(mine) == "squared"
    assert suggestions_for(mine, "residual") == (
        Suggested("validation", DEFAULT.replace(threshold=0.3)),
        Suggested("healthy-quantile", DEFAULT.replace(closing_radius=2)),
    )
    assert suggestions_for(mine, "intensity") == (Suggested("default", DEFAULT),)
    assert preferred_score(card()) == "residual"


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("residual", "positive-residual", True),
        ("positive-residual", "residual", True),
        ("residual", "squared", False),
        ("kl-gradient", "combined", False),
        ("intensity", "residual", False),
    ],
)
def test_a_threshold_is_kept_where_it_means_the_same(old, new, kept):
    before = analysis(old, DEFAULT, threshold=0.61)
    params = carried_over(before, new, suggested(threshold=0.33))
    assert params.threshold == (0.61 if kept else 0.33)


def test_radii_are_kept_if_they_were_chosen():
    before = analysis("residual", DEFAULT.replace(threshold=0.4), dilation_radius=9, area_fraction=0.1)
    params = carried_over(before, "squared", suggested(threshold=0.2, closing_radius=7, dilation_radius=1))
    assert params == DEFAULT.replace(threshold=0.2, dilation_radius=9, area_fraction=0.1)


def test_what_was_only_suggested_is_not_carried_over():
    before = analysis("residual", DEFAULT.replace(threshold=0.9))
    assert carried_over(before, "positive-residual", suggested(threshold=0.4)) == DEFAULT.replace(
        threshold=0.4
    )
