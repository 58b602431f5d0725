import itertools

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform

from napari_cead.patients import Grid

SHAPE = (4, 5, 6)  # canonical Z, Y, X
SPACING = np.array([0.8, 1.1, 2.5])  # x, y, z


def all_orientations():
    for axes in itertools.permutations(("RL", "AP", "IS")):
        for signs in itertools.product((0, 1), repeat=3):
            yield "".join(pair[sign] for pair, sign in zip(axes, signs, strict=True))


@pytest.mark.parametrize("codes", all_orientations())
def test_any_axis_order_gives_the_same_anatomy_and_the_way_back_is_exact(codes):
    # World coordinates themselves are the anatomy: canonical index (z, y, x) must lie at (L+, P+, S+).
    lps_affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1])
    lps_affine[:3, 3] = (7, -3, 11)
    lps = nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(6, 5, 4), lps_affine)
    change = ornt_transform(nib.io_orientation(lps_affine), axcodes2ornt(tuple(codes)))
    image = lps.as_reoriented(change)
    assert "".join(nib.aff2axcodes(image.affine)) == codes

    grid = Grid(image.shape, image.affine)
    canonical = grid.to_canonical(np.asarray(image.dataobj))
    np.testing.assert_array_equal(canonical, np.transpose(np.asarray(lps.dataobj), (2, 1, 0)))
    assert canonical.flags.c_contiguous
    assert grid.spacing == pytest.approx((2.5, 1.1, 0.8))
    assert grid.canonical_shape == canonical.shape
    np.testing.assert_array_equal(grid.to_source(canonical), np.asarray(image.dataobj))


def test_an_oblique_affine_is_not_resampled():
    angle = np.deg2rad(8)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-0.7, -0.7, 3.0])
    data = np.random.default_rng(0).normal(size=(7, 6, 5))
    grid = Grid(data.shape, affine)
    np.testing.assert_array_equal(grid.to_source(grid.to_canonical(data)), data)
    assert grid.spacing == pytest.approx((3.0, 0.7, 0.7))


def test_grids_match_only_where_every_voxel_lies_at_the_same_place():
    grid = Grid((10, 10, 10), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 0.05
    assert grid.matches(Grid((10, 10, 10), moved))
    moved[0, 3] = 0.5
    assert not grid.matches(Grid((10, 10, 10), moved))
    assert not grid.matches(Grid((10, 10, 9), np.eye(4)))


def test_overlap_is_of_the_boxes_in_world_space():
    grid = Grid((10, 10, 10), np.eye(4))
    apart = np.eye(4)
    apart[2, 3] = 10
    assert not grid.overlaps(Grid((10, 10, 10), apart))
    apart[2, 3] = 9
    assert grid.overlaps(Grid((10, 10, 10), apart))
    flipped = np.diag([-1.0, -1, 1, 1])
    flipped[:2, 3] = 9
    assert grid.overlaps(Grid((10, 10, 10), flipped))
