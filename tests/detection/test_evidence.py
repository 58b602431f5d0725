"""Evidence against its words: smoothed, counted and added here by other means."""

import numpy as np
import pytest
from scipy import ndimage

from napari_cead.detection.evidence import CEILING, KINDS, SHARES, Seen, Tails, fused, kinds_of, rarity
from napari_cead.detection.smoothing import smoothed_in_brain
from napari_cead.detection.symmetry import midline, mirrored

SPACING = (3.0, 1.0, 1.5)


@pytest.fixture
def brain():
    z, y, x = np.ogrid[-4:5, -20:21, -15:16]
    return (z / 5) ** 2 + (y / 19) ** 2 + (x / 14) ** 2 <= 1


@pytest.fixture
def scan(brain):
    numbers = np.random.default_rng(0)
    image, lesion, brighter = (numbers.random(brain.shape).astype(np.float32) * brain for _ in range(3))
    image = np.where(brain, 0.25 + image / 2, 0).astype(np.float32)
    return Seen(image, brighter, lesion, SPACING, midline(brain))


@pytest.mark.parametrize("through", [True, False])
@pytest.mark.parametrize("sigma_mm", [1.0, 3.75])
def test_smoothing_is_that_of_scipy_over_the_brain_alone(scan, brain, sigma_mm, through):
    sigma = [sigma_mm / mm for mm in SPACING]
    if not through:
        sigma[0] = 0
    values, inside = (
        ndimage.gaussian_filter(part.astype(np.float64), sigma, mode="constant")
        for part in (scan.image, brain)
    )
    expected = np.where(brain, values / np.where(brain, inside, 1), 0)
    found = smoothed_in_brain(scan.image, brain, SPACING, sigma_mm, through=through)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_single_slice_is_smoothed_in_plane(scan, brain):
    one = slice(4, 5)
    alone = smoothed_in_brain(scan.image[one], brain[one], SPACING, 2.0)
    flat = smoothed_in_brain(scan.image, brain, SPACING, 2.0, through=False)[one]
    np.testing.assert_array_equal(alone, flat)


def test_asymmetry_sees_what_the_other_side_has_not(scan, brain):
    even = np.where(brain, np.float32(0.5), np.float32(0))
    even[4, 18:22, 3:6] = 0.9
    found = KINDS["asymmetry"].compute(Seen(even, even * 0, None, SPACING, midline(brain)))
    assert found[4, 20, 4] > 0.04 > 1e-3 > found[4, 20, 26]
    both = np.maximum(even, mirrored(even, midline(brain)))
    assert KINDS["asymmetry"].compute(Seen(both, even * 0, None, SPACING, midline(brain))).max() == 0


def test_rarity_is_minus_log10_of_the_share_above():
    healthy = np.random.default_rng(1).exponential(size=400_000).astype(np.float32)
    tails = Tails(["lesion"])
    tails._values["lesion"].append(("one", healthy))  # without smoothing, which is tested above
    (table,) = tails.table().values()
    assert len(table) == len(SHARES)
    values = np.array([0.5, 1.0, 3.0, 6.0], np.float32)
    expected = [-np.log10((healthy > value).mean()) for value in values]
    np.testing.assert_allclose(rarity(values, table), expected, atol=0.03)


def test_rarity_goes_on_beyond_the_table_and_never_falls():
    table = tuple(np.linspace(0, 0.5, len(SHARES)))
    rare = rarity(np.linspace(0, 1, 200, dtype=np.float32), table)
    assert (np.diff(rare) >= 0).all()
    assert rare[-1] == pytest.approx(9.0, abs=0.1)  # 4.5 digits over half of the way, and as steep beyond


def test_a_kind_that_healthy_tissue_never_shows_is_rare_above_nothing():
    """Most healthy voxels have exactly 0: it is not rare, and what is above is."""
    rare = rarity(np.array([0.0, 0.01], np.float32), (0.0,) * len(SHARES))
    assert rare[0] < 0.1 and rare[1] > 4


def test_sources_weigh_the_same_however_many_voxels_they_have(brain):
    few, many = np.full(100, 1.0, np.float32), np.full(10_000, 0.0, np.float32)
    tails = Tails(["change"])
    tails._values["change"] += [("few", few), ("many", many[:5000]), ("many", many[5000:])]
    table = np.array(tails.table()["change"])
    assert (table[SHARES < 0.49] == 1).all() and (table[SHARES > 0.51] == 0).all()


def test_tables_are_those_of_the_healthy_voxels_alone(scan, brain):
    healthy = brain.copy()
    healthy[:, :, 16:] = False
    tails = Tails(KINDS)
    tails.add(scan, healthy, "here")
    table = tails.table()
    assert set(table) == set(KINDS)
    for name, kind in KINDS.items():
        values = kind.compute(scan)[healthy]
        assert table[name][0] == pytest.approx(values.min(), abs=1e-6)
        assert table[name][10] == pytest.approx(np.quantile(values, 0.9), abs=2e-3)
    assert Tails(["change"]).table() == {}


def test_fused_is_the_weighted_mean_of_the_rarities(scan, brain):
    tables = {name: tuple(np.linspace(0, 0.4, len(SHARES))) for name in KINDS}
    every = np.average(
        [rarity(kind.compute(scan), tables[name]) for name, kind in KINDS.items()],
        axis=0,
        weights=[kind.weight for kind in KINDS.values()],
    )
    np.testing.assert_allclose(fused(scan, tables)[brain], np.clip(every / CEILING, 0, 1)[brain], atol=1e-6)
    assert (fused(scan, tables)[~brain] == 0).all()
    one = {"brightness": tables["brightness"]}
    alone = np.clip(rarity(KINDS["brightness"].compute(scan), one["brightness"]) / CEILING, 0, 1)
    np.testing.assert_allclose(
        fused(scan, one | {"of a later version": (0.0,)})[brain], alone[brain], atol=1e-6
    )


def test_the_change_stands_in_for_the_probability_of_a_lesion_where_there_is_none():
    assert kinds_of(lesion=True) == ("lesion", "brightness", "asymmetry")
    assert kinds_of(lesion=False) == ("change", "brightness", "asymmetry")
