"""Figures of groups of patients: which table says what, and what is written."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_cead.metrics import PatientCounts
from napari_cead.report.groups import groups_of
from napari_cead.report.html import html_report
from napari_cead.report.leading import leading_rows
from napari_cead.report.report import by_group_csv, per_lesion_csv, write_report
from napari_cead.report.results import Evaluation, LesionRecord, ModelSummary, PatientFigures, Row
from napari_cead.report.table import table
from napari_cead.store.cohort_split import Member

NAMES = ("sub-1_ses-1", "sub-1_ses-2", "sub-2", "sub-3")
MEMBERS = [Member(name, Path(name), "test") for name in NAMES]


def counts(seed):
    mask, reference = np.random.default_rng(seed).random((2, 3, 6, 6)) < 0.3
    reference[0] = False
    return PatientCounts.of(mask, reference)


def row(model, rule, seed):
    patients = [
        PatientFigures(
            name, counts(seed + place), 1, 2, 1, 1, 2, 1, (LesionRecord(4, 33, 1, True),), 2, 0.5, 9
        )
        for place, name in enumerate(NAMES)
    ]
    return Row.of(model, "residual", rule, None, patients, ranking=(0.9, 0.4), resamples=20, froc=(0.1,) * 7)


@pytest.fixture
def evaluation(tmp_path):
    rows = tuple(row(model, rule, seed) for seed, model in enumerate(MODELS) for rule in RULES)
    quality = {"psnr": 20.0, "psnr_brain": 18.0, "ssim": 0.8, "slices": 3}
    return Evaluation(
        tmp_path,
        "flair",
        None,
        0,
        20,
        None,
        rows,
        tuple(ModelSummary(name, "ce-vae1", Path(name), "0", "cpu", quality) for name in "ab"),
        {"test": NAMES},
        groups={"scanner": dict(zip(NAMES, ("A", "A", "B", "B"), strict=True))},
        mixture=(215, 204),
        layout="brainmetshare",
    )


MODELS = ("a", "b", "flair-tissue")
RULES = ("healthy-quantile", "validation", "oracle")


def test_a_table_of_persons_says_it_for_every_visit(tmp_path):
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tScanner\tcomment\nsub-1\t39.5\tA\tx\nsub-2\t61\tB\ty\nsub-3\tn/a\tB\tz\n"
    )
    groups, notes = groups_of(tmp_path, MEMBERS)
    assert notes == ()
    assert groups == {
        "age": dict(
            zip(NAMES, ("0 to 39 years", "0 to 39 years", "60 to 79 years", "not known"), strict=True)
        ),
        "scanner": dict(zip(NAMES, "AABB", strict=True)),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column is called participant_id"),
        ("", "no column"),
        (b"\xff\xfe\x00bad", "patients.csv"),
    ],
)
def test_a_table_that_cannot_be_read_is_said(tmp_path, text, said):
    (tmp_path / "patients.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    groups, notes = groups_of(tmp_path, MEMBERS)
    assert groups == {} and said in notes[0] and "\n" not in notes[0]


def test_what_all_share_makes_no_groups_and_the_layout_tells_sites(tmp_path):
    (tmp_path / "patients.csv").write_text("patient,sex\nsub-1,f\nsub-2,f\nsub-3,f\n")
    members = [replace(member, site=site) for member, site in zip(MEMBERS, "UUVV", strict=True)]
    groups, _ = groups_of(tmp_path, members)
    assert groups == {"site": dict(zip(NAMES, "UUVV", strict=True))}


def test_each_group_is_an_evaluation_of_its_patients_alone(evaluation):
    lines = list(csv.DictReader(io.StringIO(by_group_csv(evaluation))))
    assert {(line["by"], line["group"], line["model"], line["rule"]) for line in lines} == {
        ("scanner", group, model, "healthy-quantile") for group in "AB" for model in MODELS
    }
    own = [patient for patient in evaluation.rows[0].patients if patient.name in NAMES[:2]]
    dice = np.mean([patient.counts.total.dice() for patient in own])
    found = next(line for line in lines if (line["group"], line["model"]) == ("A", "a"))
    assert float(found["dice_patient"]) == pytest.approx(dice) and found["patients"] == "2"
    assert len(list(csv.DictReader(io.StringIO(by_group_csv(evaluation, every_rule=True))))) == 3 * len(lines)


def test_long_files_hold_the_leading_rule_unless_asked(evaluation, tmp_path):
    assert {row.rule for row in leading_rows(evaluation)} == {"healthy-quantile"}
    one = list(csv.DictReader(io.StringIO(per_lesion_csv(evaluation))))
    every = list(csv.DictReader(io.StringIO(per_lesion_csv(evaluation, every_rule=True))))
    assert len(one) == 3 * 4 and len(every) == 3 * len(one)
    # A model without figures under the leading rule is not lost.
    rows = (replace(evaluation.rows[0], averages=None), *evaluation.rows[1:])
    shown = leading_rows(replace(evaluation, rows=rows))
    assert {(row.model, row.rule) for row in shown} == {
        ("a", "validation"),
        ("b", "healthy-quantile"),
        ("flair-tissue", "healthy-quantile"),
    }
    names = {file.name for file in write_report(evaluation, tmp_path / "out")}
    assert "by_group.csv" in names
    assert "by_group.csv" not in {
        file.name for file in write_report(replace(evaluation, groups={}), tmp_path / "o")
    }


def test_lesionwise_figures_are_means_over_patients(evaluation):
    assert (evaluation.rows[0].lesionwise_dice, evaluation.rows[0].lesionwise_hd95) == (0.5, 9)


def test_tables_and_page_show_groups_mixture_and_the_new_figures(evaluation):
    text, page = table(evaluation), html_report(evaluation)
    for words in ("Groups of patients", "In the mixture of a published test set", "AUPRO", "Dice ceiling"):
        assert words in text
    for words in (
        "Groups of patients",
        "In the mixture of the published test set",
        "By scanner",
        "215 slices",
    ):
        assert words in page
    assert "lesion-wise Dice" in text and "lesion-wise Dice" in page
    bare = html_report(replace(evaluation, groups={}, mixture=None))
    assert "Groups of patients" not in bare and "mixture of the published" not in bare
