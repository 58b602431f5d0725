"""The Evaluate dock in a real window, with a stand-in for the process."""

from __future__ import annotations

import json
import re
import shutil
import sys

import numpy as np
import psutil
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QScrollArea, QTabBar

from dock_driving import LEFT, Still, choose_folder, click, click_tick, tip
from layout_faults import faults
from napari_cead.errors import OutputError
from napari_cead.widgets import EvaluateWidget
from napari_cead.widgets.common.docks import docks_in
from napari_cead.widgets.common.folder_dialog import FolderDialog
from napari_cead.widgets.evaluate import evaluation_process
from napari_cead.widgets.evaluate.evaluation_table import ResultTable, read_results
from scans import make_brain, write_nifti
from written_results import RESULTS, result_row

PRELUDE = """
import json, pathlib, sys, time
arguments = sys.argv[1:]
out = pathlib.Path(arguments[arguments.index("--out") + 1])
out.mkdir(exist_ok=True)
(out / "arguments.json").write_text(json.dumps(arguments))
def say(line): print(line, file=sys.stderr, flush=True)
"""
DONE = (
    f"RESULTS = {json.dumps(RESULTS)!r}"
    + """
say('{"done": 1, "total": 2}')
say('warning: Mets_009 has no lesion mask')
say('{"done": 2, "total": 2}')
(out / "report.html").write_text("<html></html>")
(out / "results.json").write_text(RESULTS)
"""
)
SLOW = DONE.replace("say('warning", "time.sleep(0.3)\nsay('warning")
POLITE = """
import signal
def end(*_):
    (out / "ended").write_text("politely")
    sys.exit(130)
signal.signal(signal.SIGINT, end)
say('{"done": 3, "total": 8}')
while True: time.sleep(0.05)
"""
STEADY = POLITE.replace(
    "while True",
    'while not (out / "on").exists(): time.sleep(0.01)\n'
    'say(\'{"done": 4, "total": 8, "left_s": 0.4}\')\nwhile True',
)
WAITING = POLITE.replace('"done": 3', '"done": 0')
DEAF = """
import signal, subprocess
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(out / "child").write_text(str(child.pid))
say('{"done": 3, "total": 8}')
while True: time.sleep(0.05)
"""


@pytest.fixture
def cohort(patient_folder, tmp_path):
    """Two patients with a lesion mask each; the second has the scan cut off in the middle."""
    folder = tmp_path / "a cohort"
    folder.mkdir()
    shutil.copytree(patient_folder, folder / "Mets_002")
    shutil.move(patient_folder, folder / "Mets_001")
    scan = folder / "Mets_002" / "flair.nii.gz"
    scan.write_bytes(scan.read_bytes()[:4000])
    return folder


@pytest.fixture
def dock(viewer, installed_model, qtbot):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Evaluate a cohort")
    process, job = dock.process, dock.check.job
    yield dock
    process.stop()
    qtbot.waitUntil(lambda: not process.running and not job.running)


@pytest.fixture
def chosen(dock, cohort):
    dock.form.cohort.value = str(cohort)
    return dock


@pytest.fixture
def acting(monkeypatch):
    """Let the process be a stand-in."""

    def act(script):
        words = [sys.executable, "-c", PRELUDE + script]
        monkeypatch.setattr(evaluation_process, "program", lambda: words)

    return act


