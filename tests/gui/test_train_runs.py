"""The page of trainings in the Train dock, on runs that were written by hand."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from napari.utils.notifications import show_warning
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QPainter, QPicture, QTextDocumentFragment
from qtpy.QtWidgets import QApplication, QLabel, QPushButton

from dock_driving import Still
from napari_cead.evaluation.fine_tuned import Table
from napari_cead.runs.registry import runs_folder
from napari_cead.runs.run_files import PREVIEWS
from napari_cead.runs.run_info import RunInfo, look
from napari_cead.training import RunFolder
from napari_cead.widgets.train.before_after_view import BeforeAfterView, as_html
from napari_cead.widgets.train.close_guard import CloseGuard
from napari_cead.widgets.train.finished_model import FinishedModel
from napari_cead.widgets.train.preview_strip import HEIGHT, PreviewStrip
from napari_cead.widgets.train.runs_table import RunsTable
from napari_cead.widgets.train.training_plots import PlainAxis, TrainingPlots
from written_runs import PLAN, entry, write_run


@pytest.fixture
def dock(viewer, qtbot):
    """The Train dock with a training that has crashed and one whose model is no longer there."""
    write_run("broken", {"event": "error", "message": "the disk is full"})
    write_run("whole", {"event": "done", "folder": ""})
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
    qtbot.waitUntil(lambda: viewer.window._qt_window.findChild(CloseGuard) is not None)
    dock.tabs.setCurrentIndex(1)
    return dock


def choose(dock, name, qtbot):
    """Click on a training in the list."""
    row = [info.name for info in dock.runs.runs].index(name)
    place = dock.runs.visualRect(dock.runs.cell(row, 0)).center()
    qtbot.mouseClick(dock.runs.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.waitUntil(lambda: dock.view.info is not None and dock.view.info.name == name)


def test_a_crash_is_told_in_sentences_and_with_the_last_words_in_sight(dock, qtbot):
    choose(dock, "broken", qtbot)
    view = dock.view
    assert view.state.text() == "Crashed. The disk is full. Resume goes on from the last checkpoint."
    qtbot.waitUntil(lambda: view.words.isVisible())
    scroll = view.words.verticalScrollBar()
    assert scroll.maximum() > 0
    assert scroll.value() == scroll.maximum()


def test_only_what_can_be_done_is_enabled_and_only_a_model_that_is_there_stays(dock, qtbot):
    view, asked = dock.view, []
    dock.confirm = lambda question: asked.append(question) or question.startswith("Remove")
    choose(dock, "whole", qtbot)
    assert view.details.text().startswith("its model was deleted")
    shown = [button for button in view.findChildren(QPushButton) if button.isVisible()]
    assert {button for button in shown if button.isEnabled()} >= {view.discard, view.copy}
    assert not view.pause.isEnabled() and not view.use.isEnabled()
    assert view.discard.text() == "Remove training…"
    assert dock.model_made.delete.text() == "Delete model…"
    qtbot.mouseClick(view.discard, Qt.MouseButton.LeftButton)
    assert asked == ["Remove the training whole with everything it has made?"]
    qtbot.waitUntil(lambda: view.info is not None and view.info.name == "broken")
    assert not (runs_folder() / "whole").exists()


def test_a_folder_that_is_taken_away_is_told_but_not_one_that_was_removed_here(dock, qtbot, notified):
    dock.confirm = lambda question: True
    choose(dock, "whole", qtbot)
    qtbot.mouseClick(dock.view.discard, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.view.info is not None and dock.view.info.name == "broken")
    assert not notified
    folder = dock.view.run
    shutil.rmtree(folder)
    qtbot.waitUntil(lambda: bool(notified))
    assert notified == [("warning", f"Training broken is gone: its folder was removed or moved ({folder}).")]


def test_bar_list_and_line_tell_the_same_epoch(dock, qtbot):
    choose(dock, "broken", qtbot)
    row = [info.name for info in dock.runs.runs].index("broken")
    assert dock.view.bar.format() == "12 of 40 epochs done"
    assert dock.runs.cell(row, 2).data() == "12/40"
    folder = RunFolder(dock.view.run)
    folder.say("epoch", epoch=13, epochs=40, train_loss=1387.0, validation_loss=687.0)
    folder.say("error", message="the disk is full")
    qtbot.waitUntil(lambda: dock.view.bar.format() == "13 of 40 epochs done")
    assert dock.runs.cell(row, 2).data() == "13/40"


def test_a_row_takes_what_is_newer(qtbot):
    table = RunsTable()
    qtbot.addWidget(table)
    old = look(write_run("mine", {"event": "paused"}, epochs=3))
    table.show_runs([old, RunInfo(old.path.with_name("other"), "other", "paused")])
    table.update_run(look_again := RunInfo(old.path, "mine", "paused", epoch=9, epochs=40))
    assert [table.cell(row, 2).data() for row in range(2)] == ["9/40", ""]
    assert table.runs[0] == look_again


def test_a_step_of_an_epoch_that_is_over_is_not_told(qtbot):
    plots = TrainingPlots()
    qtbot.addWidget(plots)
    step = {"event": "step", "epoch": 3, "step": 14, "steps": 40, "train_loss": 1250.0}
    plots.show_epochs([entry(1), entry(2)])
    plots.show_step(step)
    assert plots.now.text() == "Epoch 3 under way: step 14 of 40 in all, training loss 1250"
    plots.show_epochs([entry(1), entry(2), entry(3)])
    assert plots.now.text() == "Epoch 3 done: training loss 1397, validation loss 697"
    plots.show_step(None)
    assert plots.now.text() == ""


def test_the_legend_is_above_the_axes_and_only_what_there_is_is_offered(qtbot):
    plots = TrainingPlots()
    qtbot.addWidget(plots)
    plots.show()
    qtbot.waitExposed(plots)
    plots.show_epochs([entry(number) | {"slices_per_second": 50.0} for number in range(1, 20)])
    assert plots.view.plotItem.legend is None
    assert "training" in plots.legend.text() and "validation" in plots.legend.text()
    assert plots.legend.geometry().bottom() < plots.view.geometry().top()
    offered = [plots.what.itemText(index) for index in range(plots.what.count())]
    assert offered == ["loss", "learning rate", "slices per second"]
    assert plots.log.isChecked() and plots.view.getAxis("left").labelText == "loss"
    qtbot.keyClick(plots.what, Qt.Key.Key_End)
    assert (plots.what.currentText(), plots.log.isChecked()) == ("slices per second", False)
    assert plots.view.getAxis("left").range == [0, 100]  # a flat line is in the middle
    plots.show_epochs([entry(1) | {"used_codes": 12.0}])
    assert plots.what.findText("used codes (VQ-VAE)") >= 0
    assert plots.what.currentText() == "slices per second"


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(640, 1450, ["800", "1000", "1200", "1400"]), (0.9, 1100, ["1", "10", "100", "1000"])],
)
def test_a_logarithmic_axis_has_plain_numbers(qtbot, low, high, shown):
    axis = PlainAxis("left")
    axis.setLogMode(y=True)
    (spacing, values), *_ = axis.tickValues(np.log10(low), np.log10(high), 200)
    assert axis.tickStrings(values, 1.0, spacing) == shown


@pytest.mark.parametrize("epochs", [1, 2, 5, 7, 40])
def test_ticks_are_whole_epochs_and_no_number_is_cut(qtbot, epochs):
    plots = TrainingPlots()
    qtbot.addWidget(plots)
    plots.resize(370, 320)
    plots.show()
    losses = np.linspace(0.08, 0.072, epochs)
    plots.show_epochs(
        [{"epoch": n, "train_loss": a, "validation_loss": a} for n, a in enumerate(losses, start=1)]
    )
    qtbot.waitExposed(plots)

    def written(axis):
        """Return the place and the text of each number."""
        painter = QPainter(picture := QPicture())  # noqa: F841, it has to outlive its painter
        *_, texts = axis.generateDrawSpecs(painter)
        painter.end()
        return texts

    for side in ("bottom", "left"):
        axis = plots.view.getAxis(side)
        qtbot.waitUntil(lambda axis=axis: bool(written(axis)))
        texts = written(axis)
        if side == "bottom":
            assert all(re.fullmatch(r"\d+", text) for *_, text in texts)
        inside = plots.view.mapToScene(plots.view.viewport().rect()).boundingRect()
        for rect, _, text in texts:
            assert inside.contains(axis.mapRectToScene(rect)), (side, text)


def test_a_strip_names_its_rows_and_says_why_the_last_epochs_have_none(qtbot, tmp_path):
    folder = tmp_path / PREVIEWS
    folder.mkdir()
    for epoch in (1, 27):
        Image.fromarray(np.zeros((294, 588), np.uint8)).save(folder / f"epoch-{epoch:04d}.png")
    strip = PreviewStrip()
    qtbot.addWidget(strip)
    strip.resize(380, 300)
    strip.show_folder(folder, 40)
    strip.show()
    qtbot.waitExposed(strip)
    rows = ["input", "recon-\nstruction", "residual"]
    labels = [each for each in strip.findChildren(QLabel) if each.text() in rows]
    assert [label.text() for label in sorted(labels, key=lambda label: label.y())] == rows
    assert strip.picture.rect().contains(strip.picture.shown_in()) and strip.picture.width() < 380
    assert strip.caption.text() == "epoch 27"
    assert "of epoch 27, 40 are done" in strip.note.text() and strip.note.isVisible()
    places = [part.geometry() for part in (strip.picture, strip.slider)]
    strip.show_folder(folder, 27)
    assert strip.note.text() == ""
    assert [part.geometry() for part in (strip.picture, strip.slider)] == places


@pytest.mark.parametrize("width", [380, 200, 90])
def test_a_strip_keeps_its_height_however_narrow_the_dock_is(qtbot, tmp_path, width):
    folder = tmp_path / PREVIEWS
    folder.mkdir()
    Image.fromarray(np.zeros((294, 588), np.uint8)).save(folder / "epoch-0001.png")
    strip = PreviewStrip()
    qtbot.addWidget(strip)
    strip.show()
    strip.resize(width, 60)  # too low as well, as in a dock beside another one
    strip.show_folder(folder, 1)
    qtbot.waitUntil(lambda: strip.height() >= strip.minimumSizeHint().height())
    shown = strip.picture.shown_in()
    assert abs(shown.width() - 2 * shown.height()) <= 2 and strip.picture.height() == HEIGHT
    assert strip.slider.geometry().top() > strip.picture.geometry().bottom()


def test_nothing_in_the_view_of_a_training_moves_when_rows_and_warnings_appear(dock, qtbot):
    choose(dock, "broken", qtbot)
    view = dock.view

    def places():
        QApplication.processEvents()
        parts = (view.resume, view.keep, view.discard, view.bar, view.plots.what, view.plots.view)
        return [part.mapTo(dock.tabs.widget(1).widget(), part.rect().topLeft()) for part in parts]

    before = places()
    for number in range(8):
        write_run(f"another-{number}", {"event": "paused"}, epochs=3)
    folder = RunFolder(view.run)
    for epoch in range(13, 40):  # the training loss falls, the validation loss rises
        entry = {"epoch": epoch, "train_loss": 900.0 - epoch, "validation_loss": 700.0 + 20 * epoch}
        folder.say("epoch", **entry, epochs=40, best_epoch=12, best_loss=688.0)
    folder.say("error", message="the disk is full " * 20)
    qtbot.waitUntil(lambda: view.advice.text() != "" and len(view.state.text()) > 200)
    qtbot.waitUntil(lambda: len(dock.runs.runs) == 10)
    assert places() == before
    # The paused one has no warning, another state, and its button in the same place.
    choose(dock, "another-1", qtbot)
    assert places() == before and view.resume.isEnabled()


def test_nothing_moves_through_a_whole_training(viewer, qtbot):
    """From the first sign of life to the finished model: in no state, with no warning, picture or row."""
    run = runs_folder() / "long"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(PLAN))
    folder = RunFolder(run)
    begun = {"model": "vae1", "size": "small", "epochs": 40}
    with folder.locked():  # this process is the one that trains
        folder.say("start", **begun, epoch=0)
        _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
        viewer.window.resize(1366, 768)
        dock.tabs.setCurrentIndex(1)
        view = dock.view
        qtbot.waitUntil(lambda: view.info is not None and view.pause.isVisible())
        still = Still(dock)

        def say(event, seen, **values):
            folder.say(event, **values)
            still.while_waiting(qtbot, seen)

        say("preparing", lambda: view.bar.format().startswith("preparing"), done=1, total=4)
        step = {"epoch": 1, "step": 3, "steps": 40, "train_loss": 1400.0}
        say("step", lambda: "Epoch 1" in view.plots.now.text(), **step)
        (run / PREVIEWS).mkdir()
        for epoch in range(1, 25):  # from the 12th on it over-fits
            losses = {"train_loss": 1400.0 - epoch, "validation_loss": 700.0 + 20 * max(0, epoch - 12)}
            if epoch < 12:
                picture = Image.fromarray(np.zeros((294, 588), np.uint8))
                picture.save(run / PREVIEWS / f"epoch-{epoch:04d}.png")
            best = {"best_epoch": min(epoch, 12), "best_loss": 700.0}
            folder.say("epoch", epoch=epoch, epochs=40, **losses, **best)
            if epoch in (1, 12):
                still.while_waiting(qtbot, lambda done=epoch: f"{done} of 40" in view.bar.format())
                assert view.strip.caption.text() == f"epoch {min(epoch, 11)}"
        still.while_waiting(qtbot, lambda: view.advice.text() != "")
        write_run("another", {"event": "paused"}, epochs=3)
        still.while_waiting(qtbot, lambda: len(dock.runs.runs) == 2)
        say("paused", lambda: view.resume.isVisible())
    with folder.locked():
        say("start", lambda: view.pause.isVisible(), **begun, epoch=24)
        say(
            "error",
            lambda: view.words.isVisible() or view.resume.isVisible(),
            message="the disk is full " * 20,
        )
    show_warning("Something is odd. " * 20)
    still.look()
    with folder.locked():
        say("start", lambda: view.pause.isVisible(), **begun, epoch=24)
        say("calibrating", lambda: view.bar.format().startswith("calibrating"), done=1, total=4)
        folder.say("installed", name="long")
        say("done", lambda: view.info.state == "finished", folder="")
    assert still.looks > 10


def test_the_time_left_is_said_before_and_after_the_training_too(viewer, qtbot, monkeypatch):
    monkeypatch.setattr("napari_cead.progress.SURE_AFTER_S", 0)
    run = runs_folder() / "long"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(PLAN))
    folder = RunFolder(run)
    with folder.locked():
        folder.say("preparing", done=1, total=8)
        _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
        dock.tabs.setCurrentIndex(1)
        bar = dock.view.bar
        qtbot.waitUntil(lambda: bar.value() == 1)
        still = Still(dock)
        for phase in ("preparing", "calibrating"):
            for done in (2, 4):
                folder.say(phase, done=done, total=8)
                still.while_waiting(
                    qtbot, lambda phase=phase, done=done: bar.text().startswith(f"{phase} {100 * done // 8}%")
                )
            assert re.fullmatch(rf"{phase} 50% · \d+ (s|min) left", bar.text())
        folder.say("paused")


def test_the_axes_of_a_run_without_epochs_are_not_those_of_the_run_before(qtbot):
    plots = TrainingPlots()
    qtbot.addWidget(plots)
    plots.show()
    qtbot.waitExposed(plots)
    plots.show_epochs([entry(number) for number in range(1, 200)])
    qtbot.waitUntil(lambda: plots.view.getAxis("bottom").range[1] > 100)
    plots.show_epochs([])
    qtbot.waitUntil(lambda: plots.view.getAxis("bottom").range == [0, 1])
    plots.show_epochs([entry(number) for number in range(1, 200)])
    qtbot.waitUntil(lambda: plots.view.getAxis("bottom").range[1] > 100)


def test_tables_are_as_tall_as_they_are_and_say_a_group_once(qtbot):
    view = BeforeAfterView(list)
    qtbot.addWidget(view)
    rows = tuple(("ce-vae1", "squared", f"rule-{number}", "0.5") for number in range(30))
    view.figures.setText(as_html(Table("Patient", ("model", "score", "rule", "Dice"), rows, groups=2)))
    view.figures.show()
    view.resize(340, view.heightForWidth(340))
    view.show()
    qtbot.waitExposed(view)
    assert view.figures.width() <= 340
    assert view.figures.height() > 30 * view.figures.fontMetrics().height()
    text = QTextDocumentFragment.fromHtml(view.figures.text()).toPlainText()
    assert text.count("ce-vae1 · squared") == 1
    assert "score" not in text and text.count("0.5") == 30


def test_the_placeholder_of_the_notes_fits_into_a_narrow_dock(qtbot):
    made = FinishedModel(lambda question: False)
    qtbot.addWidget(made)
    made.setVisible(True)
    made.resize(380, 200)
    qtbot.waitExposed(made)
    words = made.notes.placeholderText()
    assert made.notes.fontMetrics().horizontalAdvance(words) < made.notes.viewport().width()
    assert made.minimumSizeHint().width() <= 360
