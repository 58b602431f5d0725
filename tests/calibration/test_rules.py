import numpy as np
import pytest

import napari_cead as cead
from napari_cead.calibration.candidates import Spread, coarse_grid, coarse_thresholds
from napari_cead.calibration.cases import Case
from napari_cead.calibration.rules import quantile_of, rule_order, search
from napari_cead.errors import Cancelled, ParameterError
from napari_cead.evaluation import RULES, choose
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
    defined = [value for value in values if value == value]
    return sum(defined) / len(defined)


def test_the_search_finds_the_best_of_the_grid_and_refines_around_it():
    scans = [scan(seed) for seed in range(3)]
    cases = [case(seed) for seed in range(3)]
    found = search(cases)
    assert found.dice_patient == pytest.approx(mean_dice(scans, found.params), abs=1e-12)
    thresholds = coarse_thresholds(Spread.together(one.spread for one in cases))
    coarse = {params: mean_dice(scans, params) for params in coarse_grid(thresholds)}
    assert found.dice_patient >= max(coarse.values())
    middle = thresholds.index(max(coarse, key=coarse.get).threshold)
    assert thresholds[max(middle - 1, 0)] <= found.params.threshold <= thresholds[middle + 1]
    assert found.edge == ""


def test_what_others_have_chosen_is_tried_as_well():
    cases = [case(seed) for seed in range(2)]
    own = search(cases)
    odd = cead.PostprocessParams(threshold=0.2345678, closing_radius=3, area_fraction=0.1, dilation_radius=5)
    worse = search(cases, also=[odd])
    assert (worse.params, worse.dice_patient) == (own.params, own.dice_patient)
    volume, brain = np.zeros((3, 60, 60), np.float32), np.ones((3, 60, 60), bool)
    volume[:, 30, 30] = 0.8  # one pixel, of which a dilation that no search tries makes the lesion
    lesion = cead.postprocess(volume, odd) > 0
    one = Case.of("one", volume, lesion, brain, (1.0, 1.0, 1.0), np.zeros(3, bool))
    assert search([one]).dice_patient < 0.5
    found = search([one], also=[odd])
    assert (found.params.replace(threshold=odd.threshold), found.dice_patient) == (odd, 1.0)


def test_a_choice_at_the_end_of_what_was_tried_says_so():
    brain = np.ones((3, 40, 40), bool)
    noise = np.random.default_rng(0).random(brain.shape).astype(np.float32)
    everything = Case.of("everything", noise, brain, brain, SPACING, np.zeros(3, bool))
    found = search([everything])
    assert (found.params.threshold, found.edge, found.dice_patient) == (0.0, "lowest", 1.0)
    reference = np.zeros(brain.shape, bool)
    reference[1, 20, 20] = True
    noise[1, 20, 20] = 1.0
    pixel = search([Case.of("pixel", noise, reference, brain, SPACING, np.zeros(3, bool))])
    assert (pixel.edge, pixel.dice_patient) == ("highest", 1.0)


def test_both_empty_patients_do_not_count_and_false_detections_in_healthy_ones_do():
    with_healthy = search([case(0), case(1, lesion=False)])
    scans = [scan(0), scan(1, lesion=False)]
    assert with_healthy.dice_patient == pytest.approx(mean_dice(scans, with_healthy.params), abs=1e-12)


def test_validation_and_oracle_are_the_search_on_the_cases_given():
    cases = [case(0), case(1)]
    expected = search(cases).params
    assert choose("validation", cases) == choose("oracle", cases) == expected


def test_a_search_keeps_smaller_lesions_beside_a_large_one():
    volume, brain = np.zeros((3, 60, 60), np.float32), np.ones((3, 60, 60), bool)
    volume[:, 5:35, 5:35] = 0.8
    volume[:, 40:55, 40:55] = 0.8  # a quarter of the area of the other
    several = [Case.of("several", volume, volume > 0, brain, (1.0, 1.0, 1.0), np.zeros(3, bool))]
    found = search(several)
    assert (found.params.area_fraction, found.dice_patient) == (0.2, 1.0)
    kept = cead.PostprocessParams(closing_radius=4, area_fraction=0.6)
    assert search(several, morphologies=[kept]).params.replace(threshold=kept.threshold) == kept


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


def test_the_rule_to_compare_by_is_validation_only_where_enough_patients_chose():
    assert rule_order(10) == ("validation", "healthy-quantile", "oracle")
    assert rule_order(9) == rule_order(0) == ("healthy-quantile", "validation", "oracle")


ODD_MAPS = {
    "noise": lambda noise: noise,
    "few values": lambda noise: np.round(noise * 4) / 4,
    "dark": lambda noise: 0.2 * noise,
    "very dark": lambda noise: 1e-4 * noise,
    "bright": lambda noise: 0.99 + 0.01 * noise,
    "clipped": lambda noise: np.clip(0.6 + noise, 0, 1),
    "constant": lambda noise: np.full_like(noise, 0.3),
    "nothing": lambda noise: np.zeros_like(noise),
    "one": lambda noise: np.ones_like(noise),
}


@pytest.mark.parametrize(("seed", "kind"), enumerate(ODD_MAPS))
def test_the_oracle_is_a_bound_on_what_every_other_rule_has(kind, seed):
    """On the full maps, by the public functions, whatever the other rules may have chosen."""
    scans = []
    for number in range(3):
        anomaly_map, reference, brain = scan(10 * seed + number, lesion=number < 2)
        values = np.where(brain, ODD_MAPS[kind](np.clip(anomaly_map, 0, 1)), 0).astype(np.float32)
        scans.append((values, reference, brain))
    cases = [
        Case.of(f"p{number}", values, reference, brain, SPACING, ~reference.any(axis=(1, 2)))
        for number, (values, reference, brain) in enumerate(scans)
    ]
    rng = np.random.default_rng(seed)
    others = [
        choose("healthy-quantile", cases, quantile=0.9),
        choose("validation", cases[:1]),
        choose("validation", cases[1:2]),
        cead.PostprocessParams(
            threshold=float(rng.random()),
            closing_radius=int(rng.integers(6)),
            area_fraction=float(rng.random()),
            dilation_radius=int(rng.integers(6)),
        ),
    ]
    best = mean_dice(scans, choose("oracle", cases, also=others))
    for params in others:
        with np.errstate(all="ignore"):
            assert not mean_dice(scans, params) > best


def test_a_card_says_which_quantile_its_thresholds_are():
    for name, usual in (("ce-vae1", 0.99), ("ce-unet", 0.997), ("dae", 0.997)):
        card = ModelCard(name="mine", spec=spec(name, "small"))
        assert quantile_of(card) == usual
        own = card.model_copy(update={"training": {"calibration": {"healthy_quantile": 0.95}}})
        assert quantile_of(own) == 0.95


def test_nothing_to_go_by_is_no_choice():
    for rule in RULES.names:
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
