import threading
from itertools import pairwise

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.errors import Cancelled, ParameterError
from napari_cead.exploring.curves import (
    NOW,
    ORACLE,
    DiceCurve,
    MapHistogram,
    Mark,
    coarse_to_fine,
    curve_settings,
    marks,
    processed_curve,
    raw_curve,
    threshold_grid,
)
from scans import make_brain

SPACING = (1.5, 0.95, 0.9)


@pytest.fixture(scope="module")
def scan():
    volume, lesion = make_brain()
    anomaly_map = np.clip(volume / volume.max(), 0, 1).astype(np.float32)
    return anomaly_map, lesion, volume > 0


def expected(scan, params, threshold, brain=None):
    anomaly_map, lesion, _ = scan
    mask = cead.postprocess(anomaly_map, params.replace(threshold=threshold), SPACING, brain)
    return cead.dice(mask, lesion)


def test_the_histogram_counts_every_brain_voxel_once(scan):
    anomaly_map, lesion, brain = scan
    histogram = MapHistogram.of(anomaly_map, brain, lesion, bins=10)
    for counts, part in ((histogram.healthy, brain & ~lesion), (histogram.lesion, brain & lesion)):
        values = anomaly_map[part]
        edges = histogram.edges.astype(np.float32)
        inside = [((values > low) & (values <= high)).sum() for low, high in pairwise(edges)]
        np.testing.assert_array_equal(counts, inside)
        assert counts.sum() == part.sum()


def test_the_histogram_holds_brain_voxels_at_zero_and_all_brain_without_a_reference():
    anomaly_map = np.array([0.0, 0.0, 0.0, 0.05, 1.0])
    brain = np.array([False, True, True, True, True])
    histogram = MapHistogram.of(anomaly_map, brain, bins=4)
    assert histogram.lesion is None
    np.testing.assert_array_equal(histogram.healthy, [3, 0, 0, 1])


def test_the_raw_curve_is_that_of_plain_thresholds(scan):
    anomaly_map, lesion, _ = scan
    curve = raw_curve(anomaly_map, lesion, bins=32)
    for threshold in curve.thresholds:
        assert curve.at(threshold) == pytest.approx(cead.dice(anomaly_map > float(threshold), lesion))
    assert raw_curve(anomaly_map, None) is None
    assert raw_curve(anomaly_map, np.zeros_like(lesion)) is None


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"closing_radius": 0, "area_fraction": 0.0, "dilation_radius": 0},
        {"closing_radius": 5, "area_fraction": 0.1, "dilation_radius": 12},
        {"min_area_mm2": 40.0},
    ],
)
def test_every_point_is_exact(scan, changes, workers):
    anomaly_map, lesion, everywhere = scan
    params = cead.PostprocessParams(**changes)
    for brain in (None, everywhere):
        curve = processed_curve(
            anomaly_map,
            lesion,
            params,
            SPACING,
            brain=brain,
            thresholds=np.linspace(0, 1, 12),
            workers=workers,
        )
        assert len(curve.thresholds) > 12
        for threshold, dice in zip(curve.thresholds.tolist(), curve.dice, strict=True):
            assert dice == expected(scan, params, threshold, brain)


def test_lesions_outside_the_map_and_nan_inside_count(scan):
    anomaly_map, lesion, _ = scan
    anomaly_map, lesion = anomaly_map.copy(), lesion.copy()
    lesion[:, :3, :3] = True
    anomaly_map[5, 20:25] = np.nan
    curve = processed_curve(anomaly_map, lesion, cead.PostprocessParams(), SPACING, thresholds=(0.3, 0.7))
    for threshold in (0.3, 0.7):
        assert curve.at(threshold) == expected(
            (anomaly_map, lesion, None), cead.PostprocessParams(), threshold
        )


def test_the_default_grid_finds_the_best_of_all_round_thresholds(scan):
    anomaly_map, lesion, _ = scan
    params = cead.PostprocessParams()
    curve = processed_curve(anomaly_map, lesion, params, SPACING)
    threshold, dice = curve.best
    best = max(expected(scan, params, step / 1000) for step in range(0, 1001, 4))
    assert dice >= best - 0.005
    assert dice == expected(scan, params, threshold) == max(curve.dice)
    assert threshold == round(threshold, 3)


def test_the_best_point_is_refined_between_its_neighbours(scan):
    anomaly_map, lesion, _ = scan
    curve = processed_curve(
        anomaly_map, lesion, cead.PostprocessParams(), SPACING, thresholds=(0.8, 0.9, 0.95)
    )
    grid = {step / 1000 for step in range(800, 951)}
    assert set(curve.thresholds) <= grid and len(curve.thresholds) > 100
    assert curve.best[1] > max(curve.at(0.8), curve.at(0.9), curve.at(0.95))


