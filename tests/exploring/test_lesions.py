import numpy as np
import pytest
from scipy import ndimage

from napari_cead.exploring.lesions import LesionTable

SPACING = (2.0, 0.9, 0.8)
EVERYWHERE = np.ones((3, 3, 3))


@pytest.fixture
def scan():
    rng = np.random.default_rng(3)
    noise = ndimage.gaussian_filter(rng.standard_normal((12, 60, 50)), 1.5)
    reference = ndimage.gaussian_filter(rng.standard_normal(noise.shape), 1.5) > np.quantile(noise, 0.97)
    anomaly_map = rng.random(noise.shape, dtype=np.float32)
    return noise > np.quantile(noise, 0.95), reference, anomaly_map


def component(mask, position):
    labels, _ = ndimage.label(mask, EVERYWHERE)
    assert labels[position] > 0, "the position lies inside a component"
    return labels == labels[position]


def test_every_component_is_listed_once_and_described(scan):
    mask, reference, anomaly_map = scan
    table = LesionTable.of(mask, reference, anomaly_map, SPACING)
    assert len(table.reference) == ndimage.label(reference, EVERYWHERE)[1]
    assert len(table.detected) == ndimage.label(mask, EVERYWHERE)[1]
    assert {row.found for row in table.reference} == {row.true for row in table.detected} == {True, False}
    seen = np.zeros(mask.shape, dtype=int)
    for row in table.reference:
        own = component(reference, row.position)
        seen += own
        assert row.volume_mm3 == pytest.approx(own.sum() * 1.44)
        assert row.overlap_mm3 == pytest.approx((own & mask).sum() * 1.44)
        assert row.overlap_percent == pytest.approx(100 * (own & mask).sum() / own.sum())
        assert row.found == (own & mask).any()
    np.testing.assert_array_equal(seen, reference)
    seen[:] = 0
    for row in table.detected:
        own = component(mask, row.position)
        seen += own
        assert row.volume_mm3 == pytest.approx(own.sum() * 1.44)
        assert row.mean_score == pytest.approx(anomaly_map[own].mean(), rel=1e-5)
        assert row.true == (own & reference).any()
    np.testing.assert_array_equal(seen, mask)


def test_the_largest_come_first(scan):
    table = LesionTable.of(*scan, SPACING)
    for rows in (table.reference, table.detected):
        volumes = [row.volume_mm3 for row in rows]
        assert volumes == sorted(volumes, reverse=True)
        assert sorted(row.id for row in rows) == list(range(1, len(rows) + 1))


def test_the_position_is_near_the_middle_of_the_largest_slice(scan):
    mask, reference, anomaly_map = scan
    for row in LesionTable.of(mask, reference, anomaly_map, SPACING).detected:
        own = component(mask, row.position)
        z, y, x = row.position
        areas = own.sum(axis=(1, 2))
        assert areas[z] == areas.max()
        places = np.argwhere(own[z])
        distances = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
        here = ((np.array([y, x]) - places.mean(axis=0)) ** 2).sum()
        assert here == pytest.approx(distances.min())


def test_the_position_of_a_ring_lies_on_the_ring():
    mask = np.zeros((3, 21, 21), dtype=bool)
    y, x = np.ogrid[:21, :21]
    mask[1] = np.abs(np.hypot(y - 10, x - 10) - 7) < 1
    (row,) = LesionTable.of(mask, None, np.ones(mask.shape)).detected
    assert mask[row.position]


def test_a_lesion_keeps_its_number_when_the_mask_changes(scan):
    mask, reference, anomaly_map = scan
    ids = lambda table: [(row.id, row.position) for row in table.reference]  # noqa: E731
    before = LesionTable.of(mask, reference, anomaly_map)
    assert ids(LesionTable.of(np.zeros_like(mask), reference, anomaly_map)) == ids(before)


def test_without_a_reference_nothing_is_true_or_false(scan):
    mask, _, anomaly_map = scan
    table = LesionTable.of(mask, None, anomaly_map)
    assert table.reference is None and table.match is None
    assert {row.true for row in table.detected} == {None}


def test_empty_masks_give_empty_tables():
    nothing = np.zeros((2, 8, 8), dtype=bool)
    table = LesionTable.of(nothing, nothing, nothing.astype(float))
    assert table.reference == table.detected == ()


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        LesionTable.of(np.zeros((4, 4)), None, np.zeros((4, 4)))
    with pytest.raises(ValueError, match="one shape"):
        LesionTable.of(np.zeros((1, 4, 4)), None, np.zeros((1, 4, 5)))
    with pytest.raises(ValueError, match="differ"):
        LesionTable.of(np.zeros((1, 4, 4)), np.zeros((1, 4, 5)), np.zeros((1, 4, 4)))
