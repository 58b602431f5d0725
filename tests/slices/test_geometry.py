import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cead.slices import SliceGeometry

SPACING = (1.0, 0.94, 0.94)


def box(shape, rows, columns, depth=None):
    brain = np.zeros(shape, bool)
    brain[depth or slice(None), slice(*rows), slice(*columns)] = True
    return brain


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_labels_inside_the_crop_come_back_voxel_for_voxel(data):
    height, width = data.draw(st.integers(20, 300)), data.draw(st.integers(20, 300))
    size = data.draw(st.sampled_from([64, 196]))
    top = data.draw(st.integers(0, height - 5))
    left = data.draw(st.integers(0, width - 5))
    bottom = data.draw(st.integers(top + 1, min(height, top + size - 1)))
    right = data.draw(st.integers(left + 1, min(width, left + size - 1)))
    brain = box((2, height, width), (top, bottom), (left, right))
    geometry = SliceGeometry.fit(brain, SPACING, size=size)
    assert not geometry.resampled
    assert geometry.cut_off(brain) == 0
    labels = np.random.default_rng(0).integers(0, 5, brain.shape) * brain
    there = geometry.labels_to_model(labels)
    assert there.shape == (2, size, size)
    np.testing.assert_array_equal(geometry.labels_to_patient(there), labels)
    values = np.random.default_rng(1).random(brain.shape).astype(np.float32) * brain
    np.testing.assert_array_equal(geometry.to_patient(geometry.to_model(values)), values)


def test_the_brain_of_the_fullest_slice_is_centred():
    brain = box((3, 256, 256), (90, 91), (90, 91))
    brain[1] = box((1, 256, 256), (40, 200), (100, 220))[0]
    geometry = SliceGeometry.fit(brain, SPACING)
    rows = np.flatnonzero(geometry.labels_to_model(brain)[1].any(axis=1))
    columns = np.flatnonzero(geometry.labels_to_model(brain)[1].any(axis=0))
    for where in (rows, columns):
        before, after = where[0], 195 - where[-1]
        assert abs(before - after) <= 1


def test_one_shift_serves_all_slices():
    brain = box((2, 256, 256), (40, 200), (100, 220))
    brain[0] = box((1, 256, 256), (50, 60), (110, 120))[0]
    geometry = SliceGeometry.fit(brain, SPACING)
    moved = [np.argwhere(part)[0] for part in geometry.labels_to_model(brain)]
    assert (moved[0] - moved[1]).tolist() == [10, 10]


def test_a_brain_at_the_edge_is_padded_with_zeros():
    brain = box((1, 100, 100), (0, 30), (0, 30))
    geometry = SliceGeometry.fit(brain, SPACING, size=64)
    model = geometry.to_model(np.ones((1, 100, 100), np.float32))
    assert model[0, 0, 0] == 0
    assert model[0, -1, -1] == 1


def test_a_like_voxel_size_is_not_resampled_and_an_unlike_one_is():
    brain = box((1, 256, 256), (50, 150), (50, 150))
    assert not SliceGeometry.fit(brain, (1, 1.0, 1.0)).resampled
    geometry = SliceGeometry.fit(brain, (1, 0.47, 0.47))
    assert geometry.zoom == pytest.approx((0.5, 0.5))
    assert "0.47" in geometry.reason


def test_resampling_keeps_millimetres():
    brain = box((1, 200, 240), (50, 140), (40, 200))
    geometry = SliceGeometry.fit(brain, (1, 1.88, 0.47))
    shown = geometry.to_model(brain.astype(np.float32))[0] > 0.5
    height = np.flatnonzero(shown.any(axis=1))
    width = np.flatnonzero(shown.any(axis=0))
    assert len(height) * 0.94 == pytest.approx(90 * 1.88, abs=2)
    assert len(width) * 0.94 == pytest.approx(160 * 0.47, abs=2)


def test_a_brain_larger_than_the_crop_is_shrunk_not_cut():
    brain = box((1, 300, 300), (10, 290), (40, 200))
    geometry = SliceGeometry.fit(brain, SPACING)
    assert "larger than the model's image" in geometry.reason
    assert geometry.cut_off(brain) == 0
    assert geometry.zoom[0] == geometry.zoom[1] == pytest.approx(196 / 280)
    shown = geometry.to_model(brain.astype(np.float32))[0] > 0.5
    assert np.flatnonzero(shown.any(axis=1))[[0, -1]].tolist() == [0, 195]


def test_a_resampled_smooth_map_comes_back_close():
    y, x = np.mgrid[:220, :200]
    smooth = np.exp(-((y - 110) ** 2 + (x - 100) ** 2) / 2000.0)[None].astype(np.float32)
    brain = box((1, 220, 200), (20, 200), (20, 180))
    geometry = SliceGeometry.fit(brain, (1, 0.6, 0.6))
    assert geometry.resampled
    back = geometry.to_patient(geometry.to_model(smooth))
    assert np.abs(back - smooth)[brain].max() < 0.01
    mask = smooth > 0.5
    again = geometry.labels_to_patient(geometry.labels_to_model(mask))
    assert again.dtype == bool
    assert 2 * (mask & again).sum() / (mask.sum() + again.sum()) > 0.97


def test_what_lies_outside_is_counted():
    brain = box((1, 256, 256), (100, 150), (100, 150))
    geometry = SliceGeometry.fit(brain, SPACING, size=64)
    stray = np.zeros_like(brain)
    stray[0, 5, 5] = stray[0, 120, 120] = True
    assert geometry.cut_off(stray) == 1
