"""An ensemble in the Explore dock is a model like any other; its map is the median of its members' maps."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

import napari_cead as cead
from dock_driving import click, layers_of, run, settle
from model_folders import ensemble_of
from napari_cead.zoo import find_model, models_folder, save_model


@pytest.fixture
def members(installed_model, tmp_path):
    """The installed model and two others, which are not installed, but their ensemble is."""
    folders = [find_model(installed_model)]
    tiny = cead.load_model(folders[0], device="cpu")
    for seed in (1, 2):
        torch.manual_seed(seed)
        module = deepcopy(tiny.module)
        with torch.no_grad():
            for weights in module.parameters():
                weights.add_(weights.abs().mean() * torch.randn_like(weights))
        folders.append(save_model(module, tiny.card, tmp_path / f"m{seed}"))
    ensemble_of(models_folder() / "ours", folders)
    return [cead.load_model(folder, device="cpu") for folder in folders]


def test_it_runs_stands_beside_a_member_and_changes_its_score(members, widget, scan_folder, qtbot):
    widget.patient.value = scan_folder
    settle(qtbot, widget)
    run(qtbot, widget, members[0].name, "squared")
    run(qtbot, widget, "ours", "squared")
    patient = widget.session.patient
    for score in ("squared", "median-residual"):
        widget.score.value = score
        settle(qtbot, widget)
        maps = [cead.detect(patient, member, score=score).anomaly_map for member in members]
        (layer,) = layers_of(widget, "anomaly map", ("ours", score))
        assert np.median(maps, axis=0).any()
        np.testing.assert_array_equal(layer.data, np.median(maps, axis=0))
    widget.form.tabs.setCurrentWidget(widget.form.comparison)
    settle(qtbot, widget)
    click(qtbot, widget.form.comparison.side_by_side)
    settle(qtbot, widget)
    analyses = {one.key: one for one in widget.session.analyses}
    assert [key[0] for key in analyses] == [members[0].name, "ours", "ours"]
    for key, analysis in analyses.items():
        tiles = [layer for layer in layers_of(widget, "anomaly map", key) if layer.visible]
        assert len(tiles) == 1
        np.testing.assert_array_equal(tiles[0].data, analysis.anomaly_map)
