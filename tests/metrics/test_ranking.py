import math

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from napari_cead.metrics import aupro, auroc, average_precision
from napari_cead.metrics.ranking import area_of_overlap

CASES = {
    "distinct": lambda rng, lesion: rng.random(lesion.shape),
    "informative": lambda rng, lesion: rng.normal(lesion * 1.0, 1.0),
    "ties": lambda rng, lesion: np.round(rng.normal(lesion * 1.0, 1.0), 1),
    "mostly zero": lambda rng, lesion: rng.random(lesion.shape) * (rng.random(lesion.shape) < 0.2),
    "constant": lambda rng, lesion: np.full(lesion.shape, 0.5),
    "two values": lambda rng, lesion: (rng.random(lesion.shape) < 0.5).astype(float),
    "perfect": lambda rng, lesion: lesion + 0.5 * rng.random(lesion.shape),
    "inverted": lambda rng, lesion: 0.0 - lesion - 0.5 * rng.random(lesion.shape),
    "integers": lambda rng, lesion: rng.integers(0, 4, lesion.shape),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_equal_scikit_learn(case, dtype):
    rng = np.random.default_rng(0)
    for share in (0.02, 0.5):
        lesion = rng.random((4, 15, 20)) < share
        scores = CASES[case](rng, lesion)
        scores = scores if case == "integers" else scores.astype(dtype)
        assert auroc(scores, lesion) == pytest.approx(
            roc_auc_score(lesion.ravel(), scores.ravel()), abs=1e-12
        )
        expected = average_precision_score(lesion.ravel(), scores.ravel())
        assert average_precision(scores, lesion) == pytest.approx(expected, abs=1e-12)


def test_by_hand():
    # pairs (lesion, healthy): 0.8 > 0.1, 0.8 > 0.4, 0.4 > 0.1, 0.4 = 0.4
    assert auroc([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1]) == 3.5 / 4
    # at 0.8 precision 1, half the recall; at 0.4 precision 2/3, the other half
    assert average_precision([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_without_information():
    lesion = np.arange(100) < 7
    assert auroc(np.zeros(100), lesion) == 0.5
    assert average_precision(np.zeros(100), lesion) == pytest.approx(0.07)


def test_missing_classes_are_nan():
    scores = np.arange(4.0)
    assert math.isnan(auroc(scores, np.zeros(4)))
    assert math.isnan(auroc(scores, np.ones(4)))
    assert math.isnan(average_precision(scores, np.zeros(4)))
    assert average_precision(scores, np.ones(4)) == 1.0


def test_brain_leaves_the_other_voxels_out():
    rng = np.random.default_rng(1)
    scores, lesion, brain = rng.random((8, 8)), rng.random((8, 8)) < 0.3, rng.random((8, 8)) < 0.5
    assert auroc(scores, lesion, brain) == auroc(scores[brain], lesion[brain])
    assert average_precision(scores, lesion, brain) == average_precision(scores[brain], lesion[brain])


def test_nan_ranks_lowest():
    scores = np.array([np.nan, 0.0, np.nan, 0.5, 0.2])
    lesion = np.array([1, 0, 0, 1, 0])
    lowest = np.nan_to_num(scores, nan=-1.0)
    assert auroc(scores, lesion) == pytest.approx(roc_auc_score(lesion, lowest))
    assert average_precision(scores, lesion) == pytest.approx(average_precision_score(lesion, lowest))


def test_the_arrays_are_left_alone():
    scores = np.random.default_rng(2).random(50)
    before = scores.copy()
    auroc(scores, scores > 0.7)
    average_precision(scores, scores > 0.7)
    np.testing.assert_array_equal(scores, before)


def test_shapes_must_agree():
    for function in (auroc, average_precision):
        with pytest.raises(ValueError, match="reference"):
            function(np.zeros(3), np.zeros(4))
        with pytest.raises(ValueError, match="brain"):
            function(np.zeros(3), np.zeros(3), np.zeros(4))


def per_region_overlap_by_definition(scores, reference, brain, limit=0.3, steps=200_000):
    """Mean share of each lesion above every threshold, over the false positive rate, by many small steps."""
    labels, count = ndimage.label(reference & brain, np.ones((3,) * reference.ndim))
    healthy = scores[brain & ~reference]
    rates, found = [0.0], [0.0]
    for threshold in np.unique(scores[brain])[::-1]:
        rates.append(np.mean(healthy >= threshold))
        found.append(np.mean([np.mean(scores[labels == one] >= threshold) for one in range(1, count + 1)]))
    return np.interp((np.arange(steps) + 0.5) / steps * limit, rates, found).mean()


@pytest.mark.parametrize("levels", [0, 12])
def test_overlap_by_region_is_that_of_the_definition(levels):
    rng = np.random.default_rng(levels)
    reference = ndimage.gaussian_filter(rng.random((6, 14, 15)), 1) > 0.56
    scores = rng.random(reference.shape) + 0.4 * reference
    scores = np.round(scores * levels) / levels if levels else scores
    brain = rng.random(reference.shape) < 0.9
    expected = per_region_overlap_by_definition(scores, reference, brain)
    assert aupro(scores, reference, brain) == pytest.approx(expected, abs=1e-4)
    assert aupro(reference.astype(float), reference) == pytest.approx(1)
    assert aupro(np.zeros(reference.shape), reference) == pytest.approx(0.15)
    assert math.isnan(aupro(scores, np.zeros_like(reference)))


def test_a_small_lesion_counts_as_much_as_a_large_one():
    scores, reference = np.zeros((2, 1, 40, 40))
    reference[0, 2:12, 2:12] = reference[0, 30, 30] = 1
    scores[reference > 0] = 1
    scores[0, 30, 30] = 0  # the small one is not found until all is
    assert aupro(scores, reference) == pytest.approx(0.5 + 0.5 * 0.15)


@pytest.mark.parametrize("seed", range(40))
def test_scores_that_no_voxel_has_change_no_digit_of_the_area(seed):
    rng = np.random.default_rng(seed)
    scores = int(rng.integers(3, 3000))
    healthy = np.where(rng.random(scores) < rng.random(), rng.integers(0, 9, scores), 0)
    healthy[0] = rng.choice([0, 5, 100 * scores])  # most voxels may have the lowest
    overlap = np.where(rng.random(scores) < 0.3 * rng.random(), rng.random(scores), 0)
    some = np.union1d(0, np.flatnonzero(healthy + overlap))
    full = area_of_overlap(overlap, healthy, 3)
    few = area_of_overlap(overlap[some], healthy[some], 3, scores - 1 - some)
    np.testing.assert_equal(few, full)
