import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from napari_cead.metrics import hd95, surface


def by_definition(mask, reference, spacing):
    """All distances between the centres of surface voxels, the larger 95th percentile of the two directions."""

    def surface(volume):
        volume = np.pad(volume > 0, 1)
        cross = ndimage.generate_binary_structure(volume.ndim, 1)
        inside = ndimage.minimum_filter(volume, footprint=cross)
        return np.argwhere(volume & ~inside) * np.array(spacing)

    distances = cdist(surface(mask), surface(reference))
    return max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((9, 14, 12), (3.0, 0.94, 0.5)), ((5, 8, 30), (1.0, 1.0, 1.0)), ((20, 25), (0.7, 2.0))],
)
def test_equals_the_definition(shape, spacing, seed):
    rng = np.random.default_rng(seed)
    mask, reference = (ndimage.uniform_filter(rng.random(shape), 3) > level for level in (0.58, 0.6))
    assert mask.any() and reference.any()
    assert hd95(mask, reference, spacing) == pytest.approx(by_definition(mask, reference, spacing), rel=1e-12)


def by_distance_maps(mask, reference, spacing):
    """The distance of every voxel of the volume to the surface of the other mask."""

    def surface(volume):
        return volume & ~ndimage.binary_erosion(volume)

    one, other = surface(mask), surface(reference)
    directions = [
        ndimage.distance_transform_edt(~goal, sampling=spacing)[start]
        for start, goal in ((one, other), (other, one))
    ]
    return max(np.percentile(distances, 95) for distances in directions)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [(0.5, 0.62), (0.3, 0.5), (0.62, 0.62)])
@pytest.mark.parametrize("spacing", [(1.0, 0.9375, 0.9375), (4.0, 0.5, 0.5)])
def test_equals_distance_maps_to_the_last_digit(spacing, levels, seed):
    rng = np.random.default_rng(seed)
    mask, reference = (ndimage.uniform_filter(rng.random((8, 21, 19)), 3) > level for level in levels)
    assert hd95(mask, reference, spacing) == by_distance_maps(mask, reference, spacing)


def test_boxes_that_are_shifted():
    mask, reference = np.zeros((2, 12, 30, 30), dtype=np.uint8)
    reference[2:10, 5:15, 5:15] = 1
    mask[2:10, 5:15, 8:18] = 1
    # The faces across the shift, a tenth of the surface at least, are three voxels off each other; nothing is more.
    assert hd95(mask, reference, (2.0, 1.0, 0.5)) == pytest.approx(1.5)
    assert hd95(mask, reference, (2.0, 1.0, 2.0)) == pytest.approx(6.0)
    assert hd95(reference, mask, (2.0, 1.0, 2.0)) == pytest.approx(6.0)
    assert hd95(mask, mask, (2.0, 1.0, 2.0)) == 0


def test_both_directions_count():
    mask, reference = np.zeros((2, 40, 40))
    reference[5, 5] = 1
    mask[5, [5, 35]] = 1  # from the reference to the mask all is well
    assert hd95(mask, reference, (1.0, 1.0)) == pytest.approx(np.percentile([0, 30], 95))
    assert hd95(reference, mask, (1.0, 1.0)) == pytest.approx(28.5)


def test_a_mask_at_the_border_of_the_array_has_a_surface_there():
    reference = np.ones((6, 8, 8))
    mask = np.zeros_like(reference)
    mask[1:-1, 1:-1, 1:-1] = 1
    spacing = (2.0, 1.0, 1.0)
    assert hd95(mask, reference, spacing) == pytest.approx(by_definition(mask, reference, spacing), rel=1e-12)


def test_a_single_slice_is_measured_in_the_plane():
    mask, reference = np.zeros((2, 1, 20, 20))
    reference[0, 4:12, 4:12] = 1
    mask[0, 6:10, 6:10] = 1
    expected = by_definition(mask[0], reference[0], (0.5, 2.0))
    assert hd95(mask, reference, (3.0, 0.5, 2.0)) == hd95(mask[0], reference[0], (0.5, 2.0))
    assert hd95(mask, reference, (3.0, 0.5, 2.0)) == pytest.approx(expected)
    assert expected > 0  # in 3-D, where every voxel of one slice is surface, the inner mask would be 0 away


def test_it_is_undefined_where_a_mask_is_empty():
    empty, some = np.zeros((4, 5, 5)), np.ones((4, 5, 5))
    assert all(
        math.isnan(hd95(one, other, (1, 1, 1)))
        for one, other in ((empty, some), (some, empty), (empty, empty))
    )


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="shape"):
        hd95(np.ones((2, 3, 3)), np.ones((1, 3, 3)), (1, 1, 1))
    with pytest.raises(ValueError, match="spacings"):
        hd95(np.ones((2, 3, 3)), np.ones((2, 3, 3)), (1, 1))
    with pytest.raises(ValueError, match="dimensions"):
        hd95(np.ones(3), np.ones(3), (1,))


@pytest.mark.parametrize("seed", range(12))
def test_not_to_look_up_every_voxel_changes_no_digit(seed, monkeypatch):
    """Against the percentile of all distances, each to all others, however few are looked up one by one."""
    monkeypatch.setattr(surface, "FEW", int(np.random.default_rng(seed).integers(1, 40)))
    rng = np.random.default_rng(seed)
    axes, spacing = int(rng.integers(2, 4)), rng.choice([0.5, 0.94, 1.0, 3.0], 3)
    here, there = (
        np.unique(rng.integers(0, int(rng.integers(3, 60)), (int(rng.integers(1, 700)), axes)), axis=0)
        + rng.integers(0, 30, axes)
        for _ in range(2)
    )
    squares = (((here[:, None] - there[None]) * spacing[-axes:]) ** 2).sum(axis=2)
    expected = max(np.percentile(np.sqrt(squares.min(axis=axis)), surface.PERCENTILE) for axis in (0, 1))
    assert surface.surface_distance(here, there, spacing) == pytest.approx(expected, rel=1e-14)
