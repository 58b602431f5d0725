"""The Train dock in a real window."""

from __future__ import annotations

import json

import pytest
from qtpy.QtCore import QPoint, Qt

from napari_cead.training.run_info import ACTIVE
from scans import make_brain, write_nifti


@pytest.fixture
def cohort(tmp_path):
    """Three patients with a lesion mask each, in the NIfTI release layout."""
    import numpy as np

    for number in range(3):
        # Three times as large in plane: a slice counts from 15 % brain on.
        volume, lesion = (np.repeat(np.repeat(data, 3, 1), 3, 2) for data in make_brain())
        volume = volume * (1 + 0.2 * number) + 0.05 * number * np.roll(volume, 3 * number, axis=1) * (
            volume > 0
        )
        for name, data in (("flair", volume), ("seg", lesion.astype(np.uint8))):
            stored = np.transpose(data, (2, 1, 0))[::-1, ::-1]
            file = tmp_path / "cohort" / f"Mets_00{number}" / f"{name}.nii.gz"
            write_nifti(file, stored, np.diag([0.9, 0.95, 1.5, 1]))
    return tmp_path / "cohort"


@pytest.fixture
def dock(viewer, qtbot):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
    yield dock
    qtbot.waitUntil(lambda: not dock.finder.job.running)


@pytest.fixture
def chosen(dock, cohort, qtbot):
    """The dock with three scans, all ticked."""
    dock.finder.add([cohort])
    qtbot.waitUntil(lambda: len(dock.scans.scans.reports) == 3 and not dock.finder.job.running)
    for row in range(3):
        model = dock.scans.scans
        model.setData(model.index(row, 0), Qt.CheckState.Checked.value, Qt.ItemDataRole.CheckStateRole)
    return dock


def test_without_scans_it_says_what_is_missing(dock):
    assert not dock.start.enabled
    assert dock.problem.text() == "Tick at least 2 scans: one to learn from, one to validate on."


def test_scans_are_listed_with_what_they_are(chosen):
    reports = chosen.scans.scans.reports
    assert [report.source.name for report in reports] == ["Mets_000", "Mets_001", "Mets_002"]
    texts = [chosen.scans.scans.index(0, column).data() for column in range(4)]
    z, y, x = reports[0].shape
    assert texts[1].startswith(f"{x} × {y} × {z}")
    assert "has a lesion mask" in texts[3]
    assert chosen.found.text().startswith("3 of 3 scans ticked")
    assert chosen.start.enabled


def test_a_click_on_the_tick_takes_a_scan_out(chosen, qtbot):
    index = chosen.scans.scans.index(1, 0)
    place = chosen.scans.visualRect(index)
    qtbot.mouseClick(
        chosen.scans.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place.left() + 10, place.center().y())
    )
    assert [report.source.name for report in chosen.scans.scans.chosen] == ["Mets_000", "Mets_002"]
    assert chosen.found.text().startswith("2 of 3")


def test_a_taken_name_is_refused_before_the_start(chosen):
    chosen.name.value = "ce-vae1"
    assert chosen.problem.text() == "There is a model called ce-vae1 already: choose another name."
    assert not chosen.start.enabled


def test_context_encoding_chooses_the_twin_from_scratch(chosen):
    chosen.base.value, chosen.design.value = "from scratch", "vae2"
    chosen.context.value = False
    assert chosen.model == "vae2"
    assert not chosen.squares.enabled
    chosen.context.value = True
    assert chosen.model == "ce-vae2"
    assert "napari-cead train ce-vae2" in chosen.command.text()
    assert "--init-from" not in chosen.command.text()


def test_start_runs_the_shown_command_in_a_process_of_its_own(chosen, qtbot, monkeypatch):
    started = []
    launch = chosen.manager.launch
    monkeypatch.setattr(
        chosen.manager, "launch", lambda run, words: started.append(words) or launch(run, words)
    )
    chosen.epochs.value, chosen.name.value = 1, "mine"
    shown = chosen.command.text()
    chosen.start.native.click()
    assert shown == "napari-cead " + " ".join(started[0])
    run = chosen.view.run
    listed = json.loads((run / "scans.json").read_text())
    assert [scan["name"] for scan in listed["scans"]] == ["Mets_000", "Mets_001", "Mets_002"]
    assert chosen.tabs.currentIndex() == 1
    qtbot.waitUntil(
        lambda: chosen.view.info is not None and chosen.view.info.state not in ACTIVE, timeout=150_000
    )
    assert chosen.view.info.state == "finished", chosen.view.info
    assert chosen.view.info.installed == "mine"
    assert list(chosen.view.strip._files), "a strip of validation slices was drawn"
    chosen.view.use.click()
    qtbot.waitUntil(lambda: any("mine" in str(dock.model.value) for dock in explore_docks(chosen.viewer)))


def explore_docks(viewer):
    from napari_cead.widgets import ExploreWidget
    from napari_cead.widgets.docks import docks_in

    return docks_in(viewer, ExploreWidget)
