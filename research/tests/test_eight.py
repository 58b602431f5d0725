"""The paper's eight: the verdict on context encoding follows from figures per scan, and pages from the figures."""

import json

import numpy as np
import pytest

import eight
import eight_pages
from measuring import GRID, SETTINGS
from napari_cead.models.specs import MODEL_NAMES


def scans(dice):
    """Return the figures of scans whose Dice is the same at every threshold."""
    dice = np.asarray(dice, np.float64)
    arrays = {"curve": np.repeat(dice[:, None], len(GRID), 1), "ap": dice / 2}
    for setting in SETTINGS:
        arrays[f"{setting}/counts"] = np.stack([1000 * dice, 2000 * (1 - dice), 0 * dice], 1).astype(int)
        arrays[f"{setting}/lesions"] = np.ones((len(dice), 4), int)
    return dict.fromkeys(eight.PARTS, arrays)


def per_scan(each):
    return [eight.per_scan(parts["ms"]) for parts in each]


def test_figures_of_a_training_that_is_gone_stay_and_count(tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    gone = {
        f"{name}.seed{seed}": scans(random.uniform(0.2, 0.4, 40))
        for name in ("ae", "ce-ae")
        for seed in (0, 1)
    }
    file = tmp_path / "eight.json"
    kept = {
        name: {eight.PER_SCAN: {part: eight.per_scan(parts[part]) for part in eight.PARTS}}
        for name, parts in gone.items()
    }
    file.write_text(json.dumps({"maps": kept}))
    nothing = {part: {"flair-weak": {}} for part in (*eight.PARTS, *eight.CALM)}
    (tmp_path / "results.json").write_text(
        json.dumps({"without a network": ["flair-weak"], "parts": nothing})
    )
    monkeypatch.setattr(eight, "__file__", str(tmp_path / "eight.py"))
    found = eight.gather(tmp_path, [1], tmp_path / "work")
    assert found["maps"].keys() == {*gone, "flair-weak"}
    assert found["context encoding"].keys() == {"ae"} and found["context encoding"]["ae"]["seeds"] == [0, 1]
    ms = [[gone[f"{name}.seed{seed}"] for seed in (0, 1)] for name in ("ce-ae", "ae")]
    expected = np.mean([one["ms"]["ap"] - other["ms"]["ap"] for one, other in zip(*ms, strict=True)])
    assert found["context encoding"]["ae"]["ms"]["AP"]["mean"] == pytest.approx(expected, abs=1e-4)


def test_the_verdict_is_the_paired_difference_and_its_interval_holds_the_seeds():
    random = np.random.default_rng(1)
    plain = [scans(random.uniform(0.2, 0.4, 200)) for _ in range(3)]
    gains = (0.05, 0.10, 0.15)
    encoded = [scans(one["ms"]["curve"][:, 0] + gain) for one, gain in zip(plain, gains, strict=True)]
    found = eight.verdict(per_scan(encoded), per_scan(plain))["best"]
    assert found["mean"] == pytest.approx(0.10, abs=1e-4)
    assert found["by seed"] == pytest.approx(gains, abs=1e-4)
    # The scans of a seed all gain the same: what is left is the mean of three seeds drawn with replacement.
    assert found["interval"] == pytest.approx([0.05, 0.15], abs=0.018)


def test_one_seed_has_an_interval_over_scans_and_few_scans_have_none():
    random = np.random.default_rng(2)
    one, gain = scans(random.uniform(0.2, 0.4, 100)), random.normal(0.05, 0.02, 100)
    other = scans(one["ms"]["curve"][:, 0] + gain)
    low, high = eight.verdict(per_scan([other]), per_scan([one]))["best"]["interval"]
    assert (low + high) / 2 == pytest.approx(gain.mean(), abs=2e-3)
    assert high - low == pytest.approx(2 * 1.96 * gain.std() / 10, rel=0.15)
    few, fewer = scans([0.2, 0.3]), scans([0.1, 0.3])
    assert eight.verdict(per_scan([few] * 3), per_scan([fewer] * 3))["AP"]["interval"] is None


def figures(value):
    found = {part: {name: {"mean": value} for name in eight.COMPARED} for part in eight.PARTS}
    return found | {part: {"mL, as it comes": {"median": 10 * value}} for part in eight.CALM}


def test_the_page_has_every_design_beside_the_strongest_map_and_says_what_is_shown():
    found = {"maps": {}, "context encoding": {}}
    for name in MODEL_NAMES:
        for seed in (0, 1):
            found["maps"][f"{name}.seed{seed}"] = figures(0.1 + 0.01 * seed)
    found["maps"] |= {"flair-weak": figures(0.2), "flair-strong": figures(0.3)}
    gap = {"mean": -0.02, "interval": [-0.03, -0.01], "by seed": [-0.01, -0.03]}
    nothing = {"mean": 0.0, "interval": [-0.1, 0.1], "by seed": [-0.1, 0.1]}
    verdict = {part: {"best": nothing, "AP": nothing} for part in eight.PARTS}
    verdict["test-strokes"] = {"best": gap, "AP": gap}
    found["context encoding"]["ae"] = {"seeds": [0, 1]} | verdict
    page = eight_pages._results(found)
    assert page.count("| `ce-vae2` | 0.326 | 0.105 (0.100–0.110) |") == 4
    assert page.count("0.300 `flair-strong`") == 12
    assert (
        "**It lowers both figures of `ae` (435 strokes, one slice each). Elsewhere nothing is shown.**"
        in page
    )
