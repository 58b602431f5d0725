"""The queue of patients, driven by real clicks, drops and keys."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading

import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog

import napari_cead as cead
from dock_driving import Still, choose_folder, tip
from napari_cead.errors import ModelError
from napari_cead.exploring.queue import RunSettings
from napari_cead.widgets.common.folder_dialog import FolderDialog
from napari_cead.widgets.explore.queue_panel import QueuePanel
from napari_cead.widgets.explore.queue_table import COLUMNS
from patience import PATIENCE


@pytest.fixture
def cohort(patient_folder, tmp_path):
    """Three patients; the scan of the second is cut off in the middle."""
    for name in ("a", "b", "c"):
        shutil.copytree(patient_folder, tmp_path / "cohort" / name)
    broken = tmp_path / "cohort" / "b" / "flair.nii.gz"
    broken.write_bytes(broken.read_bytes()[:500])
    return tmp_path / "cohort"


@pytest.fixture
def settings(installed_model):
    params = cead.PostprocessParams(threshold=0.75)
    return RunSettings(installed_model, "intensity", params, device="cpu", batch_size=4)


@pytest.fixture
def busy():
    """Set while the window's own run is under way."""
    return threading.Event()


@pytest.fixture
def panel(qtbot, settings, busy, tmp_path):
    panel = QueuePanel(lambda: settings, busy.is_set)
    qtbot.addWidget(panel)
    panel.resize(300, 420)
    panel.show()
    qtbot.waitExposed(panel)
    panel.out = tmp_path / "out"
    yield panel
    busy.clear()
    panel.stop()
    qtbot.waitUntil(lambda: not panel.running)


def click(qtbot, button):
    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def drop(table, *paths):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    action, button, no_key = (
        Qt.DropAction.CopyAction,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    enter = QDragEnterEvent(QPoint(20, 20), action, data, button, no_key)
    table.dragEnterEvent(enter)
    assert enter.isAccepted()
    table.dropEvent(QDropEvent(QPointF(20, 20), action, data, button, no_key))


def fill(qtbot, panel, *paths):
    drop(panel.table, *paths)
    qtbot.waitUntil(lambda: panel.table.model().rowCount() > 0 and not panel.running)


def rows(panel):
    table = panel.table
    return [
        [table.cell(row, column).data() for column in range(len(COLUMNS))]
        for row in range(table.model().rowCount())
    ]


def centre(table, row, column=0):
    return table.visualRect(table.cell(row, column)).center()


def test_a_dropped_cohort_runs_and_is_told_about(panel, qtbot, cohort, settings, notified, monkeypatch):
    monkeypatch.setattr("napari_cead.progress.SURE_AFTER_S", 0)
    said = []
    panel.progress.valueChanged.connect(lambda *_: said.append(panel.progress.text()))
    assert not panel.start.isEnabled() and not panel.cancel.isEnabled()
    assert not panel.progress.isVisible(), "nothing has run yet"
    still = Still(panel)
    fill(qtbot, panel, cohort)
    assert rows(panel) == [[name, "waiting", "", ""] for name in "abc"]
    click(qtbot, panel.start)
    assert panel.running_with.text() == "Runs with: " + settings.line
    assert "threshold 0.75" in panel.running_with.text() and panel.progress.isVisible()
    still.while_waiting(qtbot, lambda: not panel.running)
    still.look()

    first, broken, last = rows(panel)
    direct = cead.detect(
        cead.load_patient(cohort / "a"), cead.load_model("tiny", "cpu"), settings.params, settings.score
    )
    assert first[:3] == ["a", "done", f"{direct.dice:.3f}"]
    assert float(first[3]) == pytest.approx(panel.queue.items[0].volume_ml, abs=0.006)
    assert last[1] == "done"
    assert broken[0] == "b"
    assert broken[1].startswith("failed: ")
    assert "cannot be read" in broken[1]
    assert panel.table.columnSpan(1, 1) == 3
    assert str(cohort / "b") in tip(panel.table.cell(1, 0))
    assert broken[1] in tip(panel.table.cell(1, 0))
    assert (panel.progress.value(), panel.progress.maximum()) == (3, 3)
    assert any(text.endswith(" left") for text in said) and panel.progress.text() == "100%"
    assert panel.status.text() == "2 done, 1 failed, 0 to do"
    assert ("info", f"Queue finished: 2 done, 1 failed; results in {panel.out}") in notified
    assert (panel.out / "a" / "mask.nii.gz").is_file()
    assert [item["state"] for item in json.loads((panel.out / "queue.json").read_text())["items"]] == [
        "done",
        "failed",
        "done",
    ]


def test_a_mended_patient_is_tried_again_and_the_others_are_not(panel, qtbot, cohort):
    fill(qtbot, panel, cohort)
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: not panel.running)
    shutil.copy(cohort / "a" / "flair.nii.gz", cohort / "b" / "flair.nii.gz")
    seen = []
    panel.queue.item_changed.connect(lambda item: seen.append(item.name))
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: not panel.running)
    assert set(seen) == {"b"}
    assert [row[1] for row in rows(panel)] == ["done"] * 3
    assert panel.table.columnSpan(1, 1) == 1
    assert not panel.start.isEnabled()