def drop(widget, *paths):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    action, no_key = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(20, 20), action, data, LEFT, no_key)
    QApplication.sendEvent(widget, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(widget, QDropEvent(QPointF(20, 20), action, data, LEFT, no_key))


def started(dock, qtbot):
    click(qtbot, dock.form.start.native)
    qtbot.waitUntil(lambda: dock.form.progress.value() == 3)


def ended(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.process.running)


def look_at_results(dock, qtbot):
    """Press the button that the message at the end has."""
    (button,) = dock.notice.buttons
    assert button.text() == "Show the results"
    click(qtbot, button)
    assert dock.tabs.currentWidget() is dock.results and not dock.notice.buttons


def choose(box, start, qtbot):
    """Choose the entry of a list that starts so, by keyboard."""
    box.setFocus()
    wanted = box.findText(start, Qt.MatchFlag.MatchStartsWith)
    while box.currentIndex() != wanted:
        qtbot.keyClick(box, Qt.Key.Key_Down if box.currentIndex() < wanted else Qt.Key.Key_Up)


def cells(dock):
    table = dock.results.table
    return [
        [table.cell(row, column).data() for column in range(table.model().columnCount())]
        for row in range(table.model().rowCount())
    ]


def test_it_says_what_is_missing_and_takes_a_dropped_folder(dock, cohort, tmp_path):
    assert dock.form.problem.text() == "Choose a folder of patients with lesion masks, or drop it here."
    assert not dock.form.start.enabled and not dock.check.button.enabled
    drop(dock, cohort)
    assert dock.form.cohort.value == str(cohort)
    assert dock.form.out.value == str(tmp_path / "a cohort_evaluation")
    assert dock.form.start.enabled and dock.form.problem.text() == ""
    assert not dock.form.no_split.isHidden()
    split = tmp_path / "split.json"
    split.write_text("{}")
    drop(dock, split)
    assert dock.form.split.value == str(split) and dock.form.no_split.isHidden()


def test_folders_are_asked_for(dock, cohort, tmp_path, monkeypatch, qtbot):
    for button, edit, folder in (
        (dock.form.choose_cohort, dock.form.cohort, cohort),
        (dock.form.choose_maps, dock.form.maps, cohort),
        (dock.form.choose_store, dock.form.split, tmp_path),
    ):
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, path=folder: str(path))
        click(qtbot, button.native)
        assert edit.value == str(folder)
    click(qtbot, dock.form.choose_out.native)
    (dialog,) = dock.findChildren(FolderDialog)
    assert dialog.folder == cohort.with_name(f"{cohort.name}_evaluation"), (
        "the suggestion, which is not there"
    )
    choose_folder(qtbot, dock, tmp_path / "elsewhere")
    assert dock.form.out.value == str(tmp_path / "elsewhere")
    dock.form.cohort.value = str(tmp_path)
    assert dock.form.out.value == str(tmp_path / "elsewhere"), "what the user chose stays"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("cohort", "{cohort}/gone", "The folder of the patients is not there."),
        (
            "split",
            "{cohort}/gone.json",
            "The split is not there: choose a split file or a slice store, or leave it empty.",
        ),
        ("out", "", "Choose a folder for the results."),
        ("out", "{cohort}", "The results cannot lie in the cohort: choose another folder."),
        ("out", "{cohort}/x/../results", "The results cannot lie in the cohort: choose another folder."),
        ("out", "{cohort}/../a file", "The results need a folder: there is a file of this name."),
        ("scheduler", "10.0.0.1", "The address of a scheduler looks like tcp://host:8786."),
    ],
)
def test_what_cannot_be_is_refused_before_the_start(chosen, cohort, field, value, problem):
    (cohort.parent / "a file").touch()
    getattr(chosen.form, field).value = value.format(cohort=cohort)
    assert chosen.form.problem.text() == problem
    assert chosen.form.problem.isVisibleTo(chosen) and not chosen.form.start.enabled


def test_ticks_choose_the_models(chosen, qtbot):
    names = [chosen.form.models.item(row).text() for row in range(chosen.form.models.count())]
    assert "tiny" in names and "ce-vae1" in names
    assert chosen.form.chosen_models == ["ce-unet"], "ten take ten times as long"
    assert "--models ce-unet " in chosen.form.command.text()
    click(qtbot, chosen.form.tick_all.native)
    assert chosen.form.chosen_models == names
    assert "--models all" in chosen.form.command.text()
    click(qtbot, chosen.form.tick_none.native)
    assert chosen.form.problem.text() == "Tick at least one model, or choose a folder of score maps."
    click_tick(qtbot, chosen.form.models, names.index("tiny"))
    assert "--models tiny " in chosen.form.command.text()
    chosen.refresh_models()
    assert chosen.form.chosen_models == ["tiny"]
    click(qtbot, chosen.form.tick_all.native)
    assert chosen.form.chosen_models == names


