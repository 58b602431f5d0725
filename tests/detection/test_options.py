import json

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import disk

from napari_cead.detection.options import MAP_OPTIONS, MapOptions
from napari_cead.errors import ParameterError
from scans import make_brain

SPACING = (2.0, 0.8, 1.25)


@pytest.fixture(scope="module")
def brain():
    """A brain with a hole, cut off by the border of the image, an empty slice, and a slice that is all brain."""
    volume, _ = make_brain((6, 50, 44))
    mask = volume > 0
    mask[2, 20:24, 15:30] = False
    mask[3] = np.roll(mask[3], 12, axis=1)
    mask[4] = True
    mask[5] = False
    return mask


@pytest.fixture(scope="module")
def anomaly_map(brain):
    return np.where(brain, np.random.default_rng(0).random(brain.shape, dtype=np.float32), np.float32(0))


def test_off_by_default_and_then_nothing_changes(anomaly_map, brain):
    assert MapOptions().model_dump() == {"smoothing_mm": 0.0, "erosion_radius": 0}
    np.testing.assert_array_equal(MapOptions().apply(anomaly_map, brain, SPACING), anomaly_map)


@pytest.mark.parametrize("sigma", [0.3, 1.5, 6.0])
def test_smoothing_is_a_mean_over_brain_pixels_with_gaussian_weights(anomaly_map, brain, sigma):
    found = MapOptions(smoothing_mm=sigma).apply(anomaly_map, brain, SPACING)
    for z, inside in enumerate(brain):
        pixels = (sigma / SPACING[1], sigma / SPACING[2])
        weight, total = (
            ndimage.gaussian_filter(plane, pixels, mode="constant")
            for plane in (inside.astype(float), anomaly_map[z].astype(float))
        )
        expected = np.where(inside, total / np.where(inside, weight, 1), 0)
        np.testing.assert_allclose(found[z], expected, atol=2e-6)
    assert found.dtype == np.float32 and found.max() <= 1


def test_smoothing_does_not_darken_the_rim(brain):
    found = MapOptions(smoothing_mm=3.0).apply(brain.astype(np.float32), brain, SPACING)
    np.testing.assert_allclose(found, brain, atol=1e-6)


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 7, 12, 25])
def test_erosion_is_that_by_a_disk(anomaly_map, brain, radius):
    found = MapOptions(erosion_radius=radius).apply(anomaly_map, brain, SPACING)
    for z, inside in enumerate(brain):
        kept = ndimage.binary_erosion(inside, disk(radius))
        np.testing.assert_array_equal(found[z], np.where(kept, anomaly_map[z], 0))


def test_what_is_eroded_still_weighs_in_the_smoothing(anomaly_map, brain):
    options = MapOptions(smoothing_mm=2.0, erosion_radius=3)
    smooth = options.replace(erosion_radius=0).apply(anomaly_map, brain, SPACING)
    kept = np.stack([ndimage.binary_erosion(inside, disk(3)) for inside in brain])
    np.testing.assert_array_equal(options.apply(anomaly_map, brain, SPACING), np.where(kept, smooth, 0))


def test_a_slice_alone_gives_the_same(anomaly_map, brain):
    options = MapOptions(smoothing_mm=2.0, erosion_radius=2)
    whole = options.apply(anomaly_map, brain, SPACING)
    chosen = [3, 0]
    np.testing.assert_array_equal(options.apply(anomaly_map[chosen], brain[chosen], SPACING), whole[chosen])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smoothing_mm", -0.1),
        ("smoothing_mm", 10.5),
        ("smoothing_mm", float("nan")),
        ("smoothing_mm", "1"),
        ("smoothing_mm", True),
        ("erosion_radius", -1),
        ("erosion_radius", 26),
        ("erosion_radius", 1.5),
        ("erosion_radius", False),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(name, value):
    with pytest.raises(ParameterError) as caught:
        MapOptions().replace(**{name: value})
    row = next(row for row in MAP_OPTIONS if row.name == name)
    assert str(caught.value) == f"{name} must be {row.range}, not {value!r}"


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ParameterError, match=r"no map setting 'sigma', only smoothing_mm, erosion_radius"):
        MapOptions(sigma=1)


def test_json_gives_the_same_back():
    options = MapOptions(smoothing_mm=0.1 + 0.2, erosion_radius=np.int64(3))
    assert MapOptions(**json.loads(json.dumps(options.model_dump(mode="json")))) == options
    assert hash(options) == hash(MapOptions(smoothing_mm=0.1 + 0.2, erosion_radius=3))


def test_the_table_describes_every_field():
    assert [row.name for row in MAP_OPTIONS] == list(MapOptions.model_fields)
    assert [(row.title, row.unit, row.minimum, row.maximum) for row in MAP_OPTIONS] == [
        ("Smoothing", "mm", 0, 10),
        ("Brain erosion", "px", 0, 25),
    ]
    for row in MAP_OPTIONS:
        assert type(row.default) is row.kind and row.description.endswith(".") and row.step > 0
