"""The tools that write the models' cards: verdicts follow from figures, and pages from `results.json`."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cards import card, claims, measures, results_page, tables
from cards.results import Results
from napari_cead.detection import PostprocessParams
from napari_cead.evaluation.report import described
from napari_cead.evaluation.results import NOTHING, Evaluation, ModelSummary, PatientFigures, Row
from napari_cead.metrics import PatientCounts
from napari_cead.models.specs import spec
from napari_cead.zoo import ModelCard, Suggestion

SHA = "0" * 64
PATIENTS = 6


def by_patient(values):
    return {f"p{number}": float(value) for number, value in enumerate(values)}


def test_a_paired_difference_is_that_of_the_common_patients_with_the_percentile_bootstrap():
    random = np.random.default_rng(3)
    first, second = random.normal(0.4, 0.1, 14), random.normal(0.3, 0.1, 14)
    found = claims.paired(by_patient(first) | {"only first": 9.0}, by_patient(second), resamples=20_000)
    expected = stats.bootstrap((first - second,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    assert found.mean == pytest.approx(np.mean(first - second))
    assert found.patients == 14
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), abs=2e-3)
    assert claims.paired({"p0": 1.0}, by_patient(second)) is None


@pytest.mark.parametrize(
    ("low", "high", "expected", "verdict"),
    [
        (0.1, 0.3, 1, "agrees"),
        (0.1, 0.3, -1, "disagrees"),
        (-0.3, -0.1, -1, "agrees"),
        (-0.3, -0.1, 1, "disagrees"),
        (-0.1, 0.3, 1, "undecided"),
        (-0.1, 0.3, -1, "undecided"),
        (0.0, 0.0, 1, "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low, high, expected, verdict):
    difference = claims.Difference((low + high) / 2, low, high, 9)
    assert claims.Comparison("a − b", "Dice", expected, difference).verdict == verdict


def test_what_was_not_measured_is_undecided():
    made = claims.paper_claims({}, {}, {}, {})
    assert {item.verdict for claim in made for item in claim.comparisons} == {"undecided"}


def test_the_papers_claims_are_held_against_the_right_models():
    steps = np.linspace(0, 0.01, 8)
    dice = {
        "ae": by_patient(0.30 + steps),
        "ce-ae": by_patient(0.40 + 2 * steps),  # higher: agrees
        "vae1": by_patient(0.50 + steps),
        "ce-vae1": by_patient(0.40 + steps),  # lower: disagrees
        "vae2": by_patient(0.40 + steps),
        "ce-vae2": by_patient(0.40 + steps),  # the same: undecided
        "vq-vae": by_patient(0.35 + steps),  # below the mean of the three, 0.4
        "ce-vq-vae": by_patient(0.45 + steps),  # above their mean
    }
    raises, reconstructs, misses, sharpens = claims.paper_claims(dice, {}, {}, dice)
    assert [item.verdict for item in raises.comparisons] == ["agrees", "disagrees", "undecided"]
    assert [item.verdict for item in misses.comparisons] == ["agrees", "disagrees"]
    assert [item.verdict for item in reconstructs.comparisons] == ["agrees", "disagrees"]
    assert misses.comparisons[0].difference.mean == pytest.approx(-0.05)
    assert misses.comparisons[0].text() == "−0.0500 [−0.0500, −0.0500]"
    assert len(sharpens.comparisons) == 8
    assert raises.sentence() == (
        "Context encoding raises Dice for AE, VAE1 and VAE2: **agrees** for CE-AE − AE (Dice); **does not agree** for "
        "CE-VAE1 − VAE1 (Dice); **undecided** for CE-VAE2 − VAE2 (Dice)."
    )


def test_only_what_is_between_the_markers_changes():
    text = "before\n<!-- x:begin -->\nold\n<!-- x:end -->\nafter\n"
    once = tables.between_markers(text, "x", ["| new |"])
    assert once == "before\n<!-- x:begin -->\n\n| new |\n\n<!-- x:end -->\nafter\n"
    assert tables.between_markers(once, "x", ["| new |"]) == once


@pytest.mark.parametrize(
    "text",
    [
        "no markers\n",
        "<!-- x:begin -->\n",
        "<!-- x:end -->\n<!-- x:begin -->\n",
        "<!-- x:begin -->\n<!-- x:begin -->\n<!-- x:end -->\n",
        "<!-- x:begin -->\n<!-- x:end -->\n<!-- x:end -->\n",
    ],
)
def test_markers_that_are_not_a_pair_are_refused(text):
    with pytest.raises(ValueError, match="x:begin"):
        tables.between_markers(text, "x", [])


def test_the_place_for_the_table_is_in_the_documentation():
    text = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert "| here |" in tables.between_markers(text, "bundled", ["| here |"])


def figures(name, hit):
    """A patient of two slices whose lesion of 10 voxels is found but for some."""
    counts = PatientCounts(np.array([hit, 0]), np.zeros(2, int), np.array([10 - hit, 0]), np.ones(2, bool))
    return PatientFigures(name, counts, 1.0, 1.0, 1, int(hit > 0), 1, 0)


def made_row(model, score, rule, hits):
    params = None if score is None else PostprocessParams()
    patients = [figures(f"Mets_{number}", hit) for number, hit in enumerate(hits)]
    return Row.of(model, score, rule, params, patients, resamples=50)


@pytest.fixture
def results(tmp_path):
    rules = ("healthy-quantile", "validation", "oracle")
    strong, weak = [8, 9, 8, 9, 8, 9], [1, 2, 1, 2, 1, 2]
    rows = [made_row("ae", "residual", rule, weak) for rule in rules]
    rows += [made_row("ce-ae", "residual", rule, strong) for rule in rules]
    rows += [made_row("flair-threshold", "intensity", rule, [5, 6, 5, 6, 5, 6]) for rule in rules]
    rows += [made_row("flair-tissue-smooth", "3mm-2d", rule, [7, 8, 7, 8, 7, 8]) for rule in rules]
    rows += [made_row(NOTHING, None, "none", [0] * PATIENTS)]
    quality = {"psnr": 20.0, "psnr_brain": 15.0, "ssim": 0.6, "slices": 12}
    evaluation = Evaluation(
        cohort=tmp_path / "cohort",
        sequence="flair",
        split=tmp_path / "store",
        seed=0,
        resamples=50,
        quantile=0.995,
        rows=tuple(rows),
        models=tuple(
            ModelSummary(name, name, tmp_path / name, SHA, "cpu", quality) for name in ("ae", "ce-ae")
        ),
        parts={"train": (), "validation": (), "test": tuple(f"Mets_{number}" for number in range(PATIENTS))},
    )
    file = tmp_path / "results.json"
    file.write_text(json.dumps(described(evaluation)), encoding="utf-8")
    return Results.read(file)


@pytest.fixture
def models():
    def finished(name, ssim):
        found = {
            f"Mets_{number}": measures.PatientMeasures(ssim + number / 1000, 15.0, None, 0.1)
            for number in range(PATIENTS)
        }
        suggestion = Suggestion(score="residual", rule="validation", params=PostprocessParams().model_dump())
        about = ModelCard(name=name, spec=spec(name, "small"), suggestions=(suggestion,), sha256=SHA)
        return card.Finished(card=about, size=3_600_000, log=(), start={}, measures=found)

    return [finished("ae", 0.5), finished("ce-ae", 0.6)]


def test_a_model_is_compared_with_the_strongest_baseline_patient_by_patient(results):
    against_free = card.against_free
    worse, found = against_free("ae", "residual", results)
    assert (worse, found.patients) == ("worse", PATIENTS)
    # Dice of n of 10 voxels is 2n / (n + 10).
    assert found.mean == pytest.approx(np.mean([2 / 11 - 14 / 17, 4 / 12 - 16 / 18]))
    assert against_free("ce-ae", "residual", results)[0] == "better"


def test_the_page_of_results_says_what_the_figures_say_and_where_nothing_lies(results, models, tmp_path):
    page = results_page.results_page(models, results)
    assert "**agrees** for CE-AE − AE (Dice); **undecided** for CE-VAE1 − VAE1 (Dice)" in page
    assert "**agrees** for CE-AE − AE (SSIM)" in page
    assert (
        "that of `flair-tissue-smooth` `3mm-2d`, the baseline with the highest `dice_patient` here (0.856)"
        in page
    )
    assert "Of 2 models, 1 better and 1 worse." in page
    for name in ("`flair-threshold`", "`flair-tissue-smooth` `3mm-2d`", "`nothing`"):
        assert page.count(f"| baseline {name} | – |") >= 3  # every table of Dice has them all
    assert "Of 15 comparisons of these trainings 2 agree, 0 disagree and 13 are undecided." in page
    assert "runs from 0.258 (`ae`) to" in page  # the mean of 2/11 and 4/12
    assert "| [`ce-ae`](models/ce-ae.md) | 0.405 |" in page  # the paper's
    assert (
        page.count("`dice_all_slices`") == page.count("`dice_patient` |") + 1
    )  # a column beside it, and explained
    assert str(tmp_path) not in page
    assert results_page.results_page(models, results) == page


def test_the_overview_has_a_line_for_each_model_and_baseline(results, models):
    lines = results_page.summary_lines(models, results)
    table = [line for line in lines if line.startswith("|")][2:]
    assert [line.split("|")[1].strip() for line in table] == [
        "[`ae`](models/ae.md)",
        "[`ce-ae`](models/ce-ae.md)",
        "baseline `flair-threshold`",
        "baseline `flair-tissue-smooth`",
        "baseline `nothing`",
    ]
    assert [line.split("|")[-2].strip() for line in table] == ["worse", "better", "–", "–", "–"]


def test_a_card_names_all_baselines_and_compares_with_the_strongest(results):
    figures = "\n".join(card._figures("ae", results))
    assert figures.count("| baseline `flair-threshold` |") == 3
    assert figures.count("| baseline `flair-tissue-smooth` `3mm-2d` |") == 3
    said = "\n".join(card._not("ae", results))
    assert "**less than the strongest baseline without a network**, `flair-tissue-smooth` `3mm-2d`," in said
