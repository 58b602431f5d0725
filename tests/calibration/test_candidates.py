import numpy as np
import pytest

import napari_cead as cead
from napari_cead.calibration.candidates import (
    BETWEEN,
    COARSE,
    MORPHOLOGIES,
    Spread,
    coarse_grid,
    coarse_thresholds,
    fine_thresholds,
    merged,
)
from napari_cead.calibration.searching import Search
from napari_cead.detection.rules import RULES, VALIDATION, edge_of

MAPS = {
    "uniform": lambda noise: noise,
    "dark": lambda noise: 1e-5 * noise,
    "bright": lambda noise: 1 - 1e-3 * noise,
    "narrow": lambda noise: 0.6 + 1e-3 * noise,
    "skewed": lambda noise: noise**8,
}


def values(kind, voxels=40_000, seed=0):
    return MAPS[kind](np.random.default_rng(seed).random(voxels)).astype(np.float32)


@pytest.mark.parametrize("kind", MAPS)
def test_thresholds_lie_where_the_map_has_its_values(kind):
    found = values(kind)
    thresholds = coarse_thresholds(Spread.of(found))
    above = np.array([(found > value).sum() for value in thresholds])
    assert 0.6 * COARSE < len(thresholds) <= COARSE
    assert list(thresholds) == sorted(set(thresholds))
    assert above[0] == len(found) and 0 < above[-1] < 5
    many = above[above > 30]
    assert (many[:-1] / many[1:]).max() < 1.7  # none of them leaves much out between itself and the next


@pytest.mark.parametrize("kind", MAPS)
def test_a_second_pass_lies_between_the_neighbours_of_the_best(kind):
    spread = Spread.of(values(kind))
    thresholds = coarse_thresholds(spread)
    for place in (0, 5, len(thresholds) - 1):
        near = fine_thresholds(spread, thresholds, thresholds[place])
        low, high = thresholds[max(place - 1, 0)], thresholds[min(place + 1, len(thresholds) - 1)]
        assert all(low <= value <= high or place == len(thresholds) - 1 for value in near)
    assert len(fine_thresholds(spread, thresholds, thresholds[5])) > 6


def test_what_many_voxels_share_is_one_threshold_below_it():
    clipped = np.concatenate([np.linspace(0.1, 0.9, 1000), np.ones(500)]).astype(np.float32)
    thresholds = coarse_thresholds(Spread.of(clipped))
    assert 0.9 <= thresholds[-1] < 1
    assert (clipped > thresholds[-1]).sum() == 500
    assert coarse_thresholds(Spread.of(np.full(1000, 0.3, np.float32))) == (0.0,)


def test_an_empty_map_has_one_threshold():
    assert coarse_thresholds(Spread.of(np.zeros(10, np.float32))) == (0.0,)
    assert coarse_thresholds(Spread.together([])) == (0.0,)
    assert fine_thresholds(Spread.together([]), (0.0,), 0.0) == ()
    assert coarse_thresholds(Spread.of(np.full(5, np.nan, np.float32))) == (0.0,)


def test_maps_together_are_as_one_map():
    parts = [values("skewed", 30_000, 1), values("uniform", 10_000, 2)]
    together = Spread.together(Spread.of(part) for part in parts)
    every = np.concatenate(parts)
    assert together.counts.sum() == every.size
    for threshold in (0.01, 0.3, 0.9, 0.999):
        assert together.above(threshold) == pytest.approx((every > threshold).sum(), rel=0.02, abs=2)


def test_thresholds_are_as_round_as_they_can_be():
    spread = Spread.of(np.array([0.123456, 0.2004], np.float32))
    assert spread.thresholds([1, 2]) == (0.0, 0.2)
    assert Spread.of(np.array([0.999999, 1.0], np.float32)).thresholds([1]) == (0.999999,)
    assert Spread.of(np.array([0.5, np.nextafter(np.float32(0.5), 1)], np.float32)).thresholds([1]) == (0.5,)


def test_every_morphology_meets_every_threshold_and_others_come_last():
    other = cead.PostprocessParams(threshold=0.37, closing_radius=9)
    grid = coarse_grid((0.1, 0.5), [other, MORPHOLOGIES[0].replace(threshold=0.5)])
    assert len(grid) == 2 * len(MORPHOLOGIES) + 1 and grid[-1] == other
    assert {shape.area_fraction for shape in MORPHOLOGIES} == {0.6, 0.2}
    fine = [MORPHOLOGIES[0].replace(threshold=0.3)]
    assert [params.threshold for params in merged(grid, fine)[:3]] == [0.1, 0.3, 0.5]


def test_ends_of_what_was_tried():
    assert [edge_of(value, (0.1, 0.2, 0.3)) for value in (0.05, 0.1, 0.15, 0.3, 1.0)] == [
        "lowest",
        "lowest",
        "",
        "highest",
        "highest",
    ]


def test_what_was_tried_in_the_first_pass_is_not_tried_in_the_second():
    one = Search(Spread.of(values("uniform")), [{"p"}], [RULES.find(VALIDATION)])
    best = one.coarse[COARSE // 2]
    fine = one.fine([("p", True, np.array([float(params == best) for params in one.coarse]))])
    assert len(fine) > BETWEEN
    assert not {*fine} & {*one.coarse}
    assert {params.replace(threshold=best.threshold) for params in fine} == {best}