def test_the_command_that_is_shown_is_the_one_that_runs(chosen, cohort, acting, tmp_path, qtbot):
    acting(DONE)
    click(qtbot, chosen.form.tick_all.native)
    chosen.form.sequence.value, chosen.form.device.value, chosen.form.workers.value = "t1_gd", "cpu", 2
    shown = chosen.form.command.text()
    out = tmp_path / "a cohort_evaluation"
    assert shown == (
        f"napari-cead evaluate '{cohort}' --models all --out '{out}' --sequence t1_gd --device cpu --workers 2"
    )
    click(qtbot, chosen.form.start.native)
    ended(chosen, qtbot)
    words = json.loads((out / "arguments.json").read_text())
    assert words == [*chosen.arguments(), "--progress", "json"]
    chosen.tabs.setCurrentIndex(0)
    chosen.form.scheduler.value = "tcp://host:8786"
    assert not chosen.form.workers.enabled
    assert chosen.form.command.text().endswith("--device cpu --scheduler tcp://host:8786")
    chosen.form.command.copy.changed.emit(True)
    assert QApplication.clipboard().text() == chosen.form.command.text()


def test_score_maps_need_no_model(chosen, tmp_path, qtbot):
    assert "--maps" not in chosen.form.command.text()
    click(qtbot, chosen.form.tick_none.native)
    assert chosen.form.problem.text() == "Tick at least one model, or choose a folder of score maps."
    chosen.form.maps.value = str(tmp_path / "gone")
    assert (
        chosen.form.problem.text() == "The folder of the score maps is not there."
        and not chosen.form.start.enabled
    )
    chosen.form.maps.value = str(tmp_path)
    assert chosen.form.start.enabled
    words = chosen.arguments()
    assert words[words.index("--maps") + 1] == str(tmp_path) and words[words.index("--models") + 1] == ""


def test_score_maps_may_have_any_name(chosen, tmp_path):
    assert not chosen.form.maps_pattern.enabled
    chosen.form.maps.value = str(tmp_path)
    assert chosen.form.maps_pattern.enabled and "--maps-pattern" not in chosen.form.command.text()
    chosen.form.maps_pattern.value = "fold*/map.nii.gz"
    assert "{patient}" in chosen.form.problem.text() and not chosen.form.start.enabled
    chosen.form.maps_pattern.value = "fold*/{patient}.nii.gz"
    assert chosen.form.start.enabled and not chosen.form.problem.text()
    words = chosen.arguments()
    assert words[words.index("--maps-pattern") + 1] == "fold*/{patient}.nii.gz"
    chosen.form.maps.value = ""
    assert "--maps-pattern" not in chosen.arguments()


def test_folds_are_for_cohorts_without_a_split(chosen, tmp_path):
    assert "--folds" not in chosen.form.command.text()
    chosen.form.folds.value = 1
    assert chosen.form.problem.text().startswith("Folds are at least two")
    chosen.form.folds.value = 5
    assert " --folds 5 " in chosen.form.command.text()
    assert chosen.form.start.enabled
    (tmp_path / "split.json").write_text("{}")
    chosen.form.split.value = str(tmp_path / "split.json")
    assert not chosen.form.folds.enabled
    assert "--folds" not in chosen.form.command.text()


def test_the_table_says_how_many_patients_chose(chosen, acting, qtbot, tmp_path):
    rows = [
        result_row("tiny", chosen_on="validation patients", chosen_by=3, edge="highest"),
        result_row("tiny", "oracle", chosen_on="reported patients", chosen_by=1),
    ]
    (tmp_path / "results.json").write_text(json.dumps(RESULTS | {"rows": rows}))
    chosen.results.table.show_results(read_results(tmp_path / "results.json"))
    assert "rule validation (3 patients, edge)" in tip(chosen.results.table.cell(0, 0))
    assert "3 validation patients, at the edge: highest threshold tried" in tip(
        chosen.results.table.cell(0, 0)
    )
    choose(chosen.results.table.rule, "oracle", qtbot)
    assert "rule oracle (1 patient)" in tip(chosen.results.table.cell(0, 0))


def test_the_table_begins_with_the_rule_that_could_choose_and_says_why_another_could_not(
    chosen, acting, qtbot
):
    nothing = dict.fromkeys(
        (
            *("dice_patient", "dice_pooled", "lesion_sensitivity", "lesion_f1"),
            *("false_positives_per_patient", "patients"),
        )
    )
    rows = [
        result_row("tiny", **nothing, note="no validation patients with lesions"),
        result_row("tiny", "healthy-quantile", dice_patient=0.45),
        result_row("tiny", "oracle", dice_patient=0.7),
        RESULTS["rows"][-1],
    ]
    acting(DONE.replace(json.dumps(RESULTS), json.dumps(RESULTS | {"rows": rows})))
    click(qtbot, chosen.form.start.native)
    ended(chosen, qtbot)
    look_at_results(chosen, qtbot)
    assert chosen.results.table.rule.currentData() == "healthy-quantile"
    assert [row[:2] for row in cells(chosen)] == [["tiny", "0.450"], ["nothing", "–"]]
    assert chosen.results.unable.text() == "No figures by validation: no validation patients with lesions."
    assert chosen.results.unable.isVisible() and faults(chosen) == []
    choose(chosen.results.table.rule, "validation", qtbot)
    assert cells(chosen)[0][1] == "–", "it can still be chosen"


