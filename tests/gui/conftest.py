"""GUI tests run real windows: they need a display (``xvfb-run`` does)."""

from __future__ import annotations

import gc
import os
import re
import shutil
import sys
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import napari
import pytest
from app_model import Application
from napari._app_model._app import NapariApplication, _napari_names
from napari._qt._qapp_model.qactions import init_qactions
from napari._qt.qt_viewer import QtViewer
from napari.plugins import _initialize_plugins
from napari.settings import get_settings
from napari.utils._proxies import PublicOnlyProxy
from npe2._pytest_plugin import TestPluginManager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QApplication
from vispy.gloo import glir, preprocessor, program
from vispy.visuals.shaders import Function

from dock_driving import run, settle
from napari_cead.contributions import default_reader
from patience import PATIENCE
from scans import patient_in
from shared_dock import SharedDock

if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """Wait longer than pytest-qt's five seconds before giving up: machines that run tests are often busy."""
    wait = QtBot.waitUntil

    def patient_wait(self, callback, *, timeout=20_000):
        return wait(self, callback, timeout=round(PATIENCE * timeout))

    monkeypatch.setattr(QtBot, "waitUntil", patient_wait)


@pytest.fixture(autouse=True)
def _no_offer(monkeypatch):
    """The offer to become napari's reader comes with the first scan of a process, whichever test that is."""
    monkeypatch.setattr(default_reader, "_offered", True)


@pytest.fixture(autouse=True)
def _quick_collections():
    """Leave what is there for good out of the collections: napari makes one for every layer that is removed.

    A third of the time of these tests went into looking through the million objects of the libraries.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _shaders_are_read_once():
    """Keep what vispy makes of the text of a shader: it reads the same ones anew for each layer."""
    clean = lru_cache(maxsize=None)(partial(Function._clean_code, None))
    expressions = SimpleNamespace(
        M=re.M,
        sub=lru_cache(maxsize=None)(re.sub),
        finditer=lru_cache(maxsize=None)(lambda pattern, text: tuple(re.finditer(pattern, text))),
    )
    with (
        patch.object(Function, "_clean_code", lambda self, code: clean(code)),
        patch.object(glir, "_convert_desktop_shader", lru_cache(maxsize=None)(glir._convert_desktop_shader)),
        patch.object(preprocessor, "merge_includes", lru_cache(maxsize=None)(preprocessor.merge_includes)),
        patch.object(program, "re", expressions),
    ):
        yield


@pytest.fixture
def installed_model(model_folder):
    """The tiny model, installed for this test, so that the widget's list offers it."""
    return install(model_folder)


def install(folder) -> str:
    from napari_cead.zoo import models_folder

    if not (models_folder() / folder.name).exists():
        shutil.copytree(folder, models_folder() / folder.name)
    return folder.name


def shares_dock(request) -> bool:
    """Whether the tests of a file share a dock and its runs as well, as the file says; see `SharedDock`."""
    return getattr(request.module, "SHARES_DOCK", False)


def pytest_collection_modifyitems(items):
    """Where a dock is shared, its tests come first: a test with a dock of its own ends the sharing."""
    files: dict[Path, list] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    items[:] = [
        item
        for found in files.values()
        for item in sorted(
            found, key=lambda one: getattr(one.module, "SHARES_DOCK", False) and not takes_dock(one)
        )
    ]


def takes_dock(item) -> bool:
    """Whether a test starts with the shared dock."""
    return "after" in item.fixturenames and not item.get_closest_marker("new_dock")


@pytest.fixture(scope="module")
def home_of_file(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _home(request, monkeypatch, _own_models):
    """Who shares a dock shares the models it knows, and nothing else of what a user has."""
    if not shares_dock(request):
        return
    home = request.getfixturevalue("home_of_file")
    asked = {"installed_model": "tiny", "installed_vae": "tiny-vae"}
    kept = [home / "models" / name for fixture, name in asked.items() if fixture in request.fixturenames]
    for path in [*home.glob("models/*"), *home.glob("*")]:
        if path not in kept and path.name != "models":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(home))


@pytest.fixture(scope="module")
def dock_of_file():
    return SharedDock()


@pytest.fixture(scope="module")
def plugins_of_file():
    """The plugins that tests have: ours alone, as an installation registers it."""
    plugins = TestPluginManager()  # refuses to discover others
    with (
        patch("npe2.PluginManager.instance", return_value=plugins),
        plugins.tmp_plugin(package="napari-cead"),
    ):
        yield plugins


@pytest.fixture
def npe2pm(plugins_of_file):
    return plugins_of_file