def test_buttons_ask_for_folders_and_files(panel, qtbot, cohort, tmp_path, monkeypatch, notified):
    answers = iter([str(cohort / "a"), ""])
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: next(answers))
    monkeypatch.setattr(
        QFileDialog, "getOpenFileNames", lambda *_: ([str(cohort / "c" / "flair.nii.gz")], "")
    )
    click(qtbot, panel.add_folder)
    qtbot.waitUntil(lambda: panel.table.model().rowCount() == 1)
    click(qtbot, panel.add_folder)  # closed without an answer
    click(qtbot, panel.add_files)
    qtbot.waitUntil(lambda: panel.table.model().rowCount() == 2)
    assert [row[0] for row in rows(panel)] == ["a", "c"]
    click(qtbot, panel.output)
    choose_folder(qtbot, panel, tmp_path / "elsewhere")  # which does not exist
    assert panel.out == tmp_path / "elsewhere"
    assert panel.output_label.text() == str(tmp_path / "elsewhere")
    click(qtbot, panel.add_files)
    qtbot.waitUntil(lambda: ("info", "These patients are in the queue already.") in notified)


def test_start_asks_for_the_output_folder_if_there_is_none(qtbot, settings, cohort, tmp_path):
    panel = QueuePanel(lambda: settings, lambda: False)
    qtbot.addWidget(panel)
    panel.show()
    qtbot.waitExposed(panel)
    panel.add([cohort / "a"])
    qtbot.waitUntil(lambda: panel.table.model().rowCount() == 1)
    click(qtbot, panel.start)
    (dialog,) = panel.findChildren(FolderDialog)
    dialog.reject()
    assert not panel.running and panel.out is None
    qtbot.waitUntil(lambda: panel.findChildren(FolderDialog) == [])
    click(qtbot, panel.start)
    choose_folder(qtbot, panel, tmp_path / "results")
    assert panel.running
    qtbot.waitUntil(lambda: not panel.running)
    assert (tmp_path / "results" / "a" / "detection.json").is_file()


def test_what_is_no_patient_is_one_sentence(panel, qtbot, tmp_path, cohort, notified):
    (tmp_path / "empty").mkdir()
    drop(panel.table, tmp_path / "empty", cohort / "a")
    qtbot.waitUntil(lambda: len(notified) > 0 and panel.table.model().rowCount() == 1)
    [(severity, message)] = notified
    assert severity == "error"
    assert "the folder is empty" in message


def test_remove_takes_the_selected_ones_or_those_done(panel, qtbot, cohort):
    fill(qtbot, panel, cohort)
    assert not panel.remove.isEnabled()
    qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=centre(panel.table, 1))
    qtbot.keyClick(panel.table, Qt.Key.Key_Delete)
    assert [row[0] for row in rows(panel)] == ["a", "c"]
    qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=centre(panel.table, 1))
    click(qtbot, panel.remove)
    assert [row[0] for row in rows(panel)] == ["a"]
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: not panel.running)
    panel.table.clearSelection()
    click(qtbot, panel.remove)
    assert rows(panel) == []
    assert (panel.out / "a" / "mask.nii.gz").is_file()


def test_a_double_click_asks_to_open_the_patient(panel, qtbot, cohort):
    fill(qtbot, panel, cohort)
    where = centre(panel.table, 2)
    with qtbot.waitSignal(panel.open_requested) as caught:
        qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=where)
        qtbot.mouseDClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert caught.args == [cohort / "c"]


def test_the_run_in_the_window_goes_first(panel, qtbot, cohort, busy):
    fill(qtbot, panel, cohort / "a")
    busy.set()
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: "Waiting for the run in the window" in panel.status.text())
    qtbot.wait(200)
    assert rows(panel)[0][1] == "waiting"
    busy.clear()
    qtbot.waitUntil(lambda: not panel.running)
    assert rows(panel)[0][1] == "done"


def test_cancel_while_it_waits_ends_at_once_and_nothing_is_lost(panel, qtbot, cohort, busy, notified):
    fill(qtbot, panel, cohort)
    busy.set()
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: "Waiting for" in panel.status.text())
    click(qtbot, panel.cancel)
    assert not panel.cancel.isEnabled()
    qtbot.waitUntil(lambda: not panel.running)
    assert [row[1] for row in rows(panel)] == ["waiting"] * 3
    assert any("Queue cancelled: 0 done, 0 failed, 3 left" in message for _, message in notified)
    busy.clear()
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: not panel.running)
    assert [row[1].split(":")[0] for row in rows(panel)] == ["done", "failed", "done"]


def held(monkeypatch):
    """Let every patient's loading wait for the returned event."""
    from napari_cead.detection import cohort as module

    real, go_on = module.load_patient, threading.Event()

    def load(*args, **kwargs):
        assert go_on.wait(20 * PATIENCE)
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "load_patient", load)
    return go_on


