"""The columns of every table."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from napari_cead.atomic import to_json
from napari_cead.metrics import FALSE_POSITIVES, PatientCounts
from napari_cead.metrics.patient_figures import LesionRecord, PatientFigures
from napari_cead.report.columns import COLUMNS, columns, row_values
from napari_cead.report.html.page import FIGURES, MORE, RANKING
from napari_cead.report.report import described, results_csv
from napari_cead.report.results import Evaluation, Row
from napari_cead.widgets.evaluate.evaluation_table import COLUMNS as OF_DOCK
from napari_cead.widgets.evaluate.evaluation_table import read_results


@pytest.fixture
def evaluation(tmp_path):
    rng = np.random.default_rng(5)
    patients = []
    for name in ("a", "b", "c"):
        mask, reference = rng.random((2, 4, 8, 8)) < 0.3
        lesions = (LesionRecord(12.0, 904.0, 452.0, True),)
        counts = PatientCounts.of(mask, reference)
        patients.append(PatientFigures(name, counts, 1.0, 2.0, 1, 1, 4, 3, lesions, 3.5))
    froc = tuple(number / 10 for number in range(len(FALSE_POSITIVES)))
    row = Row.of(
        "m", "squared", "validation", None, patients, resamples=20, froc=froc, ranking=(0.7, math.nan)
    )
    return Evaluation(tmp_path, "flair", None, 0, 20, None, (row,), (), {"test": ("a", "b", "c")})


def test_a_row_reads_the_same_from_an_evaluation_and_from_its_file(evaluation):
    (stored,) = json.loads(to_json(described(evaluation)))["rows"]
    values = row_values(evaluation, evaluation.rows[0])
    (line,) = csv.DictReader(io.StringIO(results_csv(evaluation)))
    assert list(line) == [column.name for column in COLUMNS]
    for column in {*COLUMNS, *FIGURES, *MORE, *RANKING, *OF_DOCK}:
        assert column.cell(stored) == column.cell(values), column.name
    for column in COLUMNS:
        value = column.value(values)
        assert line[column.name] == ("" if value is None else str(value)), column.name


def test_columns_for_readers_have_a_title_and_a_meaning():
    for column in (*FIGURES, *MORE, *RANKING, *OF_DOCK):
        assert column.title and column.tip, column.name
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


def test_notes_stand_beside_their_figures(evaluation):
    values = row_values(evaluation, evaluation.rows[0])
    found = {column.name: column.cell(values) for column in COLUMNS}
    low, high = evaluation.rows[0].intervals["dice_pooled"]
    assert found["dice_pooled"] == f"{evaluation.rows[0].averages.dice_pooled:.3f} [{low:.3f}, {high:.3f}]"
    assert found["hd95"] == "3.5 (n = 3)"
    assert found["sensitivity_10_20"] == "1.000 [1.000, 1.000] (3 of 3)"
    assert found["sensitivity_lt5"] == found["auprc"] == "–"
    assert found["froc_0.5"] == "0.200"


def test_a_row_that_is_too_good_says_so(evaluation):
    (rule,) = columns("rule")
    values = row_values(evaluation, evaluation.rows[0]) | {"rule": "oracle", "optimistic": True}
    assert rule.text(values | {"trained_on_patients": 2}) == "oracle (optimistic) (trained on 2 of 3)"


def test_the_docks_tooltip_holds_the_further_figures_that_there_are(evaluation, tmp_path):
    row = replace(evaluation.rows[0], aupro=0.25, lesionwise_hd95=12.34, healthy_above=0.0123)
    file = tmp_path / "results.json"
    file.write_text(to_json(described(replace(evaluation, rows=(row,)))))
    (shown,) = read_results(file).rows
    lines = shown.tip.splitlines()
    assert {"AUPRO 0.250", "lesion-wise HD95 (mm) 12.3", "healthy above (%) 1.23"} <= set(lines)
    assert not any(line.startswith("Dice ceiling") for line in lines)
