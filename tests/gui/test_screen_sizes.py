"""What is in sight on screens of three sizes, in both themes, and on one with twice as many pixels per inch."""

from __future__ import annotations

import json
import textwrap

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDockWidget, QScrollArea

from dock_driving import settle
from layout_faults import faults
from napari_cead.widgets.explore.compare_panel import ComparePanel
from own_process import run_script
from written_results import RESULTS, result_row
from written_runs import write_run

SIZES = [(1366, 768), (1600, 1000), (2560, 1440)]


def whole(part):
    """Whether nothing cuts a part: no edge of the window, nor what would have to be scrolled."""
    part = getattr(part, "native", part)
    return part.isVisible() and part.visibleRegion().boundingRect() == part.rect()


@pytest.fixture
def screens(viewer, qtbot):
    """Goes through the themes, each of which takes napari a second, and in each of them through the sizes."""
    window = viewer.window._qt_window
    before = window.size()

    def go_through():
        for theme in ("light", "dark"):
            viewer.theme = theme
            for size in SIZES:
                window.resize(*size)
                qtbot.waitUntil(lambda size=size: (window.width(), window.height()) == size)
                yield theme, size

    yield go_through()
    window.resize(before)


def assert_faultless(dock, screen, qtbot, pages):
    """Look at each page from its top to its end."""
    _, size = screen
    for number, page in enumerate(pages):
        page()
        areas = [area for area in dock.findChildren(QScrollArea) if area.isVisible()]
        for share in (0.0, 1.0):
            for area in areas:
                bar = area.verticalScrollBar()
                bar.setValue(round(share * bar.maximum()))
            qtbot.wait(50)
            assert faults(dock) == [], (*screen, number, share)
    canvas = dock.viewer.window._qt_viewer.canvas.native
    assert canvas.width() >= 0.3 * size[0] and canvas.height() >= 0.6 * size[1], canvas.size()


def turn_to(tabs, index):
    return lambda: tabs.setCurrentIndex(index)


def test_after_a_run_all_that_is_needed_is_whole_beside_a_large_picture(detected, qtbot, screens):
    settle(qtbot, detected)
    needed = {
        "patient": detected.form.about,
        "model": detected.model,
        "run": detected.run,
        **{name: setting.handle for name, setting in detected.form.rows.items()},
        "plot": detected.form.plot,
        "dice": detected.dice_label,
        "volume": detected.volume_label,
        "undo": detected.form.undo,
    }
    for screen in screens:
        detected.form.tabs.setCurrentIndex(0)
        detected.findChild(QScrollArea).verticalScrollBar().setValue(0)
        qtbot.waitUntil(lambda: all(map(whole, needed.values())))
        assert_faultless(detected, screen, qtbot, [turn_to(detected.form.tabs, index) for index in range(5)])


def test_the_train_dock_is_whole(viewer, qtbot, screens):
    write_run("broken", {"event": "error", "message": "the disk is full"})
    write_run("going-on", {"event": "paused"}, epochs=3)
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
    qtbot.waitUntil(lambda: dock.view.info is not None)

    def run(row):
        def page():
            dock.tabs.setCurrentIndex(1)
            place = dock.runs.visualRect(dock.runs.cell(row, 0)).center()
            qtbot.mouseClick(dock.runs.viewport(), Qt.MouseButton.LeftButton, pos=place)
            qtbot.waitUntil(lambda: dock.view.info == dock.runs.runs[row])

        return page

    frame = next(
        frame for frame in viewer.window._qt_window.findChildren(QDockWidget) if frame.isAncestorOf(dock)
    )
    for screen in screens:
        for width in (400, 520):
            viewer.window._qt_window.resizeDocks([frame], [width], Qt.Orientation.Horizontal)
            qtbot.wait(50)
            assert_faultless(dock, screen, qtbot, [turn_to(dock.tabs, 0), run(0), run(1)])
        if screen[1] == SIZES[-1]:
            dock.tabs.setCurrentIndex(0)
            assert whole(dock.form.start) and dock.tabs.widget(0).verticalScrollBar().maximum() == 0


def test_the_evaluate_dock_is_whole(viewer, installed_model, tmp_path, qtbot, screens):
    models = ("ce-unet", "ce-vae1", "vq-vae")
    rows = [
        result_row(name, rule)
        for name in (*models, "flair-tissue-smooth")
        for rule in ("validation", "healthy-quantile", "oracle")
    ]
    results = RESULTS | {"rows": rows, "models": [{"name": name} for name in models]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Evaluate a cohort")
    dock.form.cohort.value = str(tmp_path)
    dock.results.show_folder(tmp_path)
    last = dock.tabs.indexOf(dock.results)
    for screen in screens:
        assert_faultless(dock, screen, qtbot, [turn_to(dock.tabs, 0), turn_to(dock.tabs, last)])
        if screen[1] == SIZES[-1]:
            dock.tabs.setCurrentIndex(0)
            assert whole(dock.form.start) and dock.tabs.widget(0).verticalScrollBar().maximum() == 0
            assert dock.form.models.verticalScrollBar().maximum() == 0, "there is room for all"


def test_a_fault_is_found(qtbot):
    """What the other tests rely on."""
    panel = ComparePanel()
    qtbot.addWidget(panel)
    panel.resize(600, 300)
    panel.show()
    qtbot.waitExposed(panel)
    assert faults(panel) == []
    panel.forget.setFixedSize(20, 10)
    QApplication.processEvents()
    panel.side_by_side.move(panel.forget.pos())
    found = " ".join(faults(panel))
    assert "cut: " in found and "cut above or below" in found and "overlap" in found


FINE = """
import json, sys
import napari
from layout_faults import faults
from napari_cead.widgets.explore.launch import wait_until

viewer = napari.Viewer()
viewer.window.resize(1366, 768)
assert viewer.window._qt_window.devicePixelRatio() == 2
found = {}
for name in ("Explore anomalies", "Train a model", "Evaluate a cohort"):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", name)
    if name.startswith("Explore"):
        dock.model.value = "tiny"
        dock.use_patient(__import__("napari_cead").load_patient(sys.argv[1]))
        dock.run.native.click()
        assert wait_until(lambda: dock.session.analysis is not None and not dock.busy, 100)
    tabs = dock.form.tabs if name.startswith("Explore") else dock.tabs
    for index in range(tabs.count()):
        tabs.setCurrentIndex(index)
        wait_until(lambda: False, 0.2)
        found[f"{name}, page {index}"] = faults(dock)
    if name.startswith("Explore"):
        dock.saving.save_figure(__import__("pathlib").Path(sys.argv[2]))
    viewer.window.remove_dock_widget(dock)
viewer.close()
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "variable",
    [
        pytest.param("QT_SCALE_FACTOR=2", marks=pytest.mark.slow),
        "QT_FONT_DPI=192",
    ],  # either doubles the pixels
)
def test_all_docks_are_whole_with_twice_the_pixels(
    installed_model, patient_folder, tmp_path, monkeypatch, variable
):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(FINE))
    monkeypatch.setenv(*variable.split("="))
    ended = run_script(tmp_path, script, patient_folder, tmp_path / "figure.png")
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert len(found) > 8 and not any(found.values()), found
