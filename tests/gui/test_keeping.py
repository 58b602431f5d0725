"""What was painted and exported is not lost by one wrong click, and not by a crash."""

from __future__ import annotations

import json
from threading import Event

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

import napari_cead as cead
from dock_driving import click, export, layers_of, press, run, settle
from napari_cead.exploring.kept import KeptCorrections
from napari_cead.patients.marks import kind_of

SHARES_DOCK = True
PREFIX = "Mets_001_tiny_"


def paint(widget, qtbot):
    """Paint three voxels with the brush and wait until they count; return where."""
    (layer,) = layers_of(widget, "detected mask")
    z = widget.layers.current_slice()
    layer.selected_label = 1
    layer.brush_size = 1
    for x in (2, 4, 6):
        layer.paint((z, 3, x), 1)
    qtbot.waitUntil(lambda: widget.session.analysis.corrections is not None)
    settle(qtbot, widget)
    return (z, 3, np.array([2, 4, 6]))


def kept(widget):
    return KeptCorrections().find(widget.session.patient)


def opened_again(widget, folder, qtbot):
    """Open the patient as after a crash, and return what asks about its corrections."""
    widget.session.use(cead.load_patient(folder))
    qtbot.waitUntil(lambda: not widget.keeping.busy)
    return widget.keeping.question


def test_corrections_are_kept_and_come_back_after_a_crash(detected, scan_folder, qtbot):
    where = paint(detected, qtbot)
    qtbot.waitUntil(lambda: not detected.keeping.busy)
    assert kept(detected).corrections.added[where].all()
    question = opened_again(detected, scan_folder, qtbot)
    assert "Mets_001" in question.text()
    assert not question.isModal()
    click(qtbot, question.button(QMessageBox.StandardButton.Yes))
    run(qtbot, detected, score="intensity")
    assert detected.session.mask[where].all()
    (layer,) = layers_of(detected, "detected mask")
    assert (layer.data[where] == 1).all()
    assert detected.form.discard.enabled


def test_corrections_that_nobody_wants_are_deleted(detected, scan_folder, qtbot):
    paint(detected, qtbot)
    qtbot.waitUntil(lambda: not detected.keeping.busy)
    question = opened_again(detected, scan_folder, qtbot)
    click(qtbot, question.button(QMessageBox.StandardButton.Discard))
    qtbot.waitUntil(lambda: not detected.keeping.busy)
    assert kept(detected) is None
    assert opened_again(detected, scan_folder, qtbot) is None


def test_a_question_that_is_closed_deletes_nothing(detected, scan_folder, qtbot):
    paint(detected, qtbot)
    qtbot.waitUntil(lambda: not detected.keeping.busy)
    opened_again(detected, scan_folder, qtbot).close()
    qtbot.waitUntil(lambda: detected.keeping.question is None and not detected.keeping.busy)
    assert kept(detected) is not None


def test_corrections_that_were_exported_are_not_asked_about(detected, scan_folder, tmp_path, qtbot):
    paint(detected, qtbot)
    qtbot.waitUntil(lambda: not detected.keeping.busy)
    detected.export_to(tmp_path / "out")
    settle(qtbot, detected)
    qtbot.waitUntil(lambda: not detected.keeping.busy)
    assert kept(detected) is None
    assert opened_again(detected, scan_folder, qtbot) is None


def test_corrections_that_came_from_an_export_are_not_asked_about(detected, scan_folder, tmp_path, qtbot):
    paint(detected, qtbot)
    detected.export_to(tmp_path / "out")
    settle(qtbot, detected)
    click(qtbot, detected.form.discard.native)
    settle(qtbot, detected)
    detected.restore_from(tmp_path / "out")
    settle(qtbot, detected)
    qtbot.waitUntil(lambda: not detected.keeping.busy)
    assert detected.session.analysis.corrections is not None
    assert kept(detected) is None
    (layer,) = layers_of(detected, "detected mask")
    layer.selected_label = 1
    layer.paint((detected.layers.current_slice(), 5, 5), 1)  # a new stroke is kept
    qtbot.waitUntil(lambda: not detected.keeping.busy and kept(detected) is not None)


