"""Evidence against its words: smoothed, counted and added here by other means."""

import numpy as np
import pytest
from scipy import ndimage

from napari_cead.detection.evidence import (
    CEILING,
    KINDS,
    LEVEL,
    SHARES,
    STRETCH,
    Seen,
    Tails,
    _bulk,
    fused,
    kinds_of,
    rarity,
)
from napari_cead.detection.smoothing import smoothed_in_brain, widely
from napari_cead.slices.symmetry import midline, mirrored

SPACING = (3.0, 1.0, 1.5)


@pytest.fixture
def brain():
    z, y, x = np.ogrid[-4:5, -20:21, -15:16]
    return (z / 5) ** 2 + (y / 19) ** 2 + (x / 14) ** 2 <= 1


@pytest.fixture
def scan(brain):
    numbers = np.random.default_rng(0)
    image, lesion, repair = (numbers.random(brain.shape).astype(np.float32) * brain for _ in range(3))
    image, repair = (np.where(brain, 0.25 + part / 2, 0).astype(np.float32) for part in (image, repair))
    return Seen(image, repair, lesion, SPACING, midline(brain))


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


@pytest.mark.parametrize("depth", [1, 30])
def test_wide_smoothing_on_a_coarse_grid_is_that_of_scipy(depth):
    values = np.random.default_rng(0).random((depth, 120, 100)).astype(np.float32)
    sigma = [20 / 2 if depth > 1 else 0, 20 / 1.5, 20]
    expected = ndimage.gaussian_filter(values.astype(np.float64), sigma, mode="constant", truncate=4)
    (found,) = widely([values], (2.0, 1.5, 1.0), 20.0)
    np.testing.assert_allclose(found, expected, atol=0.05 * expected.max())


def test_a_single_slice_is_smoothed_in_plane(scan, brain):
    one = slice(4, 5)
    alone = smoothed_in_brain(scan.image[one], brain[one], SPACING, 2.0)
    flat = smoothed_in_brain(scan.image, brain, SPACING, 2.0, through=False)[one]
    np.testing.assert_array_equal(alone, flat)


def test_asymmetry_sees_what_the_other_side_has_not(scan, brain):
    even = np.where(brain, np.float32(0.5), np.float32(0))
    even[4, 18:22, 3:6] = 0.9
    found = KINDS["asymmetry"].compute(Seen(even, even, None, SPACING, midline(brain)))
    assert found[4, 20, 4] > 0.04 > 1e-3 > found[4, 20, 26]
    both = np.maximum(even, mirrored(even, midline(brain)))
    assert KINDS["asymmetry"].compute(Seen(both, both, None, SPACING, midline(brain))).max() == 0


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


SIDE, MM = (24, 60, 50), (3.0, 3.0, 3.0)


@pytest.fixture
def head():
    """A brain of grey texture with a lesion, what a network would make of it, and where it sees a lesion."""
    z, y, x = (np.arange(size) - size / 2 for size in SIDE)
    brain = (z[:, None, None] / 13) ** 2 + (y[:, None] / 28) ** 2 + (x / 23) ** 2 <= 1
    texture = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=SIDE), 1.0)
    repair = np.where(brain, 0.5 + 0.3 * texture, 0).astype(np.float32)
    lesion = ((z[:, None, None]) ** 2 + (y[:, None] - 8) ** 2 + (x - 8) ** 2 <= 100) & brain
    return brain, repair, lesion


def uneven(brain, axis):
    ramp = np.linspace(0.8, 1.2, brain.shape[axis], dtype=np.float32)
    return ramp.reshape([-1 if number == axis else 1 for number in range(3)])


@pytest.mark.parametrize("axis", [1, 2])
def test_what_a_coil_makes_brighter_is_no_evidence(head, axis):
    brain, repair, lesion = head
    probability = lesion.astype(np.float32)
    image = np.where(lesion, repair + np.float32(0.25), repair)
    plain, shaded = (
        Seen(values, repair, probability, MM, midline(brain))
        for values in (image, image * uneven(brain, axis))
    )
    calm = brain & ~ndimage.binary_dilation(lesion, iterations=5)
    error = np.abs(shaded.even / np.median(shaded.even[calm]) - image / np.median(image[calm]))
    before = np.abs(shaded.image / np.median(shaded.image[calm]) - image / np.median(image[calm]))
    assert error[calm].mean() < before[calm].mean() / 3
    # A lesion that fills a sixth of the brain stays as bright beside its surroundings as it was.
    for scan in (plain, shaded):
        assert scan.even[lesion].mean() - scan.even[calm].mean() == pytest.approx(0.25, abs=0.04)


def test_without_a_network_that_knows_lesions_the_image_stays_as_it_is(head):
    brain, repair, _ = head
    image = repair * uneven(brain, 1)
    assert Seen(image, repair, None, MM, midline(brain)).even is image


def test_slices_that_are_still_to_come_do_not_count_as_dark(head):
    brain, repair, lesion = head
    part = repair.copy()
    part[14:] = 0
    found = Seen(repair, part, lesion * np.float32(0), MM, midline(brain)).even
    np.testing.assert_allclose(found[:10], repair[:10], rtol=0.02)


def test_a_volume_is_measured_by_its_own_bulk(head):
    """The same lesion in a brain whose tissue varies twice as much is less rare there."""
    brain, repair, lesion = head
    table = {"brightness": tuple(np.linspace(0, 0.4, len(SHARES)))}
    calm, busy = (
        np.where(lesion, np.float32(0.8), np.where(brain, 0.5 + much * (repair - 0.5), 0)).astype(np.float32)
        for much in (1.0, 3.0)
    )
    scans = [Seen(image, image, None, MM, midline(brain)) for image in (calm, busy)]
    plain = [fused(scan, table)[lesion].mean() for scan in scans]
    assert plain[1] == pytest.approx(plain[0], rel=0.05)
    tails = Tails(["brightness"])
    tails.add(scans[0], brain & ~lesion, "here")
    level = tails.table()[LEVEL]
    known = [
        fused(scan, table | {LEVEL: level})[lesion].mean() / alone
        for scan, alone in zip(scans, plain, strict=True)
    ]
    assert known[1] < known[0]
    assert STRETCH[0] - 1e-3 <= known[1] and known[0] <= STRETCH[1] + 1e-3
    single = Seen(busy[12:13], busy[12:13], None, MM, midline(brain[12:13]))
    np.testing.assert_array_equal(fused(single, table | {LEVEL: level}), fused(single, table))


def test_large_lesions_do_not_count_as_bulk():
    rng = np.random.default_rng(5)
    healthy = rng.exponential(0.03, size=100_000).astype(np.float32)
    expected = np.quantile(healthy, 0.9)
    for share in (0.0, 0.02, 0.15):
        many = int(share * healthy.size)
        assert _bulk(np.concatenate([healthy[many:], np.full(many, 0.6, np.float32)])) == pytest.approx(
            expected, rel=0.25
        )
