"""GUI tests run real windows: they need a display (``xvfb-run`` does)."""

from __future__ import annotations

import gc
import os
import shutil
import sys

import pytest
from pytestqt.qtbot import QtBot

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


@pytest.fixture
def viewer(npe2pm, make_napari_viewer_proxy, plugin_settings):
    # Plugin discovery is blocked in tests; this registers our manifest as an installation would.
    with npe2pm.tmp_plugin(package="napari-cead"):
        viewer = make_napari_viewer_proxy(show=True)
        viewer.window.resize(1400, 900)
        yield viewer


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