@pytest.mark.parametrize("how", ["button", "key"])
def test_discarding_corrections_is_undone(detected, qtbot, how):
    where = paint(detected, qtbot)
    click(qtbot, detected.form.discard.native)
    settle(qtbot, detected)
    assert not detected.session.mask[where].any()
    assert detected.form.undo.enabled
    if how == "button":
        click(qtbot, detected.form.undo.native)
    else:
        press(qtbot, detected, Qt.Key.Key_U)
    settle(qtbot, detected)
    assert detected.session.mask[where].all()
    (layer,) = layers_of(detected, "detected mask")
    assert (layer.data[where] == 1).all()


def test_export_carries_patient_and_model_and_asks_before_it_replaces(
    detected, tmp_path, qtbot, monkeypatch, notified
):
    out, answers = tmp_path / "new" / "out", []  # neither is there yet
    monkeypatch.setattr(QMessageBox, "question", lambda *asked: answers.pop())
    export(qtbot, detected, out)  # nothing to replace: nobody is asked
    settle(qtbot, detected)
    names = {file.name for file in out.iterdir()}
    assert {f"{PREFIX}{name}" for name in ("mask.nii.gz", "anomaly_map.nii.gz", "settings.json")} <= names
    assert all(name.startswith(PREFIX) for name in names)
    before = (out / f"{PREFIX}settings.json").read_bytes()

    detected.threshold.value = 0.62
    settle(qtbot, detected)
    answers.append(QMessageBox.StandardButton.No)
    export(qtbot, detected, out)
    settle(qtbot, detected)
    assert not answers
    assert (out / f"{PREFIX}settings.json").read_bytes() == before
    answers.append(QMessageBox.StandardButton.Yes)
    export(qtbot, detected, out)
    settle(qtbot, detected)
    saved = json.loads((out / f"{PREFIX}settings.json").read_text())
    assert saved["params"]["threshold"] == pytest.approx(0.62)


def test_an_export_is_told_on_the_button_and_nothing_moves(detected, tmp_path, qtbot, monkeypatch):
    button, go_on, write = detected.form.export.native, Event(), detected.session.export
    before = button.geometry(), detected.form.restore.native.geometry()

    def slow(*folder, **prefix):
        go_on.wait(20)
        return write(*folder, **prefix)

    monkeypatch.setattr(detected.session, "export", slow)
    export(qtbot, detected, tmp_path / "out")
    qtbot.waitUntil(lambda: button.text() == "Exporting…")
    assert not button.isEnabled()
    assert detected.form.progress.native.text().startswith("Exporting…")
    assert (button.geometry(), detected.form.restore.native.geometry()) == before
    go_on.set()
    settle(qtbot, detected)
    assert button.text() == "Export…" and button.isEnabled()
    assert list((tmp_path / "out").glob("*mask.nii.gz"))


def test_an_export_is_known_again_for_what_it_is(detected, tmp_path, qtbot):
    where = paint(detected, qtbot)
    mask = detected.session.mask.copy()
    detected.export_to(tmp_path / "out")
    settle(qtbot, detected)
    kinds = {
        file.name.removeprefix(PREFIX).split(".")[0]: kind_of(file)
        for file in (tmp_path / "out").glob("*.nii.gz")
    }
    assert kinds["mask"] == kinds["mask_automatic"] == "mask"
    assert kinds["anomaly_map"] == "anomaly map"
    assert kinds["corrections"] == "corrections"
    click(qtbot, detected.form.discard.native)
    settle(qtbot, detected)
    assert not detected.session.mask[where].any()
    detected.restore_from(tmp_path / "out")  # the folder of one export stands for it
    settle(qtbot, detected)
    np.testing.assert_array_equal(detected.session.mask, mask)
