"""Pooled ranking figures against the exact ones of all voxels at once, and against SciPy's Mann-Whitney U."""

import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

import napari_cead as cead
from napari_cead.evaluation.ranking import Pool, RankCounts, pooled, ranking
from napari_cead.metrics import aupro, auroc, average_precision, candidates, froc


def cohort(top=1.0, levels=0, patients=4, seed=0):
    """Maps that end at ``top``, with ties if there are levels, voxels of exactly 0, and lesions that are higher."""
    rng = np.random.default_rng(seed)
    for _ in range(patients):
        lesion = rng.random((6, 30, 30)) < 0.1
        values = rng.beta(2, 5, lesion.shape) + 0.15 * lesion * rng.random(lesion.shape)
        values = np.clip(values, 0, 1) * top
        if levels:
            values = np.round(values / top * levels) / levels * top
        values[rng.random(lesion.shape) < 0.05] = 0
        yield values.astype(np.float32), lesion, rng.random(lesion.shape) < 0.9


def pool_of(people):
    pool = Pool()
    for person in people:
        pool.add(RankCounts.of(*person), candidates(*person))
    return pool


@pytest.mark.parametrize("levels", [0, 255, 7])
@pytest.mark.parametrize("top", [1.0, 0.2, 0.004])
def test_as_exact_for_a_map_that_ends_low_as_for_one_that_ends_at_1(top, levels):
    people = list(cohort(top, levels))
    scores = np.concatenate([values[brain] for values, _, brain in people])
    lesion = np.concatenate([reference[brain] for _, reference, brain in people])
    roc, precision = ranking(pooled(RankCounts.of(*person) for person in people))
    above, below = scores[lesion].astype(float), scores[~lesion].astype(float)
    assert roc == pytest.approx(mannwhitneyu(above, below).statistic / (above.size * below.size), abs=1e-5)
    assert roc == pytest.approx(auroc(scores, lesion), abs=1e-5)
    assert precision == pytest.approx(average_precision(scores, lesion), abs=1e-5)
    if levels:  # real ties stay ties, and nothing else becomes one
        assert roc == pytest.approx(auroc(scores, lesion), abs=1e-12)
        assert precision == pytest.approx(average_precision(scores, lesion), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_as_exact_where_a_map_crowds_below_1(seed):
    # AUPRC of few lesion voxels hangs on the highest scores, here two hundred of them within 1e-4 of 1.
    rng = np.random.default_rng(seed)
    values = (1 - np.geomspace(1e-6, 0.9, 4000)).astype(np.float32)
    lesion = np.zeros(values.size, np.bool_)
    lesion[rng.choice(300, 12, replace=False)] = True
    found = ranking(pooled([RankCounts.of(values, lesion, np.ones(values.size, np.bool_))]))
    assert found == pytest.approx((auroc(values, lesion), average_precision(values, lesion)), abs=1e-5)


def test_the_ends_of_the_scores():
    values = np.array([1, 1, 1, np.nextafter(np.float32(1), 0), 2e-9, 1e-9, 0, -0.0, np.nan], np.float32)
    lesion = np.array([1, 0, 1, 0, 1, 0, 0, 0, 1], np.bool_)
    found = ranking(pooled([RankCounts.of(values, lesion, np.ones(9, np.bool_))]))
    low = np.where(np.nan_to_num(values) < 1e-8, 0, values)  # below 2^-24 all is one
    assert found == pytest.approx((auroc(low, lesion), average_precision(low, lesion)))


def test_what_is_not_brain_does_not_count_and_what_is_missing_is_undefined():
    values, lesion, brain = next(cohort())
    outside = values.copy()
    outside[~brain] = 1
    one, other = (ranking(pooled([RankCounts.of(each, lesion, brain)])) for each in (values, outside))
    assert one == other
    roc, precision = ranking(pooled([RankCounts.of(values, np.zeros_like(lesion), brain)]))
    assert math.isnan(roc) and math.isnan(precision)
    roc, precision = ranking(pooled([RankCounts.of(values, np.ones_like(lesion), brain)]))
    assert math.isnan(roc) and precision == 1
    assert all(math.isnan(value) for value in ranking(pooled([])))


def test_ranking_and_froc_come_from_one_look_at_each_patient():
    people = list(cohort())
    found = pool_of(people).ranked()
    assert (found.auroc, found.average_precision) == ranking(pooled(RankCounts.of(*one) for one in people))
    assert found.froc == froc(candidates(*person) for person in people)


def test_ceiling_overlap_and_share_above_a_threshold_are_those_of_all_voxels_at_once():
    people = list(cohort(levels=99))
    found = pool_of(people).ranked()
    scores = np.concatenate([values[brain] for values, _, brain in people])
    lesion = np.concatenate([reference[brain] for _, reference, brain in people])
    dice = [cead.dice(scores > threshold, lesion) for threshold in [0, *np.unique(scores)[:-1]]]
    assert found.dice_ceiling == pytest.approx(max(dice), abs=1e-12)
    # A cohort as one volume: the patients below each other, with a slice between them.
    apart = [[np.concatenate([each, np.zeros_like(each[:1])]) for each in person] for person in people]
    assert found.aupro == pytest.approx(aupro(*map(np.concatenate, zip(*apart, strict=True))), abs=1e-9)
    for threshold in (0, 0.1, 1 / 3, 0.7, 1):
        above = sum(RankCounts.of(*person).healthy_above(threshold) for person in people)
        assert above == np.count_nonzero(scores[~lesion] > np.float32(threshold))
    nothing = pool_of([]).ranked()
    assert all(map(math.isnan, (nothing.dice_ceiling, nothing.aupro)))
