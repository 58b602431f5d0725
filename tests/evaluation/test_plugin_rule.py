"""A threshold rule of another package stands in the tables beside those of this one."""

from __future__ import annotations

import json

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.calibration.rules import rule_order
from napari_cead.detection.rules import RULES, Candidates, title_of
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.evaluation import calibrate, evaluate
from napari_cead.report.table import few_choosers
from napari_cead.training import prepare
from small_stores import SIZE

NAME = "example-typical"
pytestmark = pytest.mark.usefixtures("plugin", "quiet")


@pytest.mark.parametrize("folds", [None, 3])
def test_it_has_its_row_in_every_table_with_the_settings_that_it_chose(cohort, model, split, tmp_path, folds):
    out = tmp_path / "out"
    where = {"folds": folds} if folds else {"split": split}
    evaluation = evaluate(cohort, [model], out, scores=["residual"], device="cpu", resamples=20, **where)
    rows = {row.rule: row for row in evaluation.rows if (row.model, row.score) == ("mine", "residual")}
    assert list(rows) == ["healthy-quantile", "validation", "oracle", NAME]
    found = rows[NAME]
    assert found.averages is not None
    assert not found.optimistic
    assert found.chosen_on == ("other folds" if folds else "validation patients")
    assert rows["oracle"].averages.dice_patient >= found.averages.dice_patient
    for file in ("table.md", "results.csv", "report.html"):
        assert NAME in (out / file).read_text(encoding="utf-8"), file
    about = "the highest median Dice of the validation patients"
    assert about in " ".join((out / "report.html").read_text(encoding="utf-8").split())
    saved = json.loads((out / "results.json").read_text())
    assert any(row["rule"] == NAME for row in saved["rows"])
    assert few_choosers(evaluation)
    if folds:
        return
    # No settings that were tried have a higher median Dice of the two validation patients.
    detector, scores = cead.load_model(model, device="cpu"), []
    for params in (found.params, rows["validation"].params, rows["healthy-quantile"].params):
        made = [
            cead.detect(cead.load_patient(cohort / name), detector, params, "residual")
            for name in ("Mets_002", "Mets_003")
        ]
        scores.append(np.median(np.nan_to_num([result.dice for result in made])))
    assert scores[0] == max(scores)


def test_it_is_left_out_where_it_is_not_asked_for(cohort, model, split, tmp_path):
    evaluation = evaluate(
        cohort,
        [model],
        tmp_path / "out",
        split=split,
        scores=["residual"],
        rules=["validation"],
        device="cpu",
    )
    assert {row.rule for row in evaluation.rows} == {"validation", "none"}


def test_lists_and_texts_have_it():
    assert title_of(NAME) == "best for a typical patient"
    assert RULES.names == ("healthy-quantile", "validation", "oracle", NAME)
    assert rule_order(20) == ("validation", NAME, "healthy-quantile", "oracle")
    assert rule_order(1) == ("healthy-quantile", "validation", NAME, "oracle")
    nothing = Candidates(ScoreHistograms.empty(4))
    assert [rule.choose(nothing) for rule in RULES] == [None] * 4


def test_a_card_may_name_a_rule_that_is_not_there():
    assert title_of("by-the-moon") == "by-the-moon"


def test_a_calibration_takes_in_scores_and_rules_of_other_packages(untouched, split, model, tmp_path):
    store = prepare(untouched, tmp_path / "store", split=split, image_size=SIZE, min_brain=0.05)
    suggestions = calibrate(cead.load_model(model, device="cpu"), store).suggestions
    suggested = [(item.rule, item.score) for item in suggestions]
    assert ("healthy-quantile", "example-unsteady") in suggested
    assert {score for rule, score in suggested if rule == NAME} == {"residual", "positive-residual"}
    assert suggested[0][0] == "validation"  # what a user starts from is as it was
