import math

import numpy as np
import pytest

from napari_cead.metrics import PatientCounts, averages
from napari_cead.report.paired_comparison import TWIN_AVERAGES, Paired, compare_twins
from napari_cead.report.results import PatientFigures, Row

SHAPE = (4, 8, 8)


def patients(seed, names="abcdef", lesion=True):
    """The same references for every seed, other masks."""
    found = []
    for number, name in enumerate(names):
        reference = np.random.default_rng(ord(name)).random(SHAPE) < 0.2 * lesion
        mask = np.random.default_rng((seed, ord(name))).random(SHAPE) < 0.1 + 0.1 * (number % 3)
        figures = PatientFigures(name, PatientCounts.of(mask & lesion, reference), 0.0, 0.0, 0, 0, 0, 0)
        found.append(figures)
    return found


def row(model, figures, score="residual", rule="oracle", sequence="flair"):
    return Row.of(model, score, rule, None, figures, sequence=sequence, resamples=10)


ARCHITECTURES = {"mine": "ce-vae1", "plain": "vae1", "other": "ae", "alone": "ce-ae-wide"}


def test_differences_are_those_of_the_averages_and_intervals_those_of_a_loop():
    rows = (row("mine", patients(1)), row("plain", patients(2)), row("other", patients(3)))
    found = compare_twins(rows, ARCHITECTURES, 120, 9)
    assert [item.average for item in found] == list(TWIN_AVERAGES)
    assert {(item.model, item.twin, item.patients) for item in found} == {("mine", "plain", 6)}
    first, second = ([item.counts for item in entry.patients] for entry in rows[:2])
    draws = np.random.default_rng(9).integers(6, size=(120, 6))
    for item in found:
        whole, *resampled = (
            getattr(averages(first[number] for number in draw), item.average)
            - getattr(averages(second[number] for number in draw), item.average)
            for draw in (range(6), *draws)
        )
        assert item.difference == pytest.approx(whole, abs=1e-12)
        assert item.difference != 0
        assert item.interval == pytest.approx(tuple(np.percentile(resampled, (2.5, 97.5))), abs=1e-12)


def test_a_fine_tuned_model_is_compared_with_the_one_that_it_comes_from():
    rows = (row("base", patients(1)), row("tuned", patients(2)), row("other", patients(3)))
    architectures = dict.fromkeys(("base", "tuned", "other"), "ae")
    found = compare_twins(rows, architectures, 50, parents={"tuned": ["base"]})
    assert {(item.model, item.twin, item.kind) for item in found} == {("tuned", "base", "fine-tuning")}
    assert [item.average for item in found] == list(TWIN_AVERAGES)
    assert compare_twins(rows, architectures, 50) == ()


def test_patients_are_paired_by_name_and_only_those_that_both_have_count():
    shuffled = patients(2)[::-1]
    rows = (row("mine", patients(1, "xabcd")), row("plain", shuffled))
    shared = (
        row("mine", patients(1, "xabcd")[1:]),
        row("plain", [item for item in patients(2) if item.name < "e"]),
    )
    found, expected = (compare_twins(pair, ARCHITECTURES, 50) for pair in (rows, shared))
    assert found == expected
    assert {item.patients for item in found} == {4}
    # Other patients are not the same patients, whatever their number.
    assert (
        compare_twins((row("mine", patients(1, "uvw")), row("plain", patients(2, "abc"))), ARCHITECTURES)
        == ()
    )


def test_only_rows_of_one_score_rule_and_sequence_are_compared():
    rows = (
        row("mine", patients(1)),
        row("mine", patients(1), rule="validation"),
        row("mine", patients(1), sequence="t1"),
        row("plain", patients(2), score="squared"),
        row("plain", patients(3), sequence="t1"),
        row("plain", patients(4), rule="validation"),
    )
    found = compare_twins(rows, ARCHITECTURES, 20)
    pairs = {(item.score, item.rule, item.sequence) for item in found}
    assert pairs == {("residual", "validation", "flair"), ("residual", "oracle", "t1")}
    assert len(found) == 2 * len(TWIN_AVERAGES)


def test_models_without_a_twin_baselines_and_empty_rows_are_passed_over():
    empty = Row("plain", "residual", "oracle", None)
    rows = (
        row("mine", patients(1)),
        row("alone", patients(1)),
        row("flair-threshold", patients(2)),
        row("other", patients(3)),
        empty,
    )
    assert compare_twins(rows, ARCHITECTURES) == ()
    assert (
        compare_twins((Row("mine", "residual", "oracle", None), row("plain", patients(1))), ARCHITECTURES)
        == ()
    )


def test_what_is_undefined_has_no_difference():
    rows = (row("mine", patients(1, lesion=False)), row("plain", patients(2, lesion=False)))
    found = {item.average: item for item in compare_twins(rows, ARCHITECTURES, 20)}
    assert math.isnan(found["dice_pooled"].difference)
    assert found["dice_pooled"].interval is None
    assert (found["dice_all_slices"].difference, found["dice_all_slices"].interval) == (0, (0, 0))
    one = compare_twins((row("mine", patients(1, "a")), row("plain", patients(2, "a"))), ARCHITECTURES, 20)
    assert all(item.interval is None and not math.isnan(item.difference) for item in one)


def test_the_interval_draws_whole_patients():
    patients = np.array([0, 0, 0, 1, 2, 2])
    before, after = np.zeros(6), np.array([-1.0, -2, -3, 1, -4, -2])
    result = Paired.of(before, after, patients, more_is_better=False, resamples=500, seed=3)
    draws = np.random.default_rng(3).integers(3, size=(500, 3))
    means = [np.concatenate([after[patients == patient] for patient in draw]).mean() for draw in draws]
    assert result.interval == pytest.approx(np.quantile(means, [0.025, 0.975]))
    assert result.difference == pytest.approx(after.mean())
    assert result.verdict == "unclear"  # a resample of patient 1 alone is worse
    assert Paired.of(before, after - 5, patients, more_is_better=False).verdict == "better"
    assert Paired.of(before, after - 5, patients, more_is_better=True).verdict == "worse"
    alone = Paired.of(before[:3], after[:3], patients[:3], more_is_better=False)
    assert (alone.interval, alone.verdict) == (None, "unclear")


def test_slices_without_a_figure_are_left_out_of_it():
    before, after = np.array([1.0, np.inf, np.nan, 3.0]), np.array([2.0, 1.0, 1.0, 5.0])
    result = Paired.of(before, after, np.array([0, 0, 1, 1]), more_is_better=True)
    assert (result.before, result.after, result.difference) == (2.0, 3.5, 1.5)
    nothing = Paired.of(np.array([np.inf]), np.array([np.inf]), np.array([0]), more_is_better=True)
    assert np.isnan(nothing.difference) and nothing.verdict == "unclear"
