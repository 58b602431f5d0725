"""The benchmark of short trainings, on tiny synthetic data."""

import json
import sys

import numpy as np
import pytest

import training_levers as levers
from napari_cead.metrics import average_precision


def test_variants_are_trained_once_and_judged_by_validation_patients(data, tmp_path, monkeypatch, capsys):
    folders = ["--data", str(data), "--out", str(tmp_path / "out")]
    arguments = [*folders, "--model", "dae", "--only", "coarse-noise,real-slices-alone", "--updates", "2"]
    monkeypatch.setattr(sys, "argv", ["training_levers.py", *arguments])
    levers.main()
    first = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["score"] for line in first] == list(levers.SCORES)
    assert {(line["model"], line["variant"]) for line in first} == {("dae", "real-slices-alone")}
    assert {line["stroke_validation"]["patients"] for line in first} == {2}
    assert all(0 <= line["patient26"]["dice_pooled_oracle"] <= 1 for line in first)
    assert levers.markdown(first).count("| `real-slices-alone` |") == 1
    weights = tmp_path / "out" / "dae" / "real-slices-alone" / "model" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    levers.main()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == first
    assert weights.stat().st_mtime_ns == before


def test_the_table_has_a_row_per_variant_and_a_dash_for_a_score_that_it_lacks():
    def line(model, variant, score, value):
        stroke = {
            "patients": 2,
            "auprc": value,
            "auroc": 1,
            "dice_pooled_oracle": 1,
            "dice_pooled": value / 2,
        }
        ms = {"auprc": value / 8, "auroc": 1, "dice_pooled_oracle": value / 4}
        of = {"model": model, "variant": variant, "score": score, "updates": 1052}
        return of | {"stroke_validation": stroke, "patient26": ms}

    scores = ("residual", "positive-residual", "bright-and-changed")
    lines = [line("ce-unet", "recipe", score, 0.8) for score in scores]
    lines += [line("dae", "volume-percentile", "residual", 0.4)]
    rows = levers.markdown(lines).splitlines()
    assert "| `recipe` | 1,052 | 0.400 | 0.800 | 0.200 | 0.100 | 0.400 | 0.800 | 0.200 | 0.100 |" in rows
    assert "| `volume-percentile` | 1,052 | 0.200 | 0.400 | 0.100 | 0.050 | – | – | – | – |" in rows
    assert [row for row in rows if row.startswith("###")] == ["### `ce-unet`", "### `dae`"]


def test_figures_are_those_of_the_voxels(data, monkeypatch):
    rng = np.random.default_rng(0)
    scans = levers.load_scans(data)[levers.STROKE]
    maps = {patient.name: rng.random(patient.volume().shape, dtype=np.float32) for patient in scans.patients}

    class Found:
        def __init__(self, anomaly_map):
            self.anomaly_map = anomaly_map

    monkeypatch.setattr(levers.cead, "detect", lambda patient, detector, score: Found(maps[patient.name]))
    found = levers.figures(None, "residual", scans)
    brains = [levers.brain_mask(patient.volume()) for patient in scans.patients]
    values = np.concatenate([maps[p.name][b] for p, b in zip(scans.patients, brains, strict=True)])
    truth = np.concatenate([scans.reference(number)[brain] for number, brain in enumerate(brains)])
    assert found["auprc"] == pytest.approx(average_precision(values, truth), abs=2e-3)
    best = max(
        2 * (values[truth] > t).sum() / ((values > t).sum() + truth.sum()) for t in np.linspace(0, 1, 300)
    )
    assert found["dice_pooled_oracle"] == pytest.approx(best, abs=2e-3)
    assert found["dice_pooled"] <= found["dice_pooled_oracle"]


@pytest.mark.parametrize("design", ["ce-unet", "dae"])
def test_every_variant_can_be_set_up_and_none_repeats_the_recipe(design):
    seen = []
    for name in levers.variants_of(design):
        store, _ = levers.VARIANTS[name]
        assert store in ("both", "real", "phantoms", "percentile"), name
        settings = levers.settings_of(design, name)
        assert settings.spec.name == design
        assert (store, settings) not in seen, f"{name} is another one again"
        seen.append((store, settings))
    assert levers.RECIPE in levers.variants_of(design)
    assert {"lesions", "coarse-noise"} - set(levers.variants_of(design)) == {
        "lesions" if design == "ce-unet" else "coarse-noise"
    }


def test_an_unknown_variant_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--data", "d", "--out", "o", "--only", "circles"])
    with pytest.raises(SystemExit) as ended:
        levers.main()
    assert ended.value.code == 2
    assert "there is no circles; use some of recipe" in capsys.readouterr().err
