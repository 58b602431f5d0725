import math

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label, regionprops

from napari_cead.metrics import lesion_f1, match_lesions


def test_found_missed_and_false_by_hand():
    reference, mask = np.zeros((6, 20, 20)), np.zeros((6, 20, 20))
    reference[1:3, 2:6, 2:6] = 1  # found by one voxel
    reference[4, 10:12, 10:12] = 1  # missed
    mask[2:4, 5, 5] = 1  # true
    mask[0, 15:17, 15:18] = 1  # false
    match = match_lesions(mask, reference, spacing=(2.0, 0.5, 1.0))
    assert [lesion.id for lesion in match.found] == [1]
    assert [lesion.id for lesion in match.missed] == [2]
    assert [detection.id for detection in match.false_detections] == [1]
    assert [detection.id for detection in match.true_detections] == [2]
    found, true = match.found[0], match.true_detections[0]
    assert (found.volume_mm3, found.overlap_mm3, found.matches) == (32.0, 1.0, (2,))
    assert (true.volume_mm3, true.overlap_mm3, true.matches) == (2.0, 1.0, (1,))
    assert match.false_detections[0].volume_mm3 == 6.0
    assert (match.missed[0].overlap_mm3, match.missed[0].matches) == (0.0, ())
    assert (match.sensitivity, match.precision) == (0.5, 0.5)


def test_one_detection_may_find_many_lesions_and_the_other_way_round():
    lesions, bridge = np.zeros((1, 3, 20)), np.zeros((1, 3, 20))
    lesions[0, 1, [2, 8, 14]] = 1
    bridge[0, 1, 1:16] = 1
    match = match_lesions(bridge, lesions)
    assert (match.sensitivity, match.precision) == (1.0, 1.0)
    assert match.detections[0].matches == (1, 2, 3)
    assert match.detections[0].overlap_mm3 == 3.0
    match = match_lesions(lesions, bridge)
    assert match.lesions[0].matches == (1, 2, 3)
    assert len(match.true_detections) == 3


def test_touching_is_not_overlapping():
    match = match_lesions([[1, 0], [0, 0]], [[0, 1], [0, 0]])
    assert (len(match.missed), len(match.false_detections)) == (1, 1)


@pytest.mark.parametrize(("connectivity", "lesions"), [(None, 1), (26, 1), (18, 2), (6, 4)])
def test_connectivity_in_three_dimensions(connectivity, lesions):
    reference = np.zeros((4, 4, 4))
    reference[0, 0, 0] = reference[1, 1, 1] = 1  # corner to corner
    reference[1, 2, 2] = reference[1, 2, 3] = 1  # edge to edge with the second
    reference[2, 3, 3] = 1  # edge to edge with the last
    match = match_lesions(np.zeros_like(reference), reference, connectivity=connectivity)
    assert len(match.lesions) == lesions


def test_connectivity_in_two_dimensions():
    reference = np.eye(3)
    assert len(match_lesions(reference, reference).lesions) == 1
    assert len(match_lesions(reference, reference, connectivity=4).lesions) == 3
    with pytest.raises(ValueError, match="connectivity"):
        match_lesions(reference, reference, connectivity=26)


def test_empty_cases():
    nothing, something = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    something[0, 0, 0] = 1
    match = match_lesions(nothing, nothing)
    assert (match.lesions, match.detections) == ((), ())
    assert math.isnan(match.sensitivity) and math.isnan(match.precision)
    match = match_lesions(something, nothing)
    assert math.isnan(match.sensitivity)
    assert (match.precision, len(match.false_detections)) == (0.0, 1)
    match = match_lesions(nothing, something)
    assert math.isnan(match.precision)
    assert (match.sensitivity, len(match.missed)) == (0.0, 1)


@pytest.mark.parametrize("seed", range(4))
def test_components_equal_scikit_image(seed):
    rng = np.random.default_rng(seed)
    shape = (9, 40, 40)
    reference = ndimage.gaussian_filter(rng.random(shape), 1.5) > 0.55
    mask = ndimage.gaussian_filter(rng.random(shape), 1.2) > 0.56
    reference[:, :, :5] = mask[:, :4] = False  # so that the box of both is not the volume
    match = match_lesions(mask, reference, spacing=(3.0, 0.9, 0.9))
    for components, own, other in ((match.lesions, reference, mask), (match.detections, mask, reference)):
        regions = regionprops(label(own, connectivity=3))
        assert len(regions) == len(components) > 3
        assert [component.id for component in components] == list(range(1, len(regions) + 1))
        expected = {region.label: (region.area, other[tuple(region.coords.T)].sum()) for region in regions}
        for component in components:
            area, overlap = expected[component.id]
            assert component.volume_mm3 == pytest.approx(area * 2.43)
            assert component.overlap_mm3 == pytest.approx(overlap * 2.43)
            assert component.matched == (overlap > 0)
    pairs = {(lesion.id, match_id) for lesion in match.lesions for match_id in lesion.matches}
    assert pairs == {(match_id, found.id) for found in match.detections for match_id in found.matches}


def test_wrong_input_is_refused():
    volume = np.zeros((2, 3, 3))
    with pytest.raises(ValueError, match="differ in shape"):
        match_lesions(volume, volume[:1])
    with pytest.raises(ValueError, match="dimensions"):
        match_lesions(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="spacings"):
        match_lesions(volume, volume, spacing=(1.0, 1.0))


@pytest.mark.parametrize(
    ("mask", "reference", "expected"),
    [
        ([[1, 0, 1, 0, 1]], [[1, 0, 0, 0, 0]], 2 / 4),  # one lesion found, two false: 2 TP / (2 TP + FP + FN)
        ([[1, 0, 0, 0, 0]], [[1, 0, 1, 0, 0]], 2 / 3),
        ([[0, 0, 0, 0, 0]], [[1, 0, 1, 0, 0]], 0.0),
        ([[0, 1, 0, 0, 0]], [[0, 0, 0, 0, 0]], 0.0),
        ([[0, 0, 0, 0, 1]], [[1, 0, 0, 0, 0]], 0.0),
        ([[0, 0, 0, 0, 0]], [[0, 0, 0, 0, 0]], math.nan),
    ],
)
def test_f1_where_lesions_and_detections_are_paired_one_to_one(mask, reference, expected):
    match = match_lesions(mask, reference)
    assert lesion_f1(match.sensitivity, match.precision) == pytest.approx(expected, nan_ok=True)
