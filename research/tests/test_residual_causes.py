"""The measurements of why residuals lose, on images whose answer is known."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

import residual_causes as causes


def texture(size=96, sigma=3.0, seed=0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), sigma)
    return (0.5 + 0.1 * noise / noise.std()).astype(np.float32)


def inside(size=96, margin=12):
    where = np.zeros((size, size), bool)
    where[margin:-margin, margin:-margin] = True
    return where


def test_edges_are_the_rim_and_both_sides_of_liquid():
    image, brain = np.zeros((60, 60), np.float32), np.zeros((60, 60), bool)
    brain[5:55, 5:55] = True
    image[brain] = 0.5
    image[:, 25:41] = np.where(brain[:, 25:41], 0.05, 0)
    rim, liquid = causes.edges(image, brain, 0.5)
    assert sorted(set(np.flatnonzero(rim[30]))) == [5, 6, 7, 52, 53, 54]
    assert np.flatnonzero(liquid[30]).tolist() == [22, 23, 24, 25, 26, 27, 38, 39, 40, 41, 42, 43]
    assert not (rim & liquid).any()


def test_a_brain_without_liquid_has_no_edges_of_liquid():
    brain = inside()
    rim, liquid = causes.edges(np.where(brain, np.float32(0.5), 0), brain, 0.5)
    assert rim.any()
    assert not liquid.any()


@pytest.mark.parametrize("shift", [(0.6, -0.3), (-1.4, 1.1), (0.0, 0.0)])
def test_a_known_shift_is_found_and_explains_the_residual(shift):
    image, where = texture(), inside()
    reconstruction = ndimage.shift(image, shift, order=3, mode="nearest")
    found = causes.displacement(image, reconstruction, where)
    assert found[:, 48, 48] == pytest.approx(shift, abs=0.05)
    if any(shift):
        left = image - causes.moved(reconstruction, found)
        assert causes.share_explained(image - reconstruction, left, where) > 0.98


def test_a_known_stretch_is_found_by_a_window_and_by_no_translation():
    image, where = texture(), inside()
    middle, stretch = 47.5, 1.03
    reconstruction = ndimage.affine_transform(
        image, [stretch, stretch], middle - stretch * middle, order=3, mode="nearest"
    )
    explained = []
    for window in (None, causes.WINDOW):
        left = image - causes.moved(reconstruction, causes.displacement(image, reconstruction, where, window))
        explained.append(causes.share_explained(image - reconstruction, left, where))
    assert explained[0] < 0.1
    assert explained[1] > 0.9


def test_blur_is_no_displacement():
    image, where = texture(sigma=1.5), inside()
    blurred = ndimage.gaussian_filter(image, 3.0)
    left = image - causes.moved(blurred, causes.displacement(image, blurred, where))
    assert causes.share_explained(image - blurred, left, where) < 0.02


def test_blur_is_local_detail_and_noise_of_its_own_is_not():
    image, brain = texture(sigma=1.5), inside()
    detail = causes.detail(image, brain, 4.0)
    where = inside(margin=24)
    blurred = ndimage.gaussian_filter(image, 4.0)
    slope, share = causes.explained_by(image - blurred, detail, where)
    assert slope == pytest.approx(1, abs=0.02)
    assert share > 0.98
    _, share = causes.explained_by(texture(sigma=1.5, seed=1), detail, where)
    assert share < 0.05


def test_smoothing_does_not_see_beyond_its_mask():
    brain = inside()
    image = np.where(brain, np.float32(0.7), np.float32(40))
    assert causes.smoothed(image, brain, 5.0)[brain] == pytest.approx(0.7, abs=1e-4)
    assert np.abs(causes.detail(image, brain, 5.0)).max() < 1e-4


@pytest.mark.parametrize("kept", [0.0, 0.4, 1.0])
def test_kept_contrast(kept):
    brain, lesion = inside(), np.zeros((96, 96), bool)
    lesion[40:50, 40:50] = True
    image = np.where(lesion, 0.8, 0.5).astype(np.float32)
    # A reconstruction that is darker as a whole has lost no contrast by that.
    reconstruction = np.where(lesion, 0.4 + kept * 0.3, 0.4).astype(np.float32)
    assert causes.kept_contrast(image, reconstruction, lesion, brain & ~lesion) == pytest.approx(
        kept, abs=1e-5
    )


def test_a_lesion_that_is_not_seen_has_no_contrast_to_keep():
    brain, lesion = inside(), np.zeros((96, 96), bool)
    lesion[40:50, 40:50] = True
    image = np.where(lesion, 0.53, 0.5).astype(np.float32)
    assert causes.kept_contrast(image, image, lesion, brain & ~lesion) is None


def test_a_lesion_is_taken_out_to_the_level_around_it():
    brain, lesion = inside(), np.zeros((96, 96), bool)
    lesion[40:60, 40:60] = True
    image = np.where(lesion, 0.9, 0.5).astype(np.float32)
    filled = causes.without_lesion(image, lesion, brain & ~lesion, 10.0)
    assert filled[brain] == pytest.approx(0.5, abs=1e-4)


def test_the_best_dice_is_that_of_all_thresholds():
    random = np.random.default_rng(3)
    scores = random.random((50, 50)).astype(np.float32)
    lesion = random.random((50, 50)) < scores**3
    best = causes.best_dice(causes.histogram(scores, lesion), causes.histogram(scores, ~lesion))
    every = [
        2 * (lesion & (marked := scores >= threshold)).sum() / (lesion.sum() + marked.sum())
        for threshold in np.arange(causes.BINS) / causes.BINS
    ]
    assert best.dice == pytest.approx(max(every), abs=2e-3)
    assert best.threshold == pytest.approx(int(np.argmax(every)), abs=2)


def test_own_thresholds_are_the_best_of_all_combinations(monkeypatch):
    monkeypatch.setattr(causes, "BINS", 5)
    random = np.random.default_rng(4)
    pairs = [(random.integers(0, 9, 5), random.integers(0, 30, 5)) for _ in range(4)]
    total = sum(lesion.sum() for lesion, _ in pairs)
    dice = []
    for thresholds in itertools.product(range(6), repeat=4):
        hits = sum(lesion[at:].sum() for at, (lesion, _) in zip(thresholds, pairs, strict=True))
        false = sum(healthy[at:].sum() for at, (_, healthy) in zip(thresholds, pairs, strict=True))
        dice.append(2 * hits / (hits + false + total))
    assert causes.dice_of_own_thresholds(pairs) == pytest.approx(max(dice))


def test_pixels_like_the_rest_keep_their_number():
    marked, rest = np.array([0, 2, 8]), np.array([30, 10, 0])
    assert causes.like_the_rest(marked, rest).tolist() == [7.5, 2.5, 0]


def test_the_mode_of_tissue_is_not_moved_by_liquid_and_lesions():
    random = np.random.default_rng(5)
    tissue, liquid, lesion = random.normal(0.6, 0.03, 6000), random.normal(0.1, 0.02, 2000), np.full(900, 0.9)
    values = np.concatenate([tissue, liquid, lesion]).astype(np.float32)
    assert causes.tissue_mode(values) == pytest.approx(0.6, abs=0.02)
    assert causes.variation([0.9, 1.1]) == pytest.approx(0.1)
    assert causes.variation([1.0]) is None
