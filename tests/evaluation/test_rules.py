import numpy as np
import pytest

import napari_cead as cead
from napari_cead.errors import Cancelled, ParameterError
from napari_cead.evaluation import RULES, choose
from napari_cead.evaluation.cases import BETWEEN, THRESHOLDS, Case
from napari_cead.evaluation.rules import (
    MORPHOLOGIES,
    MORPHOLOGIES_OF_DENOISERS,
    quantile_of,
    recorded_quantile,
    search,
)
from napari_cead.models import spec
from napari_cead.zoo import ModelCard

SPACING = (3.0, 0.9, 0.9)


def scan(seed, lesion=True):
    rng = np.random.default_rng(seed)
    shape = (6, 30, 32)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    brain = (z / 0.95) ** 2 + (y / 0.8) ** 2 + (x / 0.7) ** 2 < 1
    reference = brain & ((z - 0.5) ** 2 + y**2 + x**2 < 0.15) & lesion
    noise = rng.random(shape) ** 4 * 0.5
    return np.where(brain, noise + 0.2 * reference, 0).astype(np.float32), reference, brain


def case(seed, lesion=True, labelled=True):
    anomaly_map, reference, brain = scan(seed, lesion)
    healthy = ~reference.any(axis=(1, 2))
    return Case.of(f"p{seed}", anomaly_map, reference if labelled else None, brain, SPACING, healthy)


def mean_dice(scans, params):
    """``dice_patient`` from the public functions, on the full float32 maps."""
    values = [cead.dice(cead.postprocess(m, params, SPACING, brain), r) for m, r, brain in scans]
    return np.nanmean(values)


def test_the_search_finds_the_best_of_the_grid_and_refines_around_it():
    scans = [scan(seed) for seed in range(3)]
    found = search([case(seed) for seed in range(3)])
    assert found.dice_patient == pytest.approx(mean_dice(scans, found.params), abs=1e-12)
    grid = [shape.replace(threshold=value) for shape in MORPHOLOGIES for value in THRESHOLDS[:: BETWEEN + 1]]
    coarse = {params: mean_dice(scans, params) for params in grid}
    best = max(grid, key=coarse.get)
    assert found.dice_patient >= coarse[best]
    middle = THRESHOLDS.index(best.threshold)
    near = [
        best.replace(threshold=value) for value in THRESHOLDS[max(middle - BETWEEN, 0) : middle + BETWEEN + 1]
    ]
    assert found.params in near
    assert found.dice_patient == pytest.approx(max(mean_dice(scans, params) for params in near), abs=1e-12)


def test_both_empty_patients_do_not_count_and_false_detections_in_healthy_ones_do():
    with_healthy = search([case(0), case(1, lesion=False)])
    scans = [scan(0), scan(1, lesion=False)]
    assert with_healthy.dice_patient == pytest.approx(mean_dice(scans, with_healthy.params), abs=1e-12)


def test_validation_and_oracle_are_the_search_on_the_cases_given():
    cases = [case(0), case(1)]
    expected = search(cases).params
    assert choose("validation", cases) == choose("oracle", cases) == expected


def test_a_search_tries_the_morphologies_it_is_given():
    volume, brain = np.zeros((3, 60, 60), np.float32), np.ones((3, 60, 60), bool)
    volume[:, 5:35, 5:35], volume[:, 40:55, 40:55] = (
        0.8,
        0.8,
    )  # a large lesion and one of a quarter of its area
    several = [Case.of("several", volume, volume > 0, brain, (1.0, 1.0, 1.0), np.zeros(3, bool))]
    assert search(several).params in [
        shape.replace(threshold=search(several).params.threshold) for shape in MORPHOLOGIES
    ]
    found = search(several, morphologies=MORPHOLOGIES_OF_DENOISERS)
    assert (found.params.area_fraction, found.dice_patient) == (
        MORPHOLOGIES_OF_DENOISERS[-1].area_fraction,
        1.0,
    )
    assert search(several).dice_patient < 1


def test_the_healthy_quantile_lets_its_share_through():
    cases = [case(0), case(1, lesion=False), case(2, labelled=False)]
    params = choose("healthy-quantile", cases, quantile=0.9)
    values = np.concatenate(
        [
            anomaly_map[healthy][brain[healthy]]
            for anomaly_map, reference, brain in (scan(0), scan(1, lesion=False), scan(2))
            for healthy in [~reference.any(axis=(1, 2))]
        ]
    )
    assert (values > params.threshold).mean() <= 0.1
    assert (values > params.threshold - 1 / 1024).mean() > 0.1
    assert params == cead.PostprocessParams(threshold=params.threshold)


def test_a_card_says_which_quantile_its_thresholds_are():
    for name, usual in (("ce-vae1", 0.99), ("ce-unet", 0.997), ("dae", 0.997)):
        card = ModelCard(name="mine", spec=spec(name, "small"))
        assert quantile_of(card) == recorded_quantile(card) == usual
        older = card.model_copy(update={"training": {"calibration": {"healthy_quantile": 0.95}}})
        assert (quantile_of(older), recorded_quantile(older)) == (usual, 0.95)


def test_nothing_to_go_by_is_no_choice():
    for rule in RULES:
        assert choose(rule, []) is None
    healthy = [case(0, lesion=False)]
    assert choose("validation", healthy) is None
    assert choose("oracle", healthy) is None
    assert choose("healthy-quantile", healthy) is not None
    assert choose("validation", [case(0, labelled=False)]) is None


def test_unknown_rules_and_quantiles_are_refused():
    with pytest.raises(ParameterError, match="rule"):
        choose("best", [case(0)])
    with pytest.raises(ParameterError, match="quantile"):
        choose("healthy-quantile", [case(0)], quantile=1.5)


def test_progress_counts_patients_and_a_stop_ends_the_search():
    seen = []
    search([case(0), case(1)], on_progress=lambda *step: seen.append(step))
    assert seen == [(1, 2), (2, 2)]
    with pytest.raises(Cancelled):
        search([case(0)], should_stop=lambda: True)