@pytest.fixture(scope="module")
def windows(plugins_of_file):
    """Opens the viewer of a file, which its tests share: a new one takes a second or two."""
    app = NapariApplication("tests")
    app.injection_store.namespace = _napari_names
    get_settings().reset()
    opened: list[napari.Viewer] = []

    def viewer() -> napari.Viewer:
        if not opened:
            init_qactions.cache_clear()
        if not (opened and hasattr(opened[-1].window, "_qt_window")):  # none yet, or a test has closed it
            opened.append(napari.Viewer(show=True, show_welcome_screen=False))
        return opened[-1]

    with (
        patch.object(NapariApplication, "get_app_model", return_value=app),
        patch("napari._qt.threads.status_checker.StatusChecker.start"),
    ):
        _initialize_plugins.cache_clear()
        yield viewer
        get_settings().reset()
        if opened and hasattr(opened[-1].window, "_qt_window"):
            with patch.object(opened[-1].window._qt_window, "_save_current_window_settings"):
                opened[-1].close()
        opened.clear()
        QtViewer._instances.clear()
        Application.destroy("tests")
        _initialize_plugins.cache_clear()
        init_qactions.cache_clear()


@pytest.fixture
def viewer(windows, plugin_settings, monkeypatch, qtbot, request):
    """The viewer of the file as a new one is, but for the dock that its tests share."""
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")
    get_settings().reset()
    viewer = windows()
    qtbot.waitExposed(viewer.window._qt_window)
    viewer.window.resize(1400, 900)
    shared, takes = request.getfixturevalue("dock_of_file"), takes_dock(request.node)
    if not (takes and shared.usable):
        shared.let_go()
        clear(viewer)
    yield PublicOnlyProxy(viewer)
    viewer.theme = "dark"
    if not hasattr(viewer.window, "_qt_window"):
        shared.let_go()
    elif not (takes and shared.usable):
        shared.let_go()
        clear(viewer)


def clear(viewer) -> None:
    """Make a viewer as a new one is: without docks and layers, looking straight at nothing."""
    viewer.window.remove_dock_widget("all")
    viewer.layers.clear()
    viewer.dims.ndisplay = 2
    for part in (viewer.dims, viewer.scene.camera, viewer.canvas.grid, viewer.canvas.overlays.scale_bar):
        part.reset()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    QApplication.processEvents()


@pytest.fixture
def widget(viewer, installed_model, qtbot, dock_of_file, request):
    """The Explore dock as the Plugins menu opens it; or the shared one, which `detected` and others take further."""
    if dock_of_file.usable:
        widget = dock_of_file.dock
    else:
        _, widget = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
        widget.model.value = installed_model
    yield widget
    qtbot.waitUntil(lambda: not widget.job.running and not widget.live.busy, timeout=20_000)
    if shares_dock(request):
        dock_of_file.rest(qtbot)


@pytest.fixture
def ready(installed_vae, widget, scan_folder, after, qtbot):
    """The dock after a run of the VAE with the residual; its card names two rules for this score."""

    def run_it():
        widget.patient.value = scan_folder
        settle(qtbot, widget)
        run(qtbot, widget, "tiny-vae", "residual")
        return widget

    dock = after("ready", run_it)
    settle(qtbot, dock)
    yield dock
    settle(qtbot, dock)


@pytest.fixture
def notified(monkeypatch):
    """Notifications shown so far, as (severity, message)."""
    from napari.utils.notifications import notification_manager

    seen: list[tuple[str, str]] = []
    record = lambda note: seen.append((str(note.severity), note.message))  # noqa: E731
    notification_manager.notification_ready.connect(record)
    yield seen
    notification_manager.notification_ready.disconnect(record)


@pytest.fixture
def after(dock_of_file, qtbot, request):
    """Brings the Explore dock to where a test begins: called with a name, and with what leads there."""

    def begin(name, lead):
        if not shares_dock(request):
            return lead()
        dock = dock_of_file.at(name, lead)
        qtbot.waitUntil(lambda: not dock.running and not dock.live.busy)
        return dock

    return begin


@pytest.fixture
def detected(widget, installed_model, scan_folder, after, qtbot):
    """The Explore dock after a run on the synthetic patient, all settled."""

    def run():
        widget.patient.value = scan_folder
        qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)
        # The dock may have looked for models between two tests, when there was none of these.
        widget.form._models.look()
        widget.model.value, widget.score.value = installed_model, "intensity"
        widget.run.native.click()
        qtbot.waitUntil(
            lambda: widget.session.analysis is not None and not widget.job.running, timeout=20_000
        )
        return widget

    return after("detected", run)


@pytest.fixture
def scan_folder(request):
    """The folder of the patient in a dock: of the test, or of the file where its tests share a dock."""
    return request.getfixturevalue("patient_of_file" if shares_dock(request) else "patient_folder")


@pytest.fixture(scope="module")
def patient_of_file(tmp_path_factory):
    return patient_in(tmp_path_factory.mktemp("scans"))


@pytest.fixture
def installed_vae(vae_folder):
    """The tiny VAE, installed beside the tiny model; ask for it before the dock."""
    return install(vae_folder)
