"""The first seconds: the window does not wait for PyTorch, and a run says what it does."""

from __future__ import annotations

import itertools
import textwrap

from qtpy.QtCore import QTimer

from dock_driving import click, run, settle
from napari_cead.contributions.layers import tag_of
from napari_cead.widgets.explore.launch import explore
from napari_cead.widgets.explore.patient_source import PatientSource
from own_process import run_script

OPENING = """
import importlib.abc, sys, threading, time

importers = {}


class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("torch", "pandas", "sympy", "matplotlib.pyplot", "monai"):
            importers.setdefault(name, threading.current_thread() is threading.main_thread())


sys.meta_path.insert(0, Watch())
import napari
from qtpy.QtWidgets import QApplication
from napari_cead.widgets.explore.launch import wait_until

start = time.thread_time()
viewer = napari.Viewer()
window = time.thread_time() - start
start = time.thread_time()
_, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
opening = time.thread_time() - start
assert opening < window, f"the dock takes the window's thread {opening:.2f} s, napari itself {window:.2f} s"
assert "torch" not in sys.modules, "opening the dock imported PyTorch"
assert not any(name.startswith("napari_cead.training") for name in sys.modules)
assert wait_until(lambda: "torch" in sys.modules, 60)  # which comes last
dock.use_patient(__import__("napari_cead").load_patient(sys.argv[1]))
dock.run.native.click()
assert wait_until(lambda: dock.session.analysis is not None and not dock.busy, 100)
assert importers == {"torch": False, "pandas": False}, importers
viewer.close()
print("fine")
"""


def test_the_window_never_waits_for_imports(installed_model, patient_folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(OPENING))
    ended = run_script(tmp_path, script, patient_folder)
    assert "fine" in ended.stdout, ended.stderr[-2000:]


def test_all_that_takes_time_is_named(detected, patient_folder, qtbot):
    said = []
    detected.work.began.connect(lambda _: said.append(detected.form.progress.native.text()))
    detected.patient.value = patient_folder.parent / "nowhere"
    settle(qtbot, detected)
    detected.patient.value = patient_folder
    settle(qtbot, detected)
    run(qtbot, detected)
    detected.threshold.value = 0.61
    settle(qtbot, detected)
    click(qtbot, detected.form.undo.native)
    settle(qtbot, detected)
    assert said == ["Loading nowhere…", f"Loading {patient_folder.name}…", "Loading the model…", "Undoing…"]


def test_the_window_says_at_once_which_patient_it_loads(viewer, patient_folder, monkeypatch, qtbot):
    """`napari-cead open`: what the dock says as the first layer is made."""
    seen = []

    def look(self, patient):
        seen.append(self.form.about.text())
        show(self, patient)

    show = PatientSource.use
    monkeypatch.setattr(PatientSource, "use", look)
    monkeypatch.setattr("napari.Viewer", lambda **_: viewer)
    monkeypatch.setattr("napari.run", lambda: None)
    widget = explore([patient_folder])
    qtbot.waitUntil(lambda: widget.form.about.text().startswith("Mets_001 "))
    assert seen == ["Loading Mets_001…"]


def test_the_window_takes_keys_between_the_layers_of_a_patient(viewer, patient_folder, monkeypatch, qtbot):
    """`napari-cead open`: the scan comes first, and all is as if it had come at once."""
    came = []
    turns = QTimer(interval=0)
    turns.timeout.connect(lambda: came.append("a turn of the event loop"))
    viewer.layers.events.inserted.connect(lambda event: came.append(event.value.name))
    monkeypatch.setattr("napari.Viewer", lambda **_: viewer)
    monkeypatch.setattr("napari.run", lambda: None)
    turns.start()
    widget = explore([patient_folder])
    qtbot.waitUntil(lambda: len(viewer.layers) == 3)
    turns.stop()
    places = [came.index(name) for name in ("flair", "t1_gd", "lesion mask")]
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(places)), came
    assert [layer.name for layer in viewer.layers] == ["t1_gd", "flair", "lesion mask"]
    assert [layer.visible for layer in viewer.layers] == [False, True, True]
    assert viewer.layers["lesion mask"].contour == 1
    assert viewer.layers.selection.active == viewer.layers["flair"]
    assert all(tag_of(layer).session is widget.session for layer in viewer.layers)


def test_a_run_says_what_it_does(widget, patient_folder, qtbot):
    widget.patient.value = patient_folder
    settle(qtbot, widget)
    stages, texts = [], []
    widget.job.staged.connect(stages.append)
    bar = widget.form.progress.native
    bar.valueChanged.connect(lambda _: texts.append(bar.text()))
    widget.job.staged.connect(lambda _: texts.append(bar.text()))
    click(qtbot, widget.run.native)
    assert bar.text() == "Loading the model…", "from the first moment"
    settle(qtbot, widget)
    assert stages == ["Loading the model", "Preparing the slices", "Making the mask"]
    assert "Loading the model…" in texts
    occupied = len(widget.session.analysis.reconstruction.stack.occupied)
    assert f"Slice {occupied} of {occupied}" in texts
    assert bar.text() == ""
