"""Lesion-wise scores, by hand and against the challenge's steps written out."""

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_cead.metrics import dice, hd95, lesionwise

MM = (1.0, 1.0, 1.0)


def step_by_step(mask, reference, spacing):
    """The steps of the challenge's code for ``BraTS-MET``, lesion after lesion on the whole volume."""
    grown, everywhere = ndimage.generate_binary_structure(3, 2), np.ones((3, 3, 3))
    groups, number = ndimage.label(ndimage.binary_dilation(reference, grown), everywhere)
    lesions, (detections, count) = groups * reference, ndimage.label(mask, everywhere)
    belonging, scores = set(), []
    for lesion in (lesions == one for one in range(1, number + 1)):
        near = set(np.unique(detections * ndimage.binary_dilation(lesion, grown))) - {0}
        belonging |= near
        if lesion.sum() * np.prod(spacing) > 2:
            found = np.isin(detections, list(near)) & (detections > 0)
            distance = hd95(found, lesion, spacing)
            scores.append((dice(found, lesion), 374 if math.isnan(distance) else distance))
    false = count - len(belonging)
    scores += [(0, 374)] * false
    return (*np.mean(scores, axis=0), false)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [MM, (3.0, 0.5, 0.6)])
def test_same_as_step_by_step(seed, spacing):
    rng = np.random.default_rng(seed)
    reference, mask = (ndimage.gaussian_filter(rng.random((9, 18, 17)), 1) > level for level in (0.6, 0.58))
    found = lesionwise(mask, reference, spacing)
    expected = step_by_step(mask, reference, spacing)
    assert (found.dice, found.hd95, found.false_detections) == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    mask, reference = np.zeros((2, 20, 20, 20))
    reference[2:6, 2:6, 2:6] = 1  # found as it is
    mask[2:6, 2:6, 2:6] = 1
    reference[12:14, 12:14, 12:14] = 1  # missed
    mask[2:4, 15:17, 2:4] = 1  # false
    reference[17, 2, 17] = 1  # too small to count
    found = lesionwise(mask, reference, MM)
    assert (found.lesions, found.missed, found.false_detections) == (2, 1, 1)
    assert found.dice == pytest.approx(1 / 3)
    assert found.hd95 == pytest.approx(2 * 374 / 3)
    mask[17, 3, 17] = 1  # belongs to the small one: neither false nor a score
    assert lesionwise(mask, reference, MM) == found


def test_lesions_that_nearly_touch_are_one():
    mask, reference = np.zeros((2, 10, 10, 12))
    reference[2:5, 2:5, 2:5] = reference[2:5, 2:5, 6:9] = 1
    mask[2:5, 2:5, 2:5] = 1
    found = lesionwise(mask, reference, MM)
    assert (found.lesions, found.missed) == (1, 0)
    assert found.dice == pytest.approx(2 * 27 / (27 + 54))


def test_a_single_slice_is_measured_in_the_plane():
    mask, reference = np.zeros((2, 1, 20, 20))
    reference[0, 4:12, 4:12] = 1
    mask[0, 6:10, 6:10] = 1
    found = lesionwise(mask, reference, MM)
    assert found.hd95 == hd95(mask, reference, MM) > 0


def test_nothing_to_find_and_nothing_found_is_undefined():
    empty, some = np.zeros((4, 5, 6)), np.zeros((4, 5, 6))
    some[1:3, 1:3, 1:3] = 1
    assert math.isnan(lesionwise(empty, empty, MM).dice)
    assert (lesionwise(some, empty, MM).dice, lesionwise(some, empty, MM).hd95) == (0, 374)
    assert lesionwise(empty, some, MM).missed == 1
    with pytest.raises(ValueError, match="lesion-wise"):
        lesionwise(np.zeros((3, 3)), np.zeros((3, 3)), MM)