def test_cancel_in_the_middle_leaves_one_cancelled_and_the_rest_waiting(panel, qtbot, cohort, monkeypatch):
    go_on = held(monkeypatch)
    fill(qtbot, panel, cohort / "a", cohort / "c")
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: rows(panel)[0][1] == "running…")
    assert panel.status.text() == "a (1 of 2)"
    click(qtbot, panel.cancel)
    go_on.set()
    qtbot.waitUntil(lambda: not panel.running)
    assert [row[1] for row in rows(panel)] == ["cancelled", "waiting"]
    assert not (panel.out / "a").exists()


def test_patients_can_be_added_while_it_runs(panel, qtbot, cohort, monkeypatch):
    go_on = held(monkeypatch)
    fill(qtbot, panel, cohort / "a")
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: rows(panel)[0][1] == "running…")
    drop(panel.table, cohort / "c")
    qtbot.waitUntil(lambda: panel.table.model().rowCount() == 2)
    assert panel.cancel.isEnabled()
    assert not panel.output.isEnabled()
    go_on.set()
    qtbot.waitUntil(lambda: not panel.running)
    assert [row[1] for row in rows(panel)] == ["done", "done"]


def test_settings_that_cannot_be_had_are_one_sentence(qtbot, cohort, tmp_path, notified):
    def none():
        raise ModelError("there is no model", hint="install one")

    panel = QueuePanel(none, lambda: False)
    qtbot.addWidget(panel)
    panel.out = tmp_path / "out"
    panel.add([cohort / "a"])
    qtbot.waitUntil(lambda: panel.table.model().rowCount() == 1)
    click(qtbot, panel.start)
    assert ("error", "there is no model; install one") in notified
    assert not panel.running
    assert not (tmp_path / "out").exists()


def test_an_output_folder_among_the_patients_is_refused(panel, qtbot, cohort, notified):
    fill(qtbot, panel, cohort)
    panel.out = cohort
    before = sorted(cohort.rglob("*"))
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: len(notified) > 0 and not panel.running)
    assert "among the patients' own files" in notified[0][1]
    assert sorted(cohort.rglob("*")) == before
    assert panel.start.isEnabled()


def test_a_panel_that_is_deleted_during_a_run_stops_it(qtbot, settings, cohort, tmp_path, monkeypatch):
    go_on = held(monkeypatch)
    panel = QueuePanel(lambda: settings, lambda: False)
    panel.out, queue = tmp_path / "out", panel.queue
    panel.add([cohort / "a", cohort / "c"])
    qtbot.waitUntil(lambda: len(queue.items) == 2 and not panel.running)
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: queue.items[0].state == "running")
    with qtbot.waitSignal(panel.destroyed):
        panel.deleteLater()
    go_on.set()
    qtbot.waitUntil(lambda: not queue.running)
    assert [item.state for item in queue.items] == ["cancelled", "waiting"]


def test_nothing_is_cut_off_in_a_narrow_dock(panel, qtbot, cohort):
    panel.out = cohort.parent / ("a long name of a folder " * 4)
    fill(qtbot, panel, cohort)
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: not panel.running)
    assert panel.minimumSizeHint().width() <= 300
    assert panel.width() == 300
    for button in (panel.add_folder, panel.add_files, panel.remove, panel.output, panel.start, panel.cancel):
        assert button.width() >= button.minimumSizeHint().width(), button.text()
        assert panel.rect().contains(button.geometry())
    table = panel.table
    for column, text in enumerate(rows(panel)[0]):
        cell = table.visualRect(table.cell(0, column))
        assert table.viewport().rect().contains(cell)
        assert cell.width() > table.fontMetrics().horizontalAdvance(text)


QUIT_DURING_A_RUN = """
import sys, threading
from pathlib import Path
import napari
from qtpy.QtCore import QTimer
from napari_cead.exploring.queue import RunSettings
from napari_cead.widgets.explore.queue_panel import QueuePanel

model, cohort, out, busy = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "busy"
viewer = napari.Viewer()
panel = QueuePanel(lambda: RunSettings(model, "intensity", device="cpu", batch_size=1), lambda: busy)
viewer.window.add_dock_widget(panel, name="Queue")
panel.out = out
panel.add([cohort / "a", cohort / "c"])

def quit_when_running():
    if panel.status.text().startswith("Waiting for the run" if busy else "a ("):
        timer.stop()
        viewer.close()

def start_when_filled():
    if panel.table.model().rowCount() == 2 and panel.start.isEnabled():
        filled.stop()
        panel.start.click()
        timer.start(1)

filled, timer = QTimer(), QTimer()
filled.timeout.connect(start_when_filled)
timer.timeout.connect(quit_when_running)
filled.start(10)
napari.run()
print("ended well")
"""


@pytest.mark.parametrize("state", [pytest.param("busy", marks=pytest.mark.slow), "running"])
def test_napari_closed_during_a_run_ends_without_a_hang(cohort, model_folder, tmp_path, state):
    command = [sys.executable, "-c", QUIT_DURING_A_RUN, model_folder, cohort, tmp_path / "out", state]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=120 * PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert "ended well" in done.stdout
    assert "Traceback" not in done.stderr
