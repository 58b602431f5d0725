"""Components and surfaces of a mask's voxels, against SciPy on the whole array."""

import numpy as np
import pytest
from scipy import ndimage

from napari_cead.metrics import components
from napari_cead.metrics.components import Voxels


@pytest.mark.parametrize("dense", [0, 10**9], ids=["by neighbours", "by SciPy"])
@pytest.mark.parametrize("share", [0, 0.02, 0.2, 0.6, 1])
@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 8, 9), (1, 1, 1), (11, 13), (12, 20, 15)])
def test_same_labels_and_surface_as_scipy(shape, share, dense, monkeypatch):
    monkeypatch.setattr(components, "_DENSE", dense)
    rng = np.random.default_rng(len(shape))
    for _ in range(3):
        mask = rng.random(shape) < share
        voxels = Voxels(mask)
        for rank in range(1, mask.ndim + 1):
            labels, count = voxels.labels(rank)
            expected, number = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, rank))
            assert count == number
            np.testing.assert_array_equal(labels, expected[mask])
        surface = np.zeros(shape, bool)
        surface.flat[voxels.places[voxels.on_surface]] = True
        plane = len(shape) == 3 and shape[0] == 1  # the surface of a plane is its outline
        inside = ndimage.binary_erosion(mask[0])[None] if plane else ndimage.binary_erosion(mask)
        np.testing.assert_array_equal(surface, mask & ~inside)


@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_each_pair_of_neighbours_comes_once(shape):
    mask = np.random.default_rng(0).random(shape) < 0.5
    voxels = Voxels(mask)
    where = np.argwhere(mask)
    for rank in range(1, mask.ndim + 1):
        apart = abs(where[:, None] - where[None])
        expected = np.argwhere(np.triu((apart.max(axis=2) == 1) & (apart.sum(axis=2) <= rank)))
        parts = [*voxels.neighbours(rank)]
        found = np.sort(np.concatenate([np.stack(part, axis=1) for part in parts]), axis=1)
        np.testing.assert_array_equal(np.unique(found, axis=0), expected)
        assert len(found) == len(expected)
        assert all(len(np.unique(side)) == len(side) for part in parts for side in part)