def test_an_evaluation_ends_with_a_table_and_its_report(chosen, acting, tmp_path, qtbot):
    acting(DONE)
    click(qtbot, chosen.form.start.native)
    assert chosen.process.running and not chosen.form.start.enabled and chosen.form.stop.enabled
    assert chosen.form.progress.isVisibleTo(chosen)
    ended(chosen, qtbot)
    assert chosen.form.messages.toPlainText() == "warning: Mets_009 has no lesion mask"
    assert chosen.form.state.text() == "Finished: the results are in the tab Results."
    look_at_results(chosen, qtbot)
    assert chosen.results.unable.isHidden(), "every rule could choose"
    assert cells(chosen) == [
        ["tiny", "0.512", "0.610", "0.750", "0.440", "12.3"],
        ["flair-threshold", "0.200", "0.610", "0.750", "0.440", "12.3"],
        ["nothing", "–", "0.000", "0.750", "0.440", "12.3"],
    ], "one line a model"
    assert "optimistic" not in tip(chosen.results.table.cell(0, 0)).lower()
    assert "one patient has no brain" in tip(chosen.results.table.cell(1, 3))
    assert "dice_patient 0.512 [0.400, 0.600]" in tip(chosen.results.table.cell(0, 0))
    assert "dice_pooled 0.610 [0.550, 0.660]" in tip(chosen.results.table.cell(0, 0))
    assert len({chosen.results.table.rowHeight(row) for row in range(3)}) == 1
    choose(chosen.results.table.rule, "oracle", qtbot)
    assert [row[:2] for row in cells(chosen)] == [["tiny", "0.700"], ["nothing", "–"]]
    assert "Optimistic" in tip(chosen.results.table.cell(0, 0))
    assert "optimistic" in chosen.results.table.rule.currentText()
    choose(chosen.results.table.rule, "validation", qtbot)
    assert chosen.results.summary.text() == "2 patients reported, 1 skipped."
    assert chosen.results.details.toPlainText().splitlines() == [
        "Warning: no split was given",
        "Mets_009 skipped: there is no lesion mask",
    ]
    opened = []
    chosen.results.open_url = lambda url: opened.append(url.toLocalFile()) or True
    click(qtbot, chosen.results.open_report.native)
    click(qtbot, chosen.results.open_folder.native)
    out = tmp_path / "a cohort_evaluation"
    assert [path.rstrip("/") for path in opened] == [str(out / "report.html"), str(out)]
    header = chosen.results.table.horizontalHeader()
    place = QPoint(header.sectionViewportPosition(1) + 20, header.height() // 2)
    qtbot.mouseClick(header.viewport(), LEFT, pos=place)
    first = [row[1].split("\n")[0] for row in cells(chosen)]
    qtbot.mouseClick(header.viewport(), LEFT, pos=place)
    second = [row[1].split("\n")[0] for row in cells(chosen)]
    assert first in (second[::-1], ["–", "0.200", "0.512"]) and first != second


def test_the_bar_says_how_long_the_rest_takes_and_moves_nothing(chosen, acting, tmp_path, qtbot, monkeypatch):
    monkeypatch.setattr("napari_cead.progress.SURE_AFTER_S", 0)
    acting(STEADY)
    started(chosen, qtbot)
    still = Still(chosen)
    (tmp_path / "a cohort_evaluation" / "on").touch()
    still.while_waiting(qtbot, lambda: chosen.form.progress.value() == 4)
    assert re.fullmatch(r"Step 4 of 8 · \d+ (s|min) left", chosen.form.progress.text())
    still.look()


def test_the_bar_says_from_the_start_what_is_done(chosen, acting, qtbot):
    acting(WAITING)
    click(qtbot, chosen.form.start.native)
    assert re.fullmatch(r"Starting the program…( \d+ s)?", chosen.form.progress.text())
    stage = r"Step 0 of 8: loading models, preparing the first patient…( \d+ s)?"
    qtbot.waitUntil(lambda: re.fullmatch(stage, chosen.form.progress.text()) is not None)
    metrics = chosen.form.progress.fontMetrics()
    assert metrics.horizontalAdvance(chosen.form.progress.text()) < chosen.form.progress.width()


def test_stop_ends_it_politely_and_start_goes_on(chosen, acting, tmp_path, qtbot):
    acting(POLITE)
    started(chosen, qtbot)
    assert chosen.form.progress.maximum() == 8
    click(qtbot, chosen.form.stop.native)
    assert chosen.form.state.text() == "Stopping…" and not chosen.form.stop.enabled
    ended(chosen, qtbot)
    assert (tmp_path / "a cohort_evaluation" / "ended").read_text() == "politely"
    assert chosen.form.state.text() == "Stopped. Start goes on where it stopped."
    assert chosen.form.progress.isHidden() and not chosen.form.messages.isVisibleTo(chosen)
    acting(DONE)
    click(qtbot, chosen.form.start.native)
    ended(chosen, qtbot)
    assert chosen.results.table.model().rowCount() == 3


def test_a_process_that_does_not_hear_is_killed_with_its_children(
    chosen, acting, tmp_path, monkeypatch, qtbot
):
    acting(DEAF)
    chosen.process._grace.setInterval(200)
    started(chosen, qtbot)
    child = psutil.Process(int((tmp_path / "a cohort_evaluation" / "child").read_text()))
    click(qtbot, chosen.form.stop.native)
    ended(chosen, qtbot)
    assert chosen.form.state.text() == "Stopped. Start goes on where it stopped."
    qtbot.waitUntil(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(
    ("script", "state", "message"),
    [
        (
            "say('error: /data/x: there are no patients in this folder; choose another'); sys.exit(2)",
            "The evaluation cannot be done:",
            "/data/x: there are no patients in this folder; choose another",
        ),
        (
            "raise ValueError('a bug')",
            "The evaluation broke off. Start goes on where it stopped.",
            "The process ended with status 1. ValueError: a bug",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            "The evaluation broke off. Start goes on where it stopped.",
            "The process was killed, perhaps because memory ran out.",
        ),
    ],
)
def test_what_went_wrong_is_said(chosen, acting, qtbot, script, state, message):
    acting(script)
    click(qtbot, chosen.form.start.native)
    ended(chosen, qtbot)
    assert chosen.form.state.text() == state
    assert chosen.form.messages.toPlainText().splitlines()[-1] == message
    assert chosen.form.messages.isVisibleTo(chosen)
    assert chosen.form.start.enabled and not chosen.results.open_report.enabled


@pytest.mark.parametrize(
    "script", ["say('error: there are no patients'); sys.exit(2)", "raise ValueError('a bug')", POLITE]
)
def test_nothing_moves_when_it_goes_wrong_or_is_stopped(chosen, acting, qtbot, script):
    chosen.viewer.window.resize(1366, 768)
    scroll_to(chosen.form.start.native)
    still = Still(chosen)
    acting(script)
    click(qtbot, chosen.form.start.native)
    if script is POLITE:
        still.while_waiting(qtbot, lambda: chosen.form.progress.value() == 3)
        click(qtbot, chosen.form.stop.native)
    still.while_waiting(qtbot, lambda: not chosen.process.running)
    still.look()
    assert chosen.form.state.text() and chosen.form.start.enabled


def test_a_program_that_cannot_be_started_is_said(chosen, tmp_path, monkeypatch, qtbot):
    monkeypatch.setattr(evaluation_process, "program", lambda: [str(tmp_path / "no-such-program")])
    click(qtbot, chosen.form.start.native)
    ended(chosen, qtbot)
    assert "cannot be started" in chosen.form.messages.toPlainText()
    assert chosen.form.start.enabled


@pytest.mark.parametrize("how", ["dock", "window"])
def test_it_ends_politely_with_the_dock(chosen, viewer, acting, tmp_path, qtbot, how):
    acting(POLITE)
    started(chosen, qtbot)
    process = psutil.Process(chosen.process.pid)
    if how == "dock":
        viewer.window.remove_dock_widget(chosen)
    else:
        viewer.close()
    qtbot.waitUntil(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert (tmp_path / "a cohort_evaluation" / "ended").read_text() == "politely"


def test_a_check_lists_what_does_not_fit_and_does_not_keep_from_starting(chosen, cohort, qtbot):
    click(qtbot, chosen.check.button.native)
    assert chosen.form.start.enabled
    qtbot.waitUntil(lambda: not chosen.check.job.running)
    assert chosen.check.summary.text() == "2 patients, 2 with a lesion mask. 1 finding: see the tab."
    tabs, tab = chosen.tabs, chosen.tabs.indexOf(chosen.check.findings)
    assert (tabs.tabText(tab), tabs.isTabEnabled(tab)) == ("Findings 1", True)
    patient, what, sentence = (chosen.check.findings.cell(0, column).data() for column in range(3))
    assert (patient, what) == ("Mets_002", "unreadable") and sentence
    assert str(cohort / "Mets_002" / "flair.nii.gz") in tip(chosen.check.findings.cell(0, 0))
    chosen.form.cohort.value = str(cohort / "Mets_001")
    assert (tabs.tabText(tab), tabs.isTabEnabled(tab)) == ("Findings", False)
    click(qtbot, chosen.check.button.native)
    qtbot.waitUntil(lambda: not chosen.check.job.running)
    assert chosen.check.summary.text() == "1 patient, 1 with a lesion mask. Nothing to mend."
    assert not tabs.isTabEnabled(tab)


def scroll_to(control):
    """Scroll as a user does who wants to press a control."""
    area = control.parent()
    while not isinstance(area, QScrollArea):
        area = area.parent()
    area.ensureWidgetVisible(control)


def test_nothing_moves_through_a_whole_evaluation(chosen, cohort, acting, notified, qtbot):
    """Neither a check, findings, progress, words and results, nor a warning of napari's."""
    chosen.viewer.window.resize(1366, 768)
    QApplication.processEvents()
    still = Still(chosen)
    acting(SLOW)
    click(qtbot, chosen.check.button.native)
    still.while_waiting(qtbot, lambda: not chosen.check.job.running and chosen.check.summary.text() != "")
    chosen.form.maps.value = str(cohort / "gone")
    still.look()
    assert chosen.form.problem.text()
    chosen.form.maps.value = ""
    drop(chosen, cohort / "Mets_002" / "flair.nii.gz")
    still.look()
    assert notified and chosen.notice.words.text().startswith("flair.nii.gz")
    chosen.notice.clear()
    scroll_to(chosen.form.start.native)
    still.scrolled()
    click(qtbot, chosen.form.start.native)
    still.while_waiting(qtbot, lambda: chosen.process.running and chosen.form.progress.value() == 1)
    still.while_waiting(qtbot, lambda: not chosen.process.running)
    still.look()
    assert chosen.form.messages.isVisible() and chosen.tabs.currentIndex() == 0 and chosen.notice.buttons
    scroll_to(chosen.form.start.native)
    still.scrolled()
    click(qtbot, chosen.form.start.native)  # once more, with the words of the first one there
    still.while_waiting(qtbot, lambda: not chosen.process.running)
    look_at_results(chosen, qtbot)
    still = Still(chosen)
    chosen.results.show_folder(chosen.results.folder)
    still.look()
    drop(chosen, cohort / "Mets_002" / "flair.nii.gz")
    still.look()
    assert still.looks > 1


def test_the_dock_needs_no_more_than_its_width(viewer, chosen, acting, qtbot):
    """Nothing is wider than the narrowest dock, and no figure is cut off."""
    acting(DONE)
    click(qtbot, chosen.form.start.native)
    ended(chosen, qtbot)
    look_at_results(chosen, qtbot)
    chosen.results.table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
    frame = chosen.parent()
    viewer.window._qt_window.resizeDocks([frame], [400], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: chosen.width() <= 410)
    assert chosen.tabs.widget(0).horizontalScrollBar().maximum() == 0
    assert chosen.results.table.horizontalScrollBar().maximum() == 0
    table = chosen.results.table
    assert table.fontMetrics().horizontalAdvance("flair-tissue-smooth") < table.columnWidth(0)
    for row in range(table.model().rowCount()):
        for column in range(table.model().columnCount()):
            wide = max(
                table.fontMetrics().horizontalAdvance(line)
                for line in table.cell(row, column).data().split("\n")
            )
            assert wide < table.columnWidth(column), table.cell(row, column).data()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "there are no results here"),
        ("{", "the results are damaged"),
        ("[]", "the results are damaged"),
        (json.dumps(RESULTS | {"schema_version": 99}), "the results are of another version"),
        (json.dumps(RESULTS | {"schema_version": True}), "the results are of another version"),
        (json.dumps(RESULTS | {"rows": [{"model": "x"}]}), "the results are damaged"),
    ],
)
def test_results_that_cannot_be_read_are_one_sentence(tmp_path, text, reason):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(OutputError, match=reason):
        read_results(tmp_path / "results.json")


