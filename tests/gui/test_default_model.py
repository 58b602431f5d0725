"""What a new dock does before anybody has chosen anything: the default model, its score and its settings."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from napari_cead.zoo import find_model, load_card


@pytest.fixture
def dock(viewer, qtbot):
    """The Explore dock of somebody who has only the bundled models."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    yield dock
    qtbot.waitUntil(lambda: not dock.job.running and not dock.live.busy)


@pytest.fixture
def coarse_folder(patient_folder):
    """The patient with pixels of 1.4 mm."""
    for file in patient_folder.glob("*.nii.gz"):
        image = nib.load(file)
        data = np.asarray(image.dataobj)
        nib.save(nib.Nifti1Image(data, np.diag([1.4, 1.4, 1.5, 1])), file)
    return patient_folder


def run(dock, qtbot):
    before = dock.session.analysis
    dock.run.native.click()
    qtbot.waitUntil(
        lambda: dock.session.analysis not in (None, before) and not dock.job.running, timeout=60_000
    )
    qtbot.waitUntil(lambda: not dock.live.busy)
    return dock.session.analysis


def test_the_first_run_needs_no_choice_and_its_score_goes_where_a_model_lacks_it(
    dock, coarse_folder, qtbot, notified
):
    suggestion = load_card(find_model("ce-unet")).suggestions[0]
    assert (dock.model.value, dock.score.value) == ("ce-unet", "fused")
    assert dock.threshold.value == pytest.approx(suggestion.params["threshold"], abs=5e-4)
    dock.patient.value = coarse_folder
    qtbot.waitUntil(lambda: dock.session.patient is not None and not dock.job.running)
    found = run(dock, qtbot)
    expected = cead.detect(cead.load_patient(coarse_folder), cead.load_model("ce-unet", device="cpu"))
    assert found.key == ("ce-unet", expected.score) and np.array_equal(found.mask, expected.mask)
    # The paper's area opening for every model; a suggestion of another one is a click away.
    assert found.params == cead.PostprocessParams(threshold=suggestion.params["threshold"])
    assert (dock.area_fraction.value, suggestion.params["area_fraction"]) == (0.6, 0.2)
    # That the model has pixels of its own is said below the result, and is nothing to be warned of.
    assert "resampled to the model's 1 x 1 mm" in dock.form.notes.text()
    assert not any("resampled to the model's" in message for _, message in notified)
    # The score looks for tissue where ce-vae1 has none: that model shows what it suggests itself.
    dock.model.value = "ce-vae1"
    assert "fused" not in dock.score.choices
    assert dock.score.value == load_card(find_model("ce-vae1")).suggestions[0].score == "positive-residual"
    assert run(dock, qtbot).key == ("ce-vae1", "positive-residual")
    # Back again, the first analysis is there with its settings.
    dock.model.value = "ce-unet"
    qtbot.waitUntil(lambda: dock.session.analysis.key[0] == "ce-unet")
    assert "fused" in dock.score.choices
    assert dock.session.params == expected.params


def test_another_sequence_than_flair_is_told(dock, patient_folder, qtbot, notified):
    dock.patient.value = patient_folder
    qtbot.waitUntil(lambda: dock.session.patient is not None and not dock.job.running)
    dock.sequence.value = "t1_gd"
    assert run(dock, qtbot).key == ("ce-unet", "fused")
    assert any("ce-unet was trained on flair, this is t1_gd" in message for _, message in notified)


def test_the_sample_opens_where_the_default_finds_the_lesion(dock, qtbot):
    dock.viewer.open_sample("napari-cead", "synthetic_patient")
    qtbot.waitUntil(lambda: dock.session.patient is not None and not dock.running)
    z = dock.layers.current_slice()
    lesion = dock.session.patient.lesion_mask[z]
    assert lesion.any()
    found = run(dock, qtbot)
    assert dock.layers.current_slice() == z and dock.form.rule.text().startswith(
        "Default settings, suggested"
    )
    assert cead.dice(found.mask[z], lesion) > 0.5
