"""What an evaluation writes, from one made by hand."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from napari_cead.atomic import to_json
from napari_cead.metrics import PatientCounts
from napari_cead.report.paired_comparison import compare_twins
from napari_cead.report.report import (
    described,
    per_lesion_csv,
    per_patient_csv,
    results_csv,
    table,
)
from napari_cead.report.results import (
    Curve,
    Evaluation,
    LesionRecord,
    ModelSummary,
    PatientFigures,
    Row,
    SlicePicture,
)
from napari_cead.report.table import printed

QUALITY = {"psnr": 20.0, "psnr_brain": 18.0, "ssim": 0.8, "slices": 3}
PLANE = np.zeros((2, 2), dtype=np.float32)


def figures(name, seed, hd95):
    mask, reference = np.random.default_rng(seed).random((2, 3, 6, 6)) < 0.3
    lesions = (LesionRecord(4.0, 33.5, 1.0, True), LesionRecord(12.0, 904.8, 0.0, False))
    return PatientFigures(name, PatientCounts.of(mask, reference), 1.0, 2.0, 2, 1, 4, 3, lesions, hd95)


def row(model, seed, sequence):
    patients = [figures("p1", seed, 3.0), figures("p2", seed + 1, math.nan)]
    return Row.of(
        model, "residual", "validation", None, patients, ranking=(0.7, 0.25), sequence=sequence, resamples=20
    )


@pytest.fixture(params=[("flair",), ("flair", "t1gd")], ids=["one sequence", "two sequences"])
def evaluation(request):
    rows = tuple(
        row(model, seed, sequence)
        for seed, sequence in enumerate(request.param)
        for model, seed in (("a", seed), ("b", seed + 7))
    )
    architectures = {"a": "ce-ae", "b": "ae"}
    models = tuple(
        ModelSummary(name, architecture, Path(name), "0", "cpu", QUALITY)
        for name, architecture in architectures.items()
    )
    return Evaluation(
        Path("cohort"),
        request.param[0],
        None,
        0,
        20,
        0.995,
        rows,
        models,
        {"train": ("p0",), "validation": (), "test": ("p1", "p2")},
        sequences=request.param,
        twins=compare_twins(rows, architectures, 20),
        curves=(Curve("a", "residual", "flair", (0.1, 0.2), (0.3, math.nan), (), (), 2),),
        pictures=(
            SlicePicture(
                "a",
                "residual",
                "validation",
                "flair",
                "best",
                "p1",
                2,
                0.5,
                PLANE,
                PLANE,
                PLANE,
                PLANE > 0,
                PLANE > 0,
            ),
        ),
    )


def test_results_json_holds_everything_but_pictures(evaluation):
    stored = json.loads(to_json(described(evaluation)))
    assert stored["schema_version"] == 2
    assert stored["sequences"] == list(evaluation.sequences)
    assert "pictures" not in stored
    first = stored["rows"][0]
    assert (first["sequence"], first["hd95"], first["hd95_patients"]) == ("flair", 3.0, 1)
    assert (first["lesion_precision"], first["auprc"], first["average_precision"]) == (0.25, 0.25, 0.25)
    assert [item["lesions"] for item in first["strata"]] == [2, 0, 2, 0]
    assert [item["sensitivity"] for item in first["strata"]] == [1.0, None, 0.0, None]
    assert first["strata"][3]["high_mm"] is None
    assert first["per_patient"][0]["lesion_records"][1] == {
        "diameter_mm": 12.0,
        "volume_mm3": 904.8,
        "overlap_mm3": 0.0,
        "found": False,
    }
    assert [item["hd95"] for item in first["per_patient"]] == [3.0, None]
    assert len(stored["twins"]) == 4 * len(evaluation.sequences)
    assert stored["twins"][0]["interval"] == list(evaluation.twins[0].interval)
    assert stored["curves"][0]["raw_dice_pooled"] == [0.3, None]


def test_csv_files_have_the_new_columns_behind_the_old_ones(evaluation):
    lines = list(csv.DictReader(io.StringIO(results_csv(evaluation))))
    columns = list(lines[0])
    assert columns[columns.index("average_precision") + 1] == "auprc"
    assert columns[columns.index("note") + 1 :] == [
        *("sequence", "hd95", "hd95_patients", "lesion_precision"),
        *("sensitivity_lt5", "lesions_lt5", "sensitivity_5_10", "lesions_5_10"),
        *("sensitivity_10_20", "lesions_10_20", "sensitivity_gt20", "lesions_gt20"),
        *("chosen_by", "edge", "fold_thresholds"),
        *(
            "lesion_f1",
            *(f"froc_{number}" for number in ("0.125", "0.25", "0.5", "1", "2", "4", "8")),
            "froc_mean",
        ),
        *("healthy_patients", "healthy_ml", "method"),
        "trained_on_patients",
        *("dice_ceiling", "aupro", "lesionwise_dice", "lesionwise_hd95", "healthy_above"),
        *("mixture_dice_pooled", "mixture_dice_patient", "mixture_dice_lesion_slices"),
        *("mixture_dice_all_slices", "mixture_dice_all_slices_zero", "mixture_dice_nonempty_slices"),
    ]
    assert [line["sequence"] for line in lines] == [item.sequence for item in evaluation.rows]
    assert [line["psnr"] for line in lines] == ["20.0" * (line["sequence"] == "flair") for line in lines]
    found = lines[0]
    assert (found["sensitivity_lt5"], found["lesions_lt5"]) == ("1.0", "2")
    assert (found["sensitivity_5_10"], found["lesions_5_10"]) == ("", "0")
    assert (found["sensitivity_10_20"], found["lesions_10_20"]) == ("0.0", "2")
    assert (found["hd95"], found["auprc"], found["lesion_precision"]) == ("3.0", "0.25", "0.25")
    patients = list(csv.DictReader(io.StringIO(per_patient_csv(evaluation))))
    assert [line["hd95"] for line in patients[:2]] == ["3.0", ""]
    assert "lesion_records" not in patients[0]


def test_every_lesion_is_a_line(evaluation):
    lines = list(csv.DictReader(io.StringIO(per_lesion_csv(evaluation))))
    assert len(lines) == 4 * len(evaluation.rows)  # two patients with two lesions each
    assert lines[1] == {
        "patient": "p1",
        "model": "a",
        "rule": "validation",
        "score": "residual",
        "sequence": "flair",
        "lesion": "2",
        "diameter_mm": "12.0",
        "volume_mm3": "904.8",
        "overlap_mm3": "0.0",
        "found": "False",
    }


def test_the_terminal_shows_what_the_table_shows(evaluation):
    first, *lines = printed(evaluation)
    assert first.split()[:5] == ["model", "rule", "score", "dice_patient", "dice_pooled"]
    for line, found in zip(lines, evaluation.rows, strict=True):
        assert line.split()[:3] == [found.model, "validation", "residual"]
        assert line.split()[3] == f"{found.averages.dice_patient:.3f}"


def test_the_table_shows_sizes_twins_and_which_patient_was_which(evaluation):
    text = table(evaluation)
    several = len(evaluation.sequences) > 1
    sequence = "flair | " if several else ""
    assert f"| a | residual | validation | {sequence}1.000 [1.000, 1.000] (2 of 2) | – | 0.000" in text
    twins = {item.average: item for item in evaluation.twins if item.sequence == "flair"}
    low, high = twins["dice_pooled"].interval
    shown = f"{twins['dice_pooled'].difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    assert f"| a | b | residual | validation | {sequence}{shown} |" in text
    assert "- test (2): p1, p2" in text
    assert "- validation (0): –" in text
    assert ("| sequence |" in text) is several
    lines = text.splitlines()
    assert ("at least 15 % brain), sequence flair." in text) is several
    rules = [number for number, line in enumerate(lines) if line.startswith("| ---")]
    assert len(rules) == 4  # figures, models, sizes, twins
    for number in rules:
        assert lines[number - 1].count("|") == lines[number].count("|") == lines[number + 1].count("|")
