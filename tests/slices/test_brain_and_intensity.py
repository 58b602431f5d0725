import numpy as np
import pytest
from scipy import ndimage

from napari_cead.errors import ParameterError, PatientError
from napari_cead.slices import brain_mask, scale_intensity
from scans import make_brain


def oracle(volume):
    labels, count = ndimage.label(volume != 0, structure=np.ones((3, 3, 3)))
    sizes = ndimage.sum_labels(np.ones(volume.shape), labels, range(1, count + 1))
    return ndimage.binary_fill_holes(labels == 1 + np.argmax(sizes))


@pytest.mark.parametrize("seed", range(20))
def test_brain_is_the_largest_component_with_holes_filled(seed):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((10, 30, 25)), 1.5)
    volume = np.where(field > np.quantile(field, rng.uniform(0.3, 0.8)), 1.0, 0.0)
    np.testing.assert_array_equal(brain_mask(volume), oracle(volume))


def test_a_hole_inside_is_brain_and_a_speck_outside_is_not():
    volume = np.zeros((9, 20, 20))
    volume[1:8, 4:15, 4:15] = 5
    volume[4, 9, 9] = 0
    volume[4, 18, 18] = 7
    mask = brain_mask(volume)
    assert mask[4, 9, 9]
    assert not mask[4, 18, 18]


def test_negative_values_belong_to_the_brain():
    volume, _ = make_brain()
    volume[6, 30, 25] = -3
    assert brain_mask(volume)[6, 30, 25]


def test_a_hole_in_a_single_slice_is_filled():
    volume = np.zeros((1, 9, 9))
    volume[0, 2:7, 2:7] = 1
    volume[0, 4, 4] = 0
    assert brain_mask(volume).sum() == 25


def test_nothing_is_no_brain():
    assert not brain_mask(np.zeros((3, 4, 5))).any()


def test_the_brains_99_5th_percentile_becomes_one():
    volume, _ = make_brain()
    brain = brain_mask(volume)
    scaled = scale_intensity(volume, brain)
    high = np.percentile(volume[brain], 99.5)
    np.testing.assert_allclose(scaled[brain], np.clip(volume[brain] / high, 0, 1), atol=1e-6)
    assert scaled.dtype == np.float32
    assert (scaled[~brain] == 0).all()
    assert scaled.max() == 1


def test_the_scale_is_that_of_the_volume_not_of_the_slice():
    volume, _ = make_brain()
    volume[:6] *= 0.5
    scaled = scale_intensity(volume, brain_mask(volume))
    assert scaled[4].max() < 0.8
    assert scale_intensity(volume, brain_mask(volume), "slice-max")[4].max() == 1


def test_negative_values_are_clipped_to_zero():
    volume, _ = make_brain()
    volume[6, 30, 25] = -50
    assert scale_intensity(volume, brain_mask(volume))[6, 30, 25] == 0


def test_the_tissues_median_is_one_half_whatever_liquid_and_lesions_there_are():
    rng = np.random.default_rng(0)
    volume = rng.normal(300, 20, (6, 20, 20))
    volume[:, :6] = 40  # liquid
    brain = np.ones(volume.shape, bool)
    tissue = np.median(volume[:, 6:])
    scaled = scale_intensity(volume, brain, "volume-tissue")
    np.testing.assert_allclose(scaled, np.clip(volume / (2 * tissue), 0, 1), rtol=1e-5)
    volume[2, 10:14, 10:14] = 3000  # a bright lesion
    other = scale_intensity(volume, brain, "volume-tissue")
    apart = np.ones_like(brain)
    apart[2, 10:14, 10:14] = False
    np.testing.assert_allclose(other[apart], scaled[apart], atol=2e-3)
    assert other[2, 12, 12] == 1


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_without_tissue_there_is_nothing_to_scale_by(value):
    with pytest.raises(PatientError, match="tissue is 0"):
        scale_intensity(np.full((2, 4, 4), value), np.ones((2, 4, 4), bool), "volume-tissue")


def test_a_volume_without_positive_intensity_is_an_error():
    volume = np.where(make_brain()[0] > 0, -1.0, 0.0)
    with pytest.raises(PatientError, match="nothing to scale by"):
        scale_intensity(volume, brain_mask(volume))


def test_an_unknown_scaling_is_an_error():
    with pytest.raises(ParameterError, match="minmax"):
        scale_intensity(np.ones((2, 2, 2)), np.ones((2, 2, 2), bool), "minmax")
