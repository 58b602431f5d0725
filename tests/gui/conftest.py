"""GUI tests run real windows: they need a display (``xvfb-run`` does)."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from contextlib import contextmanager
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

from napari_cead.contributions import default_reader

if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
    collect_ignore_glob = ["test_*.py"]


PATIENCE = float(os.environ.get("NAPARI_CEAD_TEST_PATIENCE", "1"))
"""How many times as long as usual to wait before giving up: more than 1 on a machine that does much else."""


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


@pytest.fixture
def installed_model(model_folder):
    """The tiny model, installed for this test, so that the widget's list offers it."""
    from napari_cead.zoo import models_folder

    target = models_folder() / "tiny"
    shutil.copytree(model_folder, target)
    return "tiny"


def shares_viewer(request) -> bool:
    """Whether the tests of a file share a viewer, as the file says: a new one takes a second or two for each test."""
    return getattr(request.module, "SHARES_VIEWER", False)


@contextmanager
def our_plugin():
    """The plugins of a test: ours alone, as an installation registers it."""
    plugins = TestPluginManager()  # refuses to discover others
    with (
        patch("npe2.PluginManager.instance", return_value=plugins),
        plugins.tmp_plugin(package="napari-cead"),
    ):
        yield plugins


@pytest.fixture(scope="module")
def plugins_of_file():
    with our_plugin() as plugins:
        yield plugins


@pytest.fixture
def npe2pm(request):
    if shares_viewer(request):
        yield request.getfixturevalue("plugins_of_file")
        return
    with our_plugin() as plugins:
        yield plugins


@pytest.fixture(scope="module")
def windows(plugins_of_file):
    """Opens the viewer of a file, which its tests share: a new one takes a second or two."""
    app = NapariApplication("tests")
    app.injection_store.namespace = _napari_names
    get_settings().reset()
    opened: list[napari.Viewer] = []

    def viewer() -> napari.Viewer:
        if not (opened and hasattr(opened[-1].window, "_qt_window")):  # none yet, or a test has closed it
            init_qactions.cache_clear()
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
def viewer(request, plugin_settings):
    shared = shares_viewer(request)
    viewer = request.getfixturevalue("shared_viewer" if shared else "make_napari_viewer_proxy")
    if not shared:
        viewer = viewer(show=True)
        viewer.window.resize(1400, 900)
    return viewer


@pytest.fixture
def shared_viewer(windows, plugin_settings, monkeypatch, qtbot):
    """The viewer of the file as a new one is: without docks and layers, looking straight at nothing."""
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")
    get_settings().reset()
    viewer = windows()
    qtbot.waitExposed(viewer.window._qt_window)
    viewer.window.resize(1400, 900)
    yield PublicOnlyProxy(viewer)
    if not hasattr(viewer.window, "_qt_window"):
        return
    viewer.window.remove_dock_widget("all")
    viewer.layers.clear()
    viewer.dims.ndisplay = 2
    for part in (viewer.dims, viewer.scene.camera, viewer.canvas.grid):
        part.reset()
    viewer.theme = "dark"
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    QApplication.processEvents()


@pytest.fixture
def widget(viewer, installed_model, qtbot):
    """The Explore dock as the Plugins menu opens it."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    widget.model.value = installed_model
    yield widget
    qtbot.waitUntil(lambda: not widget.job.running and not widget.live.busy, timeout=20_000)


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
def detected(widget, patient_folder, qtbot):
    """The Explore dock after a run on the synthetic patient, all settled."""
    widget.patient.value = patient_folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)
    widget.score.value = "intensity"
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.session.analysis is not None and not widget.job.running, timeout=20_000)
    return widget


@pytest.fixture
def installed_vae(vae_folder):
    """The tiny VAE, installed beside the tiny model; ask for it before the dock."""
    from napari_cead.zoo import models_folder

    shutil.copytree(vae_folder, models_folder() / "tiny-vae")
    return "tiny-vae"
