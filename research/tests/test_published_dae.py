"""The benchmark of the published denoising autoencoder, on tiny synthetic data."""

import json
import sys

import numpy as np
import pytest
from skimage.measure import label, regionprops

import published_dae as published


def test_small_components_are_those_of_another_library(data):
    (patient,) = published.load_scans(data)[published.MS].patients
    mask = np.random.default_rng(0).random(patient.volume().shape) > 0.85
    mask[2:6, 4:10, 4:10] = True
    voxel = float(np.prod(patient.spacing))
    expected = np.zeros_like(mask)
    labels = label(mask, connectivity=3)
    for part in regionprops(labels):
        if part.area * voxel > published.SMALL_MM3:
            expected |= labels == part.label
    found = published.without_small(mask, patient)
    np.testing.assert_array_equal(found, expected)
    assert found.any() and (mask & ~found).any()


def test_each_map_has_a_line_and_the_reference_itself_is_perfect(data, monkeypatch, capsys):
    scans = published.load_scans(data)
    perfect = {
        patient.name: np.where(patient.lesion_mask, 0.9, 0.1).astype(np.float32)
        for kind in (published.STROKE, published.MS)
        for patient in scans[kind].patients
    }
    found = published.figures(lambda patient: perfect[patient.name], scans)
    assert found["auprc"] == found["raw"]["dice_pooled"] == found["raw"]["dice_patient"] == 1
    assert found["raw"]["nothing_found"] == 0
    assert 0 < found["post-processed"]["dice_pooled"] < 1  # the last step dilates
    monkeypatch.setattr(published, "of_model", lambda place, score: lambda patient: perfect[patient.name])
    monkeypatch.setattr(sys, "argv", ["x", "--data", str(data), "--model", "m", "--alone"])
    published.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["map"] for line in lines] == [f"`dae`, `{score}`" for score in published.SCORES]
    assert published.markdown(lines).count("| `dae`, `median-residual` |") == 1


def test_raw_flair_is_smoothed_within_the_brain(data):
    (patient,) = published.load_scans(data)[published.MS].patients
    brain = published.brain_mask(patient.volume())
    plain, smooth = (published.of_flair("volume-tissue", sigma)(patient) for sigma in (0.0, 3.0))
    assert not smooth[~brain].any() and smooth[brain].std() < plain[brain].std()
    assert np.median(plain[brain]) == pytest.approx(0.5, abs=0.1)