def test_sequences_are_named_where_there_are_several(tmp_path):
    rows = [result_row("tiny", sequence="flair"), result_row("tiny", sequence="t1_gd")]
    (tmp_path / "results.json").write_text(json.dumps(RESULTS | {"rows": rows}))
    titles = [row.title for row in read_results(tmp_path / "results.json").rows]
    assert titles == ["tiny · flair", "tiny · t1_gd"]


def test_rows_of_patients_that_were_trained_on_are_marked(qtbot, tmp_path):
    rows = [result_row("tiny", trained_on_patients=2), result_row("other", trained_on_patients=None)]
    (tmp_path / "results.json").write_text(json.dumps(RESULTS | {"rows": rows}))
    results = read_results(tmp_path / "results.json")
    assert [row.title for row in results.rows] == ["tiny · trained on 2", "other"]
    table = ResultTable()
    qtbot.addWidget(table)
    table.show_results(results)
    assert "the model was trained on 2 of these patients" in tip(table.cell(0, 0))
    assert "trained on" not in tip(table.cell(1, 0))


@pytest.mark.slow
def test_the_real_command_measures_a_model(viewer, dock, tmp_path, qtbot):
    for number in range(2):
        volume, lesion = (np.repeat(np.repeat(data, 3, 1), 3, 2) for data in make_brain(seed=number))
        for name, data in (("flair", volume), ("seg", lesion.astype(np.uint8))):
            stored = np.transpose(data, (2, 1, 0))[::-1, ::-1]
            write_nifti(
                tmp_path / "real" / f"Mets_00{number}" / f"{name}.nii.gz",
                stored,
                np.diag([0.9, 0.95, 1.5, 1]),
            )
    assert docks_in(viewer, EvaluateWidget) == [dock]
    dock.form.cohort.value, dock.form.device.value, dock.form.workers.value = str(tmp_path / "real"), "cpu", 1
    click(qtbot, dock.form.tick_none.native)
    names = [dock.form.models.item(row).text() for row in range(dock.form.models.count())]
    click_tick(qtbot, dock.form.models, names.index("tiny"))
    click(qtbot, dock.form.start.native)
    qtbot.waitUntil(lambda: not dock.process.running, timeout=240_000)
    assert dock.form.state.text().startswith("Finished"), dock.form.messages.toPlainText()
    models = {row.model for row in read_results(tmp_path / "real_evaluation" / "results.json").rows}
    assert {"tiny", "flair-threshold", "nothing"} <= models
    assert dock.results.summary.text() == "2 patients reported, 0 skipped."
    assert dock.results.open_report.enabled


