"""The parts of `research/levers.py`: intensity standards, edges, folds, figures, choosing."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import disk

import lever_parts as parts
import lever_parts.figures
import lever_parts.maps
import lever_parts.plan
import lever_parts.scans
import lever_parts.standards
import lever_parts.tables
from napari_cead.metrics import PatientCounts, average_precision, bootstrap_difference, dice
from napari_cead.slices.geometry import SliceGeometry


@pytest.fixture
def scans():
    """Twelve patients of one slice, three of them lesion-free, and a map that says something about the lesions."""
    rng = np.random.default_rng(3)
    brain = np.broadcast_to(np.hypot(*np.mgrid[-15:16, -15:16]) < 14, (12, 31, 31)).copy()
    lesion = np.zeros_like(brain)
    for number in range(9):
        lesion[number, 8 + number // 2 : 14, 6 : 10 + number] = True
    maps = rng.normal(size=lesion.shape).astype(np.float32) + 1.5 * lesion
    grouped = parts.scans.Scans(tuple(range(12)), np.arange(12), brain, lesion & brain)
    return grouped, np.where(brain, maps, 9).astype(np.float32)


# Intensity standards


def test_nyul_maps_landmarks_to_landmarks_and_keeps_the_order():
    rng = np.random.default_rng(0)
    own = parts.standards.landmarks(rng.gamma(4, 20, 5000))
    standard = np.linspace(0.1, 0.95, len(own)) ** 1.3
    assert np.allclose(parts.standards.nyul(own, own, standard), standard, rtol=0, atol=1e-12)
    assert parts.standards.nyul(np.zeros(1), own, standard) == 0
    values = np.linspace(0, 2 * own[-1], 2000)
    assert (np.diff(parts.standards.nyul(values, own, standard)) > 0).all()


def test_nyul_of_a_scan_that_fits_changes_nothing_even_beyond_the_last_landmark():
    own = np.array([1.0, 2.0, 2.0, 5.0])  # equal landmarks happen in pictures of few grey values
    values = np.array([0.0, 0.5, 1.5, 2.0, 4.0, 9.0])
    assert np.allclose(parts.standards.nyul(values, own, own), values)


@pytest.mark.parametrize("kind", ["nyul", "match", "tissue", "peak"])
def test_a_standard_undoes_another_gain(kind):
    rng = np.random.default_rng(1)
    healthy = [np.clip(rng.normal(0.6, 0.1, 4000), 0.01, 1) for _ in range(5)]
    standard = parts.standards.Standard.of(healthy)
    one = standard.apply(kind, healthy[0])
    assert np.allclose(one, standard.apply(kind, 37 * healthy[0]), atol=1e-3)
    assert abs(np.median(one) - np.median(healthy)) < 0.02
    assert (np.diff(one[np.argsort(healthy[0])]) >= 0).all()


def test_the_peak_stays_where_a_bright_lesion_moves_the_median():
    rng = np.random.default_rng(2)
    tissue = rng.normal(0.5, 0.03, 6000)
    sick = np.concatenate([tissue, rng.normal(0.75, 0.03, 5000)])
    peak, level = parts.standards.tissue_peak, parts.standards.tissue_level
    assert abs(peak(sick) - peak(tissue)) < 0.02
    assert level(sick) - level(tissue) > 0.03


# Edges and maps


@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_the_rim_is_what_an_erosion_by_a_disk_takes_away(pixels):
    brain = np.zeros((2, 40, 36), bool)
    brain[0, 5:30, 4:33] = True
    brain[1, 10:20, :] = True
    brain[1, 15, 15] = False
    expected = [ndimage.binary_erosion(np.pad(one, 4), disk(pixels))[4:-4, 4:-4] for one in brain]
    assert np.array_equal(parts.maps.without_rim(brain, pixels), expected)


@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_beyond_a_region_is_outside_its_dilation_by_a_disk(pixels):
    region = np.zeros((2, 30, 30), bool)
    region[0, 10:13, 8:20] = True
    expected = [~ndimage.binary_dilation(one, disk(pixels)) for one in region]
    assert np.array_equal(parts.maps.beyond(region, pixels), expected)


def test_liquid_is_dark_and_larger_than_a_speck():
    brain = np.hypot(*np.mgrid[-20:21, -20:21])[None] < 18
    image = np.where(brain, 0.6, 0).astype(np.float32)
    image[0, 16:25, 18:23] = 0.1
    image[0, 8, 20] = 0.1
    found = parts.maps.liquid_of(image, brain)
    assert found[0, 17:24, 19:22].all()
    assert not found[0, 8, 20]
    assert found.sum() < 2 * 9 * 5


def test_smoothing_keeps_a_constant_of_any_size_and_sign():
    brain = np.hypot(*np.mgrid[-20:21, -20:21])[None] < 18
    maps = np.where(brain, -3.0, 0).astype(np.float32)
    assert np.allclose(parts.maps.soft(maps, brain, 2.0)[brain], -3, atol=1e-5)


def test_a_coarse_map_keeps_its_mean_and_loses_its_noise():
    noise = np.random.default_rng(0).normal(5, 1, (1, 120, 120)).astype(np.float32)
    inner = parts.maps.coarse(noise)[:, 6:-6, 6:-6]
    assert abs(inner.mean() - 5) < 0.05
    assert inner.std() < 0.6


def test_smoothing_the_signed_residual_first_lets_noise_cancel():
    Setting = parts.maps.Setting
    brain = np.ones((1, 196, 196), bool)
    noise = np.random.default_rng(0).normal(0, 0.1, brain.shape).astype(np.float32)
    bench = parts.maps.Bench.__new__(parts.maps.Bench)
    bench.scans = SimpleNamespace(
        brain=brain,
        owner=np.zeros(1, int),
        each=(SimpleNamespace(spacing=(1, 1, 1), canvas=SliceGeometry.fit(brain, (1, 1, 1), (1, 1))),),
    )
    bench.models, bench.eight = {"m": SimpleNamespace(statistics={})}, ()
    bench.input = lambda *_: noise
    bench.reconstruction = lambda *_: np.zeros_like(noise)
    bench._geometry = lambda _: [bench.scans.each[0].canvas]
    after = bench.map("m", Setting(smoothing=2))
    first = bench.map("m", Setting(smoothing=2, signed=True))
    assert after.mean() == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.05)
    assert first.mean() < after.mean() / 3
    assert not Setting(signed=True).possible
    assert not Setting(signed=True, smoothing=1, score="combined").possible


# Folds and figures


def test_folds_share_patients_evenly_and_are_always_the_same():
    fold = parts.figures.folds(109)
    assert sorted(np.bincount(fold)) == [21, 22, 22, 22, 22]
    assert np.array_equal(fold, parts.figures.folds(109))
    assert not np.array_equal(fold, np.sort(fold))


def test_each_fold_has_the_threshold_that_is_best_for_the_others(scans):
    grouped, maps = scans
    counted = parts.figures.Counted.of(maps, grouped)
    fold, expected = parts.figures.folds(12), np.zeros((12, 3))
    for number in range(5):
        others, own = fold != number, fold == number
        inside = grouped.brain[others]
        best = max(
            counted.edges,
            key=lambda edge: dice(maps[others][inside] >= edge, grouped.lesion[others][inside]),
        )
        for patient in np.flatnonzero(own):
            found = (maps[patient] >= best) & grouped.brain[patient]
            sick = grouped.lesion[patient]
            expected[patient] = (found & sick).sum(), (found & ~sick).sum(), sick.sum()
    assert np.array_equal(counted.folded(), expected)


def test_figures_depend_on_the_order_of_voxels_alone(scans):
    grouped, maps = scans
    one, other = (parts.figures.figures(m, grouped) for m in (maps, np.exp(3 * maps)))
    assert (one.dice, one.auprc) == (other.dice, other.auprc)
    assert np.array_equal(one.auprc_draws, other.auprc_draws)
    assert one.auprc == average_precision(maps, grouped.lesion, grouped.brain)
    assert one.auprc_draws.mean() == pytest.approx(one.auprc, abs=0.03)


def test_intervals_are_those_of_the_metrics(scans):
    grouped, maps = scans
    found = [parts.figures.figures(m, grouped) for m in (maps, -maps)]
    counts = []
    for m in (maps, -maps):
        tp, fp, lesion = parts.figures.Counted.of(m, grouped).folded().T.astype(int)
        counts.append(
            [
                PatientCounts(*(np.array([v]) for v in (t, f, s - t)), np.array([True]))
                for t, f, s in zip(tp, fp, lesion, strict=True)
            ]
        )
    expected = bootstrap_difference(*counts, resamples=parts.figures.RESAMPLES)["dice_pooled"]
    draws = found[0].dice_draws - found[1].dice_draws
    assert parts.figures.interval(draws) == pytest.approx(expected)


def test_a_given_threshold_is_kept(scans):
    grouped, maps = scans
    found = parts.figures.figures(maps, grouped, 1.25)
    inside = grouped.brain
    assert found.threshold == 1.25
    assert found.dice == pytest.approx(dice(maps[inside] >= 1.25, grouped.lesion[inside]))


# Choosing


def test_the_split_is_by_rule_and_whole():
    names = [f"{number:04}" for number in range(544)]
    validation, test = parts.scans.split(names[::-1])
    assert len(validation) == 109
    assert validation[:5] == ["0001", "0002", "0003", "0007", "0011"]
    assert sorted(validation + test) == names


def test_levers_are_added_while_they_gain_and_once_for_each_group():
    Lever = parts.plan.Lever
    candidates = [
        Lever("rim", "rim 1", {"rim": 1}),
        Lever("rim", "rim 2", {"rim": 2}),
        Lever("mirror", "mirror", {"mirror": True}),
        Lever("standard", "nyul", {"standard": "nyul"}),
    ]

    def worth(setting):
        return 0.2 + 0.1 * setting.rim + 0.05 * setting.mirror - 0.01 * (setting.standard == "nyul")

    taken = parts.plan.together(worth, candidates, 0.2)
    assert [lever.name for lever, *_ in taken] == ["rim 2", "mirror"]
    assert taken[-1][1] == parts.maps.Setting(rim=2, mirror=True)
    assert taken[-1][2] == pytest.approx(0.45)


def test_models_get_the_levers_that_they_can_have():
    names = {lever.name for lever in parts.plan.levers("ae", "ae", "volume-percentile", False)}
    assert not names & {"score `kl-gradient`", "score `combined`", "score `residual-z`"}
    names = {lever.name for lever in parts.plan.levers("vae2", "vae", "volume-percentile", True)}
    assert names >= {"score `kl-gradient`", "score `combined`", "score `residual-z`"}
    of_tissue = parts.plan.levers("ce-unet", "unet", "volume-tissue", True)
    assert not any(lever.changes.get("by_tissue") for lever in of_tissue)
    assert len({lever.name for lever in of_tissue}) == len(of_tissue)
    raw = parts.plan.levers(parts.maps.RAW, "", "", False)
    assert not any("score" in lever.changes or "mirror" in lever.changes for lever in raw)


def test_the_table_holds_each_measurement():
    figures = {
        "patients": 109,
        "dice_pooled": 0.31,
        "dice_pooled_interval": [0.3, 0.32],
        "auprc": 0.21,
        "auprc_interval": [0.2, 0.22],
    }
    gain = {
        "dice_pooled_difference": 0.0123,
        "dice_pooled_difference_interval": [0.01, 0.02],
        "auprc_difference": -0.05,
        "auprc_difference_interval": [-0.06, 0.01],
    }
    lines = [
        {"part": "plain", "model": "ce-ae", **figures},
        {"part": "alone", "model": "ce-ae", "lever": "a lever", **figures, **gain},
        {"part": "test", "model": "ce-ae", "levers": ["one", "two"], **figures, **gain, "patients": 435},
    ]
    text = parts.tables.markdown(json.loads(json.dumps(lines)))
    assert "each lever alone, 109 validation patients" in text
    assert (
        "| a lever | 0.310 | **+0.012 [+0.010, +0.020]** | 0.210 | -0.050 [-0.060, +0.010] | – | – |" in text
    )
    assert "| `ce-ae` | one; two | 0.310 [0.300, 0.320] |" in text
