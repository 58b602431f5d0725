"""FROC against components that SciPy labels at every threshold, and against curves drawn by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_cead.metrics import match_lesions
from napari_cead.metrics.froc import FALSE_POSITIVES, _first, candidates, froc


def brute_force(cohort, at, share):
    """Label every patient at every threshold of the cohort, from the highest down."""
    thresholds = np.unique(np.concatenate([scores.ravel() for scores, *_ in cohort] + [np.zeros(1)]))[::-1]
    lesions = sum(ndimage.label(reference, np.ones((3,) * reference.ndim))[1] for _, reference, _ in cohort)
    curve = []
    for threshold in thresholds:
        false = found = 0
        for scores, reference, brain in cohort:
            values = np.sort(scores[brain])[::-1]
            cut = values[min(int(share * values.size), values.size - 1)]
            mask = brain & (scores > max(threshold, cut, 0))
            match = match_lesions(mask, reference)
            false += len(match.false_detections)
            found += len(match.found)
        curve.append((false / len(cohort), found / lesions))
    result = []
    for allowed in at:
        best = 0.0
        for false, sensitivity in curve:
            if false > allowed:
                break
            best = sensitivity
        result.append(best)
    return tuple(result)


@pytest.mark.parametrize("shape", [(3, 7, 6), (9, 11), (1, 10, 9)])
@pytest.mark.parametrize("levels", [0, 9])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_same_as_labels_at_every_threshold(shape, levels, share):
    rng = np.random.default_rng(len(shape) + levels)
    cohort = []
    for _ in range(3):
        scores = ndimage.gaussian_filter(rng.random(shape), 0.7).astype(np.float32)
        scores = (scores - scores.min()) / np.ptp(scores)
        if levels:
            scores = np.round(scores * levels).astype(np.float32) / np.float32(levels)  # ties
        brain = rng.random(shape) > 0.1
        scores[~brain] = 0
        reference = ndimage.gaussian_filter(rng.random(shape), 1.0) > 0.53
        cohort.append((scores, reference, brain))
    at = (*FALSE_POSITIVES, 0.0, 16.0)
    found = froc((candidates(*one, share=share) for one in cohort), at)
    assert found == pytest.approx(brute_force(cohort, at, share))


def plateaus(rng, shape):
    return np.kron(rng.integers(0, 4, [side // 3 + 1 for side in shape]), np.ones([3] * len(shape)))[
        tuple(map(slice, shape))
    ]


def checkerboard(rng, shape):
    """Neighbours by corners and edges alone, at two heights."""
    return (np.indices(shape).sum(axis=0) % 2) * rng.choice([1, 2], shape)


def ramp(rng, shape):
    """One long slope, along which each voxel has one higher neighbour."""
    return np.arange(np.prod(shape)).reshape(shape)


def ridges(rng, shape):
    """Walls that meet at lower passes."""
    return np.where(np.indices(shape).max(axis=0) % 3 == 0, 5, 1) * rng.integers(1, 4, shape)


def with_nan(rng, shape):
    return np.where(rng.random(shape) < 0.2, np.nan, rng.random(shape) - 0.1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(4, 7, 6), (9, 11)])
@pytest.mark.parametrize("make", [plateaus, checkerboard, ramp, ridges, with_nan])
def test_same_as_labels_at_every_threshold_of_awkward_maps(make, shape, seed):
    rng = np.random.default_rng([seed, len(shape)])
    cohort = []
    for _ in range(2):
        scores, brain = make(rng, shape).astype(np.float32), rng.random(shape) > 0.1
        reference = ndimage.gaussian_filter(rng.random(shape), 1.0) > 0.52
        cohort.append((scores, reference, brain))
    at = (*FALSE_POSITIVES, 0.0, 16.0)
    found = froc((candidates(*one, share=0.6) for one in cohort), at)
    cohort = [(np.nan_to_num(scores), reference, brain) for scores, reference, brain in cohort]
    assert found == pytest.approx(brute_force(cohort, at, 0.6))


def test_a_curve_by_hand():
    scores = np.zeros((1, 1, 40), np.float32)
    reference = np.zeros(scores.shape, np.bool_)
    scores[..., [2, 6, 10, 14]] = 0.9, 0.8, 0.7, 0.6
    reference[..., [6, 14, 30]] = True  # the third lesion is nowhere in the map
    found = froc([candidates(scores, reference, share=0.5)], (0, 0.5, 1, 2, 8))
    assert found == pytest.approx((0, 0, 1 / 3, 2 / 3, 2 / 3))


def test_a_component_that_melts_into_a_lesion_is_no_longer_false():
    scores = np.array([[0.9, 0.5, 0.8, 0, 0.4, 0, 0, 0]], np.float32)
    reference = np.array([[1, 0, 0, 0, 1, 0, 0, 0]])
    one = candidates(scores, reference, share=1)
    assert one.scores == pytest.approx([0.8, 0.5]) and one.changes.tolist() == [1, -1]
    assert one.lesions == pytest.approx([0.9, 0.4])
    assert froc([one], (0, 1)) == (0.5, 1.0)


def test_the_brain_as_a_whole_is_no_candidate():
    scores = np.full((1, 20, 20), 0.5, np.float32)
    reference = np.zeros(scores.shape)
    reference[0, 3:5, 3:5] = 1
    assert froc([candidates(scores, reference)]) == (0.0,) * len(FALSE_POSITIVES)


def test_without_lesions_or_patients_there_is_no_sensitivity():
    empty = candidates(np.eye(8), np.zeros((8, 8)), share=0.5)
    assert len(empty.scores) and all(math.isnan(value) for value in froc([empty]))
    assert all(math.isnan(value) for value in froc([]))
    nothing = candidates(np.zeros((8, 8)), np.eye(8))
    assert froc([nothing]) == (0.0,) * len(FALSE_POSITIVES)
    with pytest.raises(ValueError, match="differ in shape"):
        candidates(np.zeros((8, 8)), np.zeros((8, 7)))


@pytest.mark.parametrize("count", [1000, 2**55], ids=["in one number", "too large for that"])
def test_the_first_meeting_of_each_pair_of_hills(count):
    rng = np.random.default_rng(0)
    pair, when = rng.integers(0, 300, 900), rng.permutation(900)
    expected: dict[int, int] = {}
    for one, time in zip(pair.tolist(), when.tolist(), strict=True):
        expected[one] = min(time, expected.get(one, time))
    pairs, first = _first(pair, when, count)
    assert dict(zip(pairs.tolist(), first.tolist(), strict=True)) == expected
    assert len(pairs) == len(expected)
