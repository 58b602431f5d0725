import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from napari_cead.metrics import Counts, confusion, dice, precision, recall, slice_dice, volume_ml


def random_masks(seed, shape=(6, 20, 20)):
    rng = np.random.default_rng(seed)
    return rng.random(shape) < 0.3, rng.random(shape) < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_scikit_learn(seed):
    mask, reference = random_masks(seed)
    assert dice(mask, reference) == pytest.approx(f1_score(reference.ravel(), mask.ravel()), abs=1e-12)
    assert precision(mask, reference) == pytest.approx(
        precision_score(reference.ravel(), mask.ravel()), abs=1e-12
    )
    assert recall(mask, reference) == pytest.approx(recall_score(reference.ravel(), mask.ravel()), abs=1e-12)


def test_dice_by_hand():
    assert dice([1, 1, 1, 0, 0], [0, 1, 1, 1, 1]) == 4 / 7
    assert dice([1, 0], [0, 1]) == 0
    assert dice([1, 0], [1, 0]) == 1


def test_dice_is_symmetric_and_ignores_true_negatives():
    mask, reference = random_masks(1)
    assert dice(mask, reference) == dice(reference, mask)
    padded = [np.pad(array, 5) for array in (mask, reference)]
    assert dice(*padded) == dice(mask, reference)


def test_empty_policy():
    nothing, something = np.zeros((2, 3)), np.ones((2, 3))
    assert math.isnan(dice(nothing, nothing))
    assert dice(nothing, nothing, empty=1.0) == 1.0
    assert dice(nothing, something, empty=1.0) == 0.0
    assert dice(something, nothing, empty=1.0) == 0.0
    assert math.isnan(precision(nothing, something))
    assert precision(nothing, something, empty=0.5) == 0.5
    assert precision(something, nothing, empty=0.5) == 0.0
    assert math.isnan(recall(something, nothing))
    assert recall(something, nothing, empty=0.5) == 0.5
    assert recall(nothing, something, empty=0.5) == 0.0


def test_values_above_zero_are_in_the_mask():
    assert confusion([2, 255, 0, -1], [0.5, np.nan, 0, 1]) == Counts(tp=1, fp=1, fn=1)
    assert confusion(np.array([255], np.uint8), np.array([1], np.uint8)).tp == 1


def test_shapes_must_agree_without_broadcasting():
    for function in (dice, precision, recall, confusion, slice_dice):
        with pytest.raises(ValueError, match="differ in shape"):
            function(np.zeros((2, 3, 3)), np.zeros((1, 3, 3)))


def test_counts_add_up():
    mask, reference = random_masks(2)
    parts = [confusion(m, r) for m, r in zip(mask, reference, strict=True)]
    assert sum(parts, start=Counts()) == confusion(mask, reference)
    whole = confusion(mask, reference)
    assert (whole.detected, whole.lesion) == (mask.sum(), reference.sum())
    assert not whole.both_empty
    assert Counts().both_empty


def test_slice_dice_is_dice_of_each_slice():
    mask, reference = random_masks(3)
    mask[0] = reference[0] = False
    mask[1] = False
    for empty in (math.nan, 1.0):
        expected = [dice(m, r, empty) for m, r in zip(mask, reference, strict=True)]
        np.testing.assert_array_equal(slice_dice(mask, reference, empty), expected)
    assert slice_dice(np.zeros((0, 4, 4)), np.zeros((0, 4, 4))).shape == (0,)
    with pytest.raises(ValueError, match="Z, Y, X"):
        slice_dice(mask[0], reference[0])


def test_volume_in_millilitres():
    mask = np.zeros((10, 10, 10))
    mask[2:7, 2:7, 2:7] = 1
    assert volume_ml(mask) == 0.125
    assert volume_ml(mask, (3.0, 0.5, 0.5)) == pytest.approx(125 * 0.75 / 1000)
    with pytest.raises(ValueError, match="spacings"):
        volume_ml(mask, (1.0, 1.0))