@pytest.mark.parametrize("height", [768, 3000])
def test_a_dock_of_ours_beside_another_one_is_tabbed_where_the_window_is_too_low(viewer, qtbot, height):
    window = viewer.window._qt_window
    window.setMinimumHeight(height)  # also where the screen is lower
    window.resize(1366, height)
    frames = []
    for name in ("Explore anomalies", "Evaluate a cohort", "Train a model"):
        frame, dock = viewer.window.add_plugin_dock_widget("napari-cead", name)
        frames.append(frame)
        qtbot.waitUntil(dock.isVisible)
    explore, evaluate, train = frames
    if height == 768:
        qtbot.waitUntil(lambda: set(window.tabifiedDockWidgets(explore)) == {evaluate, train})
        qtbot.waitUntil(lambda: not train.visibleRegion().isEmpty())
        assert explore.visibleRegion().isEmpty() and evaluate.visibleRegion().isEmpty()
        (bar,) = [bar for bar in window.findChildren(QTabBar) if bar.tabText(0).startswith("Explore")]
        qtbot.mouseClick(bar, LEFT, pos=bar.tabRect(0).center())
        qtbot.waitUntil(lambda: not explore.visibleRegion().isEmpty())
    else:
        qtbot.wait(50)
        assert window.tabifiedDockWidgets(explore) == []
