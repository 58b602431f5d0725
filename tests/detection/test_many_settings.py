"""Counts under many settings at once, against the masks that the definition makes one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import disk

from napari_cead import PostprocessParams
from napari_cead.detection import many_settings
from napari_cead.detection.many_settings import masks_of, overlaps

SPACING = (3.0, 0.9, 0.8)


def by_definition(pixels, params, brain):
    """One slice, call by call as the design defines it."""
    mask = pixels > np.float32(params.threshold)
    if radius := params.closing_radius:
        mask = ndimage.binary_closing(np.pad(mask, radius), disk(radius))[radius:-radius, radius:-radius]
    labels, count = ndimage.label(ndimage.binary_fill_holes(mask), np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    keep = (areas >= params.area_fraction * areas.max()) & (areas * 0.9 * 0.8 >= params.min_area_mm2)
    keep[0] = False
    mask = keep[labels]
    if params.dilation_radius:
        mask = ndimage.binary_dilation(mask, disk(params.dilation_radius))
    return mask & brain if params.inside_brain else mask


def counted_one_by_one(anomaly_map, reference, brain, grid):
    slices = [*zip(anomaly_map, brain, strict=True)]
    masks = [
        np.stack([by_definition(pixels, params, inside) for pixels, inside in slices]) for params in grid
    ]
    return [[np.count_nonzero(mask), np.count_nonzero(mask & reference)] for mask in masks]


def noise(rng, shape):
    return rng.random(shape) ** 3


def coarse(rng, shape):
    """Large components with holes, many of one size."""
    return (
        np.kron(rng.integers(0, 4, (shape[0], shape[1] // 3 + 1, shape[2] // 3 + 1)), np.ones((1, 3, 3)))[
            :, : shape[1], : shape[2]
        ]
        / 4
    )


def smooth(rng, shape):
    values = ndimage.gaussian_filter(rng.random(shape), (0, 1.5, 1.5))
    return (values - values.min()) / np.ptp(values)


def rings(rng, shape):
    """Rings in rings, diagonal lines between them: holes, and corners that touch."""
    y, x = np.indices(shape[1:])
    one = (np.maximum(abs(y - shape[1] // 2), abs(x - shape[2] // 2)) % 3 == 0) * 0.6 + (
        (y + x) % 7 == 0
    ) * 0.3
    return np.stack([np.roll(one, z, axis=0) for z in range(shape[0])]) * rng.choice([0.2, 1.0], shape)


def borders(rng, shape):
    """All along the borders of the slices, next to those of the slices before and after."""
    values = np.zeros(shape)
    values[:, [0, -1]] = rng.random((shape[0], 2, shape[2]))
    values[:, :, [0, -1]] = rng.random((shape[0], shape[1], 2))
    return values


def with_nan(rng, shape):
    return np.where(rng.random(shape) < 0.2, np.nan, rng.random(shape) - 0.2)


def nothing(rng, shape):
    return np.zeros(shape)


MAPS = (noise, coarse, smooth, rings, borders, with_nan, nothing)


def some_settings(rng, values):
    """Settings at random, with thresholds that are values of the map among them."""
    exact = [float(value) for value in values[np.isfinite(values) & (values >= 0) & (values <= 1)][:50]]
    closing, dilation = rng.choice([0, 1, 2, 4]), rng.choice([0, 1, 9])
    for _ in range(25):
        yield PostprocessParams(
            threshold=rng.choice([0.0, 0.25, 0.5, 0.999, 1.0, rng.random(), *exact]),
            closing_radius=int(rng.integers(0, closing + 1)),
            area_fraction=float(rng.choice([0, 0.2, 0.6, 0.999, 1, rng.random()])),
            dilation_radius=int(rng.integers(0, dilation + 1)),
            min_area_mm2=float(rng.choice([0, 0, 1.44, 10])),
            inside_brain=bool(rng.random() < 0.7),
        )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(4, 17, 23), (1, 1, 9), (3, 30, 5)])
@pytest.mark.parametrize("make", MAPS)
def test_same_counts_as_the_masks_one_by_one(make, shape, seed):
    rng = np.random.default_rng([seed, *shape, MAPS.index(make)])
    anomaly_map = make(rng, shape).astype(np.float32)
    brain, reference = rng.random(shape) < 0.8, rng.random(shape) < rng.choice([0, 0.05, 0.5])
    grid = [*some_settings(rng, anomaly_map.ravel())]
    found = overlaps(anomaly_map, reference, brain, grid, SPACING)
    assert found.tolist() == counted_one_by_one(anomaly_map, reference, brain, grid)


def specks(rng, shape):
    """Specks of all sizes beside large components with specks in their holes: most are wiped out."""
    values = rng.random(shape) ** 4
    blobs = ndimage.gaussian_filter(rng.random(shape), (0, 4, 4))
    return np.where(
        blobs > np.quantile(blobs, 0.8), np.maximum(values, 0.6 + 0.4 * rng.random(shape)), values
    )


@pytest.mark.parametrize("make", [specks, noise, smooth, rings, coarse])
@pytest.mark.parametrize("many", [0, 1000])
def test_same_counts_where_specks_are_wiped_out(make, many, monkeypatch):
    monkeypatch.setattr(many_settings, "_MANY", many)
    shape = (5, 90, 97)
    rng = np.random.default_rng([many, (specks, *MAPS).index(make)])
    anomaly_map = make(rng, shape).astype(np.float32)
    brain, reference = rng.random(shape) < 0.97, rng.random(shape) < 0.1
    grid = [
        PostprocessParams(
            threshold=float(threshold),
            closing_radius=closing,
            area_fraction=area,
            dilation_radius=dilation,
        )
        for threshold in np.quantile(anomaly_map, [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999]).clip(0, 1)
        for closing, area, dilation in ((2, 0.6, 1), (1, 0.6, 0), (1, 0.2, 0), (0, 0.01, 0), (0, 0.0, 0))
    ]
    found = overlaps(anomaly_map, reference, brain, grid, SPACING)
    assert found.tolist() == counted_one_by_one(anomaly_map, reference, brain, grid)


@pytest.mark.parametrize("side", [1, 3, 7])
@pytest.mark.parametrize("seed", range(4))
def test_specks_are_wiped_out_whole_at_each_level(side, seed):
    rng = np.random.default_rng([side, seed])
    levels = np.where(rng.random((60, 71)) < rng.choice([0.03, 0.1, 0.3]), rng.integers(1, 5, (60, 71)), 0)
    levels = levels.astype(rng.choice([np.uint8, np.uint16]))
    levels[:, [0, -1]] = levels[[0, -1]] = 0
    found, gone = many_settings._wiped(levels, side), 0
    for level in range(4):
        labels, _ = ndimage.label(levels > level, np.ones((3, 3)))
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            left = (found > level)[labels == number]
            assert left.all() or not left.any()
            size = max(each.stop - each.start for each in box)
            assert left.all() or size <= side
            gone += not left.any()
            alone = tuple(slice(max(each.start - side, 0), each.stop + side) for each in box)
            if size <= side and np.isin(labels[alone], [0, number]).all():
                assert not left.any()
        assert not ((found > level) & (labels == 0)).any()
    assert gone


def test_more_thresholds_than_eight_bits_count():
    rng = np.random.default_rng(0)
    anomaly_map = smooth(rng, (3, 12, 14)).astype(np.float32)
    brain, reference = np.ones((2, *anomaly_map.shape), bool)
    grid = [PostprocessParams(threshold=value / 400, closing_radius=1) for value in range(400)]
    found = overlaps(anomaly_map, reference, brain, grid, SPACING)
    assert found.tolist() == counted_one_by_one(anomaly_map, reference, brain, grid)


def test_no_settings_have_no_counts():
    some = np.ones((1, 4, 4), bool)
    assert overlaps(some.astype(np.float32), some, some, []).shape == (0, 2)


@pytest.mark.parametrize("make", MAPS)
def test_same_masks_as_one_by_one(make):
    shape = (4, 17, 23)
    rng = np.random.default_rng([7, MAPS.index(make)])
    anomaly_map, brain = make(rng, shape).astype(np.float32), rng.random(shape) < 0.8
    grid = [*some_settings(rng, anomaly_map.ravel())]
    found = dict(masks_of(anomaly_map, brain, [*grid, *grid[:3]], SPACING))
    assert found.keys() == {*grid}
    for params, mask in found.items():
        for pixels, inside, own in zip(anomaly_map, brain, mask, strict=True):
            np.testing.assert_array_equal(own, by_definition(pixels, params, inside))


def test_values_beside_thresholds_and_thresholds_beside_each_other():
    """Thresholds one digit apart, the values of which share their leading digits with them."""
    exact = np.array([0, 1e-45, 1e-9, 0.1, 1 / 3, 0.5, 1], np.float32)
    steps = [np.nextafter(exact, np.float32(side)) for side in (-1, 2)]
    values = np.unique(np.concatenate([exact, *steps, [-1, -0.0, np.inf, np.nan]]).astype(np.float32))
    grid = [
        PostprocessParams(threshold=float(value), closing_radius=0, area_fraction=0, dilation_radius=0)
        for value in values
        if 0 <= value <= 1
    ]
    anomaly_map = values.reshape(-1, 1, 1)  # each alone in its slice
    every = np.ones(anomaly_map.shape, bool)
    found = overlaps(anomaly_map, every, every, grid)
    for params, (detected, _) in zip(grid, found, strict=True):
        assert detected == np.count_nonzero(values > np.float32(params.threshold))
