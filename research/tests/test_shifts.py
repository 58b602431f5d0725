"""The benchmark of simulated other scanners, on tiny synthetic data."""

import json
import sys

import numpy as np
import pytest
from scipy import ndimage

import shifts
from napari_cead import load_model
from napari_cead.detection.baselines import BASELINES
from napari_cead.patients import Patient
from scans import make_brain


@pytest.fixture
def patient():
    volume, lesion = make_brain((10, 60, 50), seed=3)
    return Patient.from_arrays({"flair": volume}, lesion_mask=lesion, spacing=(1.0, 1.5, 2.0), name="someone")


def test_every_change_leaves_a_scan_that_can_be_used_and_repeats_itself(patient):
    volume = patient.volume()
    for name in shifts.CHANGES:
        first, second = (shifts.changed(patient, name) for _ in range(2))
        np.testing.assert_array_equal(first.volume(), second.volume())
        assert first.volume().dtype == np.float32 and np.isfinite(first.volume()).all(), name
        assert first.volume().min() >= 0, name
        assert np.array_equal(first.volume(), volume) == (name == "as it is"), name
        same_brain = ((first.volume() > 0) == (volume > 0)).all()
        assert same_brain == (not name.startswith(("turned", "3 mm"))), name
        assert first.lesion_mask.sum() == pytest.approx(patient.lesion_mask.sum(), rel=0.2), name
    np.testing.assert_array_equal(patient.volume(), volume)


def test_changes_do_what_they_are_called(patient):
    volume, brain = patient.volume(), patient.volume() > 0
    white = np.percentile(volume[brain], 99.5)
    bent = shifts.contrast(volume, patient, 0.75)
    np.testing.assert_allclose(bent[brain] / white, (volume[brain] / white) ** 0.75, rtol=1e-5)
    sides = shifts.coil(volume, patient, 0.2, 2)[brain] / volume[brain]
    assert (sides.min(), sides.max()) == (pytest.approx(0.8, abs=1e-5), pytest.approx(1.2, abs=1e-5))
    noisy = shifts.noise(np.where(brain, np.float32(100), 0), patient, 0.05)
    assert noisy[brain].std() == pytest.approx(5, rel=0.05)
    taken = brain & (shifts.stripped(volume, patient, 3.0) == 0)
    depth = np.stack([ndimage.distance_transform_edt(slice_, (1.5, 2.0)) for slice_ in brain])
    np.testing.assert_array_equal(taken, brain & (depth <= 3))
    made = shifts.thick(
        np.arange(10, dtype=np.float32)[:, None, None] * np.ones((10, 2, 2), np.float32), patient, 5
    )
    assert made[:, 0, 0].tolist() == [0, 2, 2, 2, 2, 7, 7, 7, 7, 7]  # what is no brain stays none
    flat = shifts.blur(np.where(brain, np.float32(7), 0), patient, 2.0)
    np.testing.assert_allclose(flat[brain], 7, rtol=1e-4)


def test_the_mask_turns_with_the_scan():
    volume = np.zeros((1, 61, 61), np.float32)
    volume[0, 5:56, 5:56] = 50
    lesion = np.zeros(volume.shape, bool)
    lesion[0, 10:20, 30:42] = True
    volume[lesion] = 100
    turned = shifts.changed(Patient.from_arrays({"flair": volume}, lesion_mask=lesion), "turned by 15°")
    bright = turned.volume() > 75
    assert 2 * (bright & turned.lesion_mask).sum() / (bright.sum() + turned.lesion_mask.sum()) > 0.97
    assert (turned.lesion_mask != lesion).any()


def test_the_threshold_is_that_of_the_scans_as_they_are(data, tmp_path, model_folder, monkeypatch, capsys):
    monkeypatch.setattr(
        shifts, "CHANGES", {name: shifts.CHANGES[name] for name in ("as it is", "noise of 6 %")}
    )
    page = tmp_path / "table.md"
    arguments = ["--data", str(data), "--model", str(model_folder), "--table", str(page)]
    monkeypatch.setattr(sys, "argv", ["shifts.py", *arguments])
    shifts.main()
    plain, noisy = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    name = load_model(model_folder, "cpu").name
    assert plain["patients"] == 2
    assert len(shifts.FREE) == 4
    for which in (name, *shifts.FREE):
        assert plain[which]["stroke"] == plain[which]["stroke_oracle"]
        assert noisy[which]["stroke"] <= noisy[which]["stroke_oracle"]
        assert noisy[which] != plain[which]
    strokes, volume = page.read_text("utf-8").split("\n\n")
    for lines, title in (
        (strokes, "strokes: `dice_pooled`"),
        (volume, "MS patient: Dice, threshold from strokes"),
    ):
        rows = [row.strip("| ").split(" | ") for row in lines.splitlines()]
        assert [row[0] for row in rows] == [title, "---", "as it is", "noise of 6 %"]
        assert rows[0][1:3] == [f"`{name}`", "`flair-threshold`"]
    assert f"{noisy['flair-asymmetry']['ms']:.3f}" in volume.splitlines()[-1]


def test_baselines_are_those_of_the_evaluation(patient, model_folder):
    found = shifts.maps(patient, load_model(model_folder, "cpu"))
    for title, (name, score) in shifts.FREE.items():
        assert title.startswith(BASELINES[name].title("flair"))
        np.testing.assert_array_equal(found[title], BASELINES[name].seen(patient).anomaly_map(score))