def test_points_arrive_in_the_calling_thread_and_fill_in(scan):
    anomaly_map, lesion, _ = scan
    seen = []

    def on_points(thresholds, dice):
        assert threading.current_thread() is threading.main_thread()
        assert (np.diff(thresholds) > 0).all() and len(thresholds) == len(dice)
        seen.append(thresholds)

    curve = processed_curve(
        anomaly_map,
        lesion,
        cead.PostprocessParams(),
        SPACING,
        also=[0.123456],
        on_points=on_points,
        workers=2,
    )
    assert [len(points) for points in seen] == list(range(1, len(curve.thresholds) + 1))
    assert seen[0].tolist() == [0.123456]
    assert np.ptp(seen[2]) > 0.8, "the second and third point are the ends of the grid"
    assert np.diff(seen[20]).max() < 0.2, "the first twenty spread over the whole range"


def test_a_stopped_curve_goes_on_where_it_was(scan):
    anomaly_map, lesion, _ = scan
    params = cead.PostprocessParams()
    whole = processed_curve(anomaly_map, lesion, params, SPACING)
    known = {}

    def on_points(thresholds, dice):
        known.update(zip(thresholds.tolist(), dice.tolist(), strict=True))

    with pytest.raises(Cancelled):
        processed_curve(
            anomaly_map, lesion, params, SPACING, on_points=on_points, should_stop=lambda: len(known) >= 15
        )
    assert len(known) == 15
    new = []
    again = processed_curve(
        anomaly_map, lesion, params, SPACING, known=known, on_points=lambda t, d: new.append(len(t))
    )
    assert new[0] == 16
    np.testing.assert_array_equal(again.thresholds, whole.thresholds)
    np.testing.assert_array_equal(again.dice, whole.dice)


def test_threads_stop_as_well(scan):
    anomaly_map, lesion, _ = scan
    with pytest.raises(Cancelled):
        processed_curve(
            anomaly_map, lesion, cead.PostprocessParams(), SPACING, workers=3, should_stop=lambda: True
        )


def test_there_is_no_curve_without_a_lesion(scan):
    anomaly_map, lesion, _ = scan
    assert processed_curve(anomaly_map, np.zeros_like(lesion), cead.PostprocessParams()) is None


def test_an_empty_map_finds_nothing_at_any_threshold(scan):
    anomaly_map, lesion, _ = scan
    curve = processed_curve(np.zeros_like(anomaly_map), lesion, cead.PostprocessParams())
    assert curve.best == (0.0, 0.0)


def test_thresholds_out_of_range_are_refused(scan):
    anomaly_map, lesion, _ = scan
    with pytest.raises(ParameterError, match="threshold"):
        processed_curve(anomaly_map, lesion, cead.PostprocessParams(), thresholds=[1.5])
    with pytest.raises(ValueError, match="one shape"):
        processed_curve(anomaly_map, lesion[:-1], cead.PostprocessParams())


def test_the_grid_is_round_spread_and_reaches_the_peak(scan):
    grid = threshold_grid(scan[0])
    assert 50 < len(grid) <= 100
    assert grid[0] == 0.0 and grid[-1] == 1.0
    assert all(value == round(value, 3) for value in grid)
    assert np.diff(grid).max() < 0.03


def test_a_dark_map_gets_a_finer_grid(scan):
    grid = threshold_grid(scan[0] * np.float32(0.01))
    assert len(grid) > 40
    assert 0.009 < grid[-1] <= 0.01


def test_the_order_begins_with_the_ends_and_halves_the_gaps():
    assert coarse_to_fine([1, 2, 3, 4, 5]) == [1, 5, 3, 2, 4]
    for count in range(12):
        assert sorted(coarse_to_fine(list(range(count)))) == list(range(count))


def test_a_curve_is_known_by_all_settings_but_the_threshold():
    params = cead.PostprocessParams(threshold=0.4)
    assert curve_settings(params) == curve_settings(params.replace(threshold=0.5))
    assert curve_settings(params) != curve_settings(params.replace(closing_radius=7))


def test_marks_are_named_by_their_rules():
    curve = DiceCurve(np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.4]))
    suggestions = [("validation", 0.3), ("healthy-quantile", 0.25)]
    assert marks(0.1, suggestions, curve) == (
        Mark("validation", 0.3, 0.4),
        Mark("healthy-quantile", 0.25, None),
        Mark(ORACLE, 0.2, 0.6),
        Mark(NOW, 0.1, 0.5),
    )
    assert ORACLE not in [mark.rule for mark in marks(0.1, suggestions, curve, finished=False)]
    assert marks(0.1, [], None) == (Mark(NOW, 0.1, None),)
