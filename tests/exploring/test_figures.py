import math

import numpy as np
import pytest
from scipy import ndimage

import napari_cead as cead
from napari_cead.exploring.figures import Figures
from napari_cead.metrics import match_lesions, precision, recall

SPACING = (2.0, 0.9, 0.8)


def blobs(shape, seed, share=0.15):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)
    return noise > np.quantile(noise, 1 - share)


@pytest.mark.parametrize("seed", range(6))
def test_figures_of_a_slice_are_those_of_the_metrics(seed):
    mask, reference = blobs((70, 60), seed), blobs((70, 60), seed + 100, 0.1)
    match = match_lesions(mask, reference)
    assert len(match.missed) and len(match.false_detections), "the example has something of everything"
    assert Figures.of_slice(mask, reference, SPACING) == Figures(
        dice=cead.dice(mask, reference),
        precision=precision(mask, reference),
        recall=recall(mask, reference),
        lesions=len(match.lesions),
        found=len(match.found),
        false_components=len(match.false_detections),
        volume_ml=pytest.approx(mask.sum() * math.prod(SPACING) / 1000),
    )


def test_components_of_a_slice_touch_at_corners_and_may_lie_at_the_border():
    mask = np.zeros((4, 5), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[3, 4] = True
    reference = np.zeros_like(mask)
    reference[0, 0] = reference[3, 0] = True
    figures = Figures.of_slice(mask, reference)
    assert (figures.lesions, figures.found, figures.false_components) == (2, 1, 1)


def test_figures_of_a_volume_are_those_of_the_metrics():
    mask, reference = blobs((9, 40, 50), 1), blobs((9, 40, 50), 2, 0.02)
    match = match_lesions(mask, reference)
    figures = Figures.of_volume(mask, reference, SPACING)
    assert figures.dice == cead.dice(mask, reference)
    assert (figures.lesions, figures.found) == (len(match.lesions), len(match.found))
    assert figures.false_components == len(match.false_detections)
    known = Figures.of_volume(mask, reference, SPACING, match=match)
    assert known == figures


@pytest.mark.parametrize("of", [Figures.of_slice, Figures.of_volume])
def test_nothing_is_said_where_there_is_nothing_to_compare_with(of):
    shape = (30, 30) if of == Figures.of_slice else (3, 30, 30)
    mask = np.zeros(shape, dtype=bool)
    mask[..., 2:4, 2:4] = mask[..., 20:24, 20:22] = True
    without = of(mask, None, SPACING)
    assert without.volume_ml == pytest.approx(mask.sum() * 1.44 / 1000)
    assert without == Figures(None, None, None, None, None, None, without.volume_ml)
    lesion_free = of(mask, np.zeros_like(mask), SPACING)
    assert lesion_free == Figures(None, None, None, 0, None, 2, without.volume_ml)
    assert of(np.zeros_like(mask), np.zeros_like(mask), SPACING) == Figures(None, None, None, 0, None, 0, 0.0)


@pytest.mark.parametrize("of", [Figures.of_slice, Figures.of_volume])
def test_a_lesion_that_nothing_detects_counts_as_missed(of):
    reference = np.zeros((30, 30) if of == Figures.of_slice else (3, 30, 30), dtype=bool)
    reference[..., 5:9, 5:9] = True
    figures = of(np.zeros_like(reference), reference)
    assert figures == Figures(0.0, None, 0.0, 1, 0, 0, 0.0)


@pytest.mark.parametrize("of", [Figures.of_slice, Figures.of_volume])
def test_figures_of_masks_of_different_shapes_are_refused(of):
    with pytest.raises(ValueError, match="differ in shape"):
        of(np.zeros((1, 5, 5)), np.zeros((1, 5, 6)))
