"""A score of another package is used like one of this one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import napari_cead as cead
from napari_cead.cli import run
from napari_cead.detection import ReconstructionCache
from napari_cead.detection import run as run_network
from napari_cead.detection.scores import SCORES
from napari_cead.errors import ParameterError

NAME = "example-unsteady"
pytestmark = pytest.mark.usefixtures("plugin", "quiet")


def test_its_ingredient_is_computed_of_the_network_and_makes_its_map(patient_folder, model_folder):
    patient, detector = cead.load_patient(patient_folder), cead.load_model(model_folder, device="cpu")
    made = run_network(patient, detector, score=NAME)
    batch = torch.from_numpy(made.stack.images[made.stack.occupied])[:, None]
    straight, mirrored = detector.reconstruct(batch), detector.reconstruct(batch.flip(-1)).flip(-1)
    wobble = (straight - mirrored).abs()[:, 0].numpy()
    assert wobble.max() > 0
    np.testing.assert_allclose(made.ingredients["example-wobble"][made.stack.occupied], wobble, atol=1e-6)
    values = np.zeros_like(made.stack.images)
    values[made.stack.occupied] = np.clip(np.abs((batch - straight).numpy()[:, 0]) + wobble, 0, 1)
    expected = np.where(made.stack.brain, made.stack.geometry.to_patient(values), 0)
    np.testing.assert_allclose(made.anomaly_map(NAME), expected, atol=1e-6)


def test_it_is_kept_in_the_cache_like_the_others(patient_folder, model_folder):
    patient, detector = cead.load_patient(patient_folder), cead.load_model(model_folder, device="cpu")
    cache = ReconstructionCache()
    first = run_network(patient, detector, score=NAME, cache=cache)
    again = run_network(patient, detector, score=NAME, cache=cache)
    assert again.from_cache
    np.testing.assert_array_equal(first.anomaly_map(NAME), again.anomaly_map(NAME))


def test_a_map_that_needs_it_says_so_where_it_was_not_computed(patient_folder, model_folder):
    made = run_network(cead.load_patient(patient_folder), cead.load_model(model_folder, device="cpu"))
    with pytest.raises(
        ParameterError, match="needs the change of a mirrored repair of tiny, which was not computed"
    ):
        made.anomaly_map(NAME)


def test_the_command_line_detects_with_it_and_names_it(patient_folder, model_folder, tmp_path, capsys):
    assert NAME in SCORES
    assert run(["detect", "--help"]) == 0
    assert NAME in capsys.readouterr().out
    out = tmp_path / "out"
    command = ["detect", patient_folder, "--model", model_folder, "--score", NAME, "--device", "cpu"]
    assert run([str(word) for word in (*command, "--out", out)]) == 0
    facts = json.loads((out / "detection.json").read_text())
    assert facts["score"] == NAME
    replayed = facts["command"]["argv"]
    assert replayed[replayed.index("--score") + 1] == NAME
