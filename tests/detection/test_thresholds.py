import numpy as np
import pytest

from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.errors import ParameterError


def brute_force(scores, reference, thresholds):
    values = []
    for threshold in thresholds:
        mask = scores > float(threshold)
        tp, total = np.sum(mask & reference), mask.sum() + reference.sum()
        values.append(2 * tp / total if total else np.nan)
    return np.array(values)


@pytest.mark.parametrize("bins", [1, 2, 10, 100, 255, 256, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_curve_equals_as_many_masks(bins, dtype):
    rng = np.random.default_rng(bins)
    edges = rng.integers(0, bins + 1, 400) / bins
    scores = np.concatenate(
        [
            rng.random(400),
            edges,
            np.nextafter(edges, 1),
            np.nextafter(edges, 0),
            [np.nan, 0, 1, -0.1, 1.5, np.inf],
        ]
    ).astype(dtype)
    scores = np.concatenate(
        [scores, np.nextafter(scores[:1200], dtype(2)), np.nextafter(scores[:1200], dtype(-1))]
    )
    reference = rng.random(scores.size) < 0.3
    histograms = ScoreHistograms.of(scores, reference, bins=bins)
    thresholds, dice = histograms.thresholds, histograms.dice()
    np.testing.assert_array_equal(thresholds, np.arange(bins) / bins)
    np.testing.assert_array_equal(dice, brute_force(scores, reference, thresholds))


def test_brain_leaves_the_other_voxels_out():
    rng = np.random.default_rng(1)
    scores, reference = rng.random((5, 20, 20)), rng.random((5, 20, 20)) < 0.2
    brain = rng.random((5, 20, 20)) < 0.5
    histograms = ScoreHistograms.of(scores, reference, brain)
    expected = brute_force(scores[brain], reference[brain], histograms.thresholds)
    np.testing.assert_array_equal(histograms.dice(), expected)


def test_empty_masks():
    scores = np.array([0.0, 0.3])
    dice = ScoreHistograms.of(scores, np.zeros(2), bins=4).dice()
    np.testing.assert_array_equal(dice, [0, 0, np.nan, np.nan])  # NaN once nothing is above either
    dice = ScoreHistograms.of(np.zeros(2), np.ones(2), bins=4).dice()
    np.testing.assert_array_equal(dice, np.zeros(4))


def test_reference_may_hold_any_positive_label():
    scores = np.array([0.9, 0.8, 0.1])
    np.testing.assert_array_equal(
        ScoreHistograms.of(scores, [2, 255, 0]).dice(), ScoreHistograms.of(scores, [1, 1, 0]).dice()
    )


def test_histograms_of_patients_add_up_to_the_cohort():
    rng = np.random.default_rng(3)
    patients = [(rng.random(500), rng.random(500) < 0.2, rng.random(500) < 0.7) for _ in range(3)]
    cohort = sum((ScoreHistograms.of(*patient) for patient in patients), start=ScoreHistograms.empty())
    whole = ScoreHistograms.of(*(np.concatenate(parts) for parts in zip(*patients, strict=True)))
    np.testing.assert_array_equal(cohort.lesion, whole.lesion)
    np.testing.assert_array_equal(cohort.healthy, whole.healthy)
    scores, reference, brain = (np.concatenate(parts) for parts in zip(*patients, strict=True))
    assert cohort.lesion.sum() == np.sum(reference & brain)
    assert cohort.healthy.sum() == np.sum(~reference & brain)
    np.testing.assert_array_equal(
        cohort.dice(), brute_force(scores[brain], reference[brain], cohort.thresholds)
    )


def test_healthy_quantile_of_histograms_is_the_next_threshold_up():
    rng = np.random.default_rng(4)
    scores, reference = rng.random(4000) ** 3, rng.random(4000) < 0.1
    histograms = ScoreHistograms.of(scores, reference, bins=512)
    healthy = scores[~reference]
    for quantile in (0.1, 0.5, 0.9, 0.99):
        threshold = histograms.healthy_quantile(quantile)
        assert np.mean(healthy > threshold) <= 1 - quantile
        assert np.mean(healthy > threshold - 1 / 512) > 1 - quantile
    assert histograms.healthy_quantile(0.0) == 0.0
    assert ScoreHistograms.of(np.ones(3), np.zeros(3)).healthy_quantile(0.5) == 1.0


def test_wrong_input_is_refused():
    with pytest.raises(ParameterError, match="shape"):
        ScoreHistograms.of(np.zeros(3), np.zeros(4))
    with pytest.raises(ParameterError, match="shape"):
        ScoreHistograms.of(np.zeros(3), np.zeros(3), np.zeros((3, 1)))
    with pytest.raises(ParameterError, match="bin"):
        ScoreHistograms.of(np.zeros(3), np.zeros(3), bins=0)
    for quantile in (-0.1, 1.1, float("nan")):
        with pytest.raises(ParameterError, match="quantile"):
            ScoreHistograms.of(np.ones(3), np.zeros(3)).healthy_quantile(quantile)
    with pytest.raises(ParameterError, match="healthy voxel"):
        ScoreHistograms.empty().healthy_quantile(0.5)
