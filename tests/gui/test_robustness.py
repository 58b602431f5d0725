"""What users do to the Explore dock and nobody planned: it goes on, says what is wrong, and leaks nothing."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from qtpy.QtCore import QObject, QPoint, Qt, QTimer
from qtpy.QtWidgets import QApplication, QSlider, QStyle, QStyleOptionSlider, QTabWidget

import napari_cead as cead
from napari_cead.contributions.layers import tag_of
from napari_cead.errors import CeadError
from napari_cead.widgets.common.preferences import Preferences
from napari_cead.widgets.explore.dock import ExploreWidget
from napari_cead.zoo import Detector
from patience import PATIENCE
from scans import brain_of

SHARES_DOCK = True
ROLES = ("sequence", "lesion mask", "reconstruction", "anomaly map", "detected mask")


@dataclass
class Network:
    """Stands between the dock and the network: counts its passes, holds them up, or lets them fail."""

    free: int = 10**9
    passes: int = 0
    error: BaseException | None = None
    batch_size: int = 3
    gate: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)

    def hold_after(self, passes):
        """Let so many more passes through, then hold the next ones until `gate` is opened."""
        self.free, self.batch_size = (
            self.passes + passes,
            self.batch_size - 1,
        )  # another batch: nothing cached
        self.gate.clear()
        self.held.clear()


@pytest.fixture
def network(monkeypatch):
    """The network under the test's control. To be asked for after the dock, which waits for its runs at the end."""
    network, through = Network(batch_size=5), Detector.repair

    def repair(detector, batch):
        network.passes += 1
        if network.passes > network.free:
            network.held.set()
            assert network.gate.wait(30 * PATIENCE)
        if network.error is not None:
            raise network.error
        return through(detector, batch)

    monkeypatch.setattr(Detector, "repair", repair)
    monkeypatch.setattr(
        "napari_cead.widgets.explore.model_runner.preferences",
        lambda: Preferences(device="cpu", batch_size=network.batch_size),
    )
    yield network
    network.gate.set()


def layers_of(viewer, role):
    return [layer for layer in viewer.layers if (tag := tag_of(layer)) and tag.role == role]


def layer_of(dock, role):
    found = [layer for layer in layers_of(dock.viewer, role) if role != "sequence" or layer.visible]
    assert len(found) <= 1, f"{role} is there {len(found)} times"
    return found[0] if found else None


def idle(dock):
    return not dock.job.running and not dock.live.busy and not dock.insight.busy


def settled(dock):
    return dock.session.analysis is not None and idle(dock) and "…" not in dock.dice_label.value


def settle(dock, qtbot):
    qtbot.waitUntil(lambda: settled(dock))


def expected_mask(dock):
    params = cead.PostprocessParams(**{name: row.slider.value for name, row in dock.form.rows.items()})
    patient = dock.session.patient
    mask = cead.postprocess(dock.session.anomaly_map, params, patient.spacing, brain_of(patient))
    corrections = dock.session.analysis.corrections
    return mask if corrections is None else (mask | corrections.added) & ~corrections.removed


def assert_on_screen(dock):
    """The mask in the viewer is what the sliders say, and no derived layer is there twice."""
    np.testing.assert_array_equal(layer_of(dock, "detected mask").data > 0, expected_mask(dock))
    np.testing.assert_array_equal(dock.session.mask, expected_mask(dock))
    for role in ("reconstruction", "anomaly map"):
        assert len(layers_of(dock.viewer, role)) <= 1


def open_dock(viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    return dock


def press_x(dock, qtbot):
    qtbot.mouseClick(dock.parent().titleBarWidget().close_button, Qt.MouseButton.LeftButton)


def remove(dock, qtbot):
    dock.viewer.window.remove_dock_widget(dock)


def run_with(dock, qtbot, score="intensity"):
    dock.score.value = score
    dock.run.native.click()
    qtbot.waitUntil(lambda: not dock.job.running and dock.session.analysis is not None)
    settle(dock, qtbot)


def explored(viewer, folder, qtbot):
    """Return a dock with a run behind it that nothing but the caller holds on to."""
    dock = open_dock(viewer)
    dock.model.value = "tiny"
    dock.session.open(folder)
    qtbot.waitUntil(lambda: dock.sequence.value is not None)
    run_with(dock, qtbot)
    return dock


def paint(dock, z=2):
    layer = layer_of(dock, "detected mask")
    before = layer.data.copy()
    layer.paint((z, 5, 5), 1)
    assert (layer.data != before).any()


def move(dock, value, name="threshold"):
    dock.form.rows[name].slider.value = value


def held_handle(dock, qtbot):
    """Press the mouse on the threshold's handle; return the slider and where it was pressed."""
    inner = dock.threshold.native.findChild(QSlider)
    option = QStyleOptionSlider()
    inner.initStyleOption(option)
    control, part = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
    start = inner.style().subControlRect(control, option, part, inner).center()
    qtbot.mousePress(inner, Qt.MouseButton.LeftButton, pos=start)
    assert inner.isSliderDown()
    return inner, start


# -- closing and opening the dock ------------------------------------------------------------------------------


@pytest.mark.parametrize("close", [press_x, pytest.param(remove, marks=pytest.mark.slow)])
def test_a_dock_that_was_closed_is_there_again_with_everything(detected, qtbot, close):
    viewer, session = detected.viewer, detected.session
    settle(detected, qtbot)
    detected.score.value = "squared"
    qtbot.waitUntil(lambda: session.score == "squared" and settled(detected))
    move(detected, 0.45)
    settle(detected, qtbot)
    detected.form.option_rows["smoothing_mm"].slider.value = 1.2
    qtbot.waitUntil(lambda: session.options.smoothing_mm == pytest.approx(1.2) and settled(detected))
    paint(detected)
    qtbot.waitUntil(lambda: session.analysis.corrections is not None and settled(detected))
    before, params, analyses = session.analysis, session.params, session.analyses
    close(detected, qtbot)
    again = open_dock(viewer)
    assert again is not detected
    assert again.session is session
    assert session.analysis is before
    assert session.params == params
    assert session.analyses == analyses
    assert len(analyses) == 2
    settle(again, qtbot)
    assert (again.model.value, again.score.value) == before.key
    assert again.threshold.value == pytest.approx(0.45)
    assert again.form.option_rows["smoothing_mm"].slider.value == pytest.approx(1.2)
    assert again.form.comparison.table.rowCount() == 2
    assert again.form.undo.enabled
    assert again.form.discard.enabled
    assert_on_screen(again)
    again.form.undo.native.click()
    qtbot.waitUntil(lambda: not session.analysis.corrections and settled(again))
    assert session.options.smoothing_mm == pytest.approx(1.2), "the stroke was the last step"
    again.form.undo.native.click()
    qtbot.waitUntil(lambda: session.options.smoothing_mm == 0 and settled(again))
    again.form.undo.native.click()
    qtbot.waitUntil(lambda: session.params.threshold != params.threshold and settled(again))
    assert session.can_redo
    assert_on_screen(again)


def test_settings_made_before_any_run_survive_as_well(widget, scan_folder, qtbot):
    viewer, session = widget.viewer, widget.session
    session.open(scan_folder)
    qtbot.waitUntil(lambda: widget.sequence.value is not None)
    move(widget, 0.33)
    press_x(widget, qtbot)
    again = open_dock(viewer)
    assert again.session is session
    assert again.threshold.value == pytest.approx(0.33)
    assert again.sequence.value == "flair"


def test_a_closed_dock_reacts_to_nothing_any_more(detected, qtbot, monkeypatch):
    viewer, session = detected.viewer, detected.session
    settle(detected, qtbot)

    def listeners():
        """How many callbacks hang on what outlives a dock."""
        events = (
            session.patient_changed,
            session.params_changed,
            session.mask_changed,
            session.slices_arrived,
        )
        emitters = (
            viewer.dims.events.current_step,
            viewer.layers.events.removed,
            viewer.layers.selection.events.active,
            viewer.events.theme,
        )
        mask = layer_of(detected, "detected mask")
        return (
            *(len(event) for event in events),
            *(len(emitter.callbacks) for emitter in (*emitters, mask.events.paint, mask.events.visible)),
            len(viewer.keymap),
        )

    with_one, dock = listeners(), detected
    for _ in range(3):
        press_x(dock, qtbot)
        dock = open_dock(viewer)
        settle(dock, qtbot)
    assert listeners() == with_one
    painted, correct = [], session.correct
    monkeypatch.setattr(session, "correct", lambda mask, **how: (painted.append(1), correct(mask, **how)))
    viewer.dims.set_point(0, 3.0)
    paint(dock)
    qtbot.waitUntil(lambda: session.analysis.corrections is not None and settled(dock))
    viewer.theme = "light"
    viewer.theme = "dark"
    move(dock, 0.6)
    settle(dock, qtbot)
    assert len(painted) == 1
    assert_on_screen(dock)


@pytest.mark.parametrize("close", [press_x, pytest.param(remove, marks=pytest.mark.slow)])
def test_a_closed_dock_can_be_collected(viewer, installed_model, scan_folder, qtbot, close):
    dock = explored(viewer, scan_folder, qtbot)
    move(dock, 0.5)
    settle(dock, qtbot)
    gone = weakref.ref(dock)
    close(dock, qtbot)
    del dock

    def collected():
        gc.collect()
        return gone() is None

    qtbot.waitUntil(collected)
    assert layers_of(viewer, "detected mask")
    assert open_dock(viewer).session.analysis is not None


def test_closing_in_the_middle_of_a_move_keeps_the_move(detected, qtbot):
    viewer, session = detected.viewer, detected.session
    settle(detected, qtbot)
    held_handle(detected, qtbot)
    for value in (0.3, 0.42, 0.57):
        move(detected, value)
        qtbot.wait(5)
    press_x(detected, qtbot)
    assert session.params.threshold == pytest.approx(0.57)
    qtbot.wait(300)
    assert len(layers_of(viewer, "detected mask")) == 1
    again = open_dock(viewer)
    settle(again, qtbot)
    assert again.threshold.value == pytest.approx(0.57)
    assert_on_screen(again)


def test_what_is_painted_while_there_is_no_dock_counts(detected, qtbot):
    viewer, session = detected.viewer, detected.session
    settle(detected, qtbot)
    press_x(detected, qtbot)
    paint(detected)
    qtbot.wait(150)
    assert session.analysis.corrections is None
    again = open_dock(viewer)
    settle(again, qtbot)
    assert session.analysis.corrections.added.any()
    assert_on_screen(again)


@pytest.mark.slow  # either is tested by itself
def test_closing_a_dock_side_by_side_gives_the_viewer_back(detected, qtbot):
    viewer, session = detected.viewer, detected.session
    settle(detected, qtbot)
    detected.score.value = "squared"
    qtbot.waitUntil(lambda: session.score == "squared" and settled(detected))
    shown = {layer.name for layer in viewer.layers if layer.visible}
    detected.form.comparison.side_by_side.click()
    assert viewer.canvas.grid.enabled
    press_x(detected, qtbot)
    assert not viewer.canvas.grid.enabled
    assert not layers_of(viewer, "tile")
    again = open_dock(viewer)
    settle(again, qtbot)
    assert {layer.name for layer in viewer.layers if layer.visible} == shown
    assert len(session.analyses) == 2
    assert_on_screen(again)


def test_closing_the_dock_during_a_run_stops_it_and_what_was_there_is_back(detected, network, qtbot):
    viewer, session = detected.viewer, detected.session
    settle(detected, qtbot)
    before = session.analysis
    detected.score.value = "residual"
    qtbot.waitUntil(lambda: session.score == "residual" and settled(detected))
    network.hold_after(1)
    detected.run.native.click()
    qtbot.waitUntil(network.held.is_set)
    press_x(detected, qtbot)
    again = open_dock(viewer)
    passes = network.passes
    network.gate.set()
    qtbot.waitUntil(lambda: session.analysis is not None and not detected.job.running)
    assert network.passes == passes
    settle(again, qtbot)
    assert before in session.analyses
    assert_on_screen(again)


def test_the_newest_of_two_docks_goes_on_and_the_other_lets_go(detected, qtbot):
    viewer = detected.viewer
    settle(detected, qtbot)
    second = ExploreWidget(viewer)
    viewer.window.add_dock_widget(second, name="second")
    assert second.session is detected.session
    assert not detected.isEnabled()
    for value in (0.3, 0.5, 0.6):
        move(second, value)
        move(detected, 0.9)
        qtbot.wait(30)
    settle(second, qtbot)
    assert second.session.params.threshold == pytest.approx(0.6)
    paint(second)
    qtbot.waitUntil(lambda: second.session.analysis.corrections is not None and settled(second))
    assert_on_screen(second)
    run_with(second, qtbot, "residual")
    assert_on_screen(second)
    remove(detected, qtbot)
    move(second, 0.4)
    settle(second, qtbot)
    assert_on_screen(second)
    remove(second, qtbot)
    third = open_dock(viewer)
    settle(third, qtbot)
    assert third.isEnabled()
    assert third.threshold.value == pytest.approx(0.4)


def test_two_docks_before_there_is_a_patient(viewer, installed_model, scan_folder, qtbot):
    first = open_dock(viewer)
    second = ExploreWidget(viewer)
    viewer.window.add_dock_widget(second, name="second")
    viewer.open(str(scan_folder), plugin="napari-cead")
    qtbot.waitUntil(lambda: second.session.patient is not None)
    assert not first.isEnabled()
    second.model.value = "tiny"
    run_with(second, qtbot)
    assert_on_screen(second)


# -- layers that go, come, and change --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moving",
    [pytest.param(False, marks=pytest.mark.slow), True],
    ids=["at rest", "while a slider is held"],
)
def test_any_layer_may_be_deleted(detected, qtbot, moving):
    settle(detected, qtbot)
    viewer, z = detected.viewer, detected.layers.current_slice()
    value = 0.3
    for role in (*reversed(ROLES), "all"):
        if moving:
            inner, start = held_handle(detected, qtbot)
            qtbot.mouseMove(inner, start + QPoint(4, 0))
            qtbot.wait(15)
        for layer in list(viewer.layers) if role == "all" else layers_of(viewer, role):
            viewer.layers.remove(layer)
        if moving:
            qtbot.mouseMove(inner, start + QPoint(8, 0))
            qtbot.wait(60)
            qtbot.mouseRelease(inner, Qt.MouseButton.LeftButton, pos=start + QPoint(8, 0))
        value += 0.05
        move(detected, value)
        settle(detected, qtbot)
        assert_on_screen(detected)
        if role != "all":
            assert detected.layers.current_slice() == z, f"without {role} nobody knows the slice"
    run_with(detected, qtbot, "residual")
    assert_on_screen(detected)
    assert layer_of(detected, "anomaly map") is not None


def test_a_deleted_scan_comes_back_when_it_is_chosen_again(detected, qtbot):
    settle(detected, qtbot)
    detected.viewer.layers.remove(layer_of(detected, "sequence"))
    detected.sequence.value = "t1_gd"
    qtbot.waitUntil(lambda: layer_of(detected, "sequence") is not None)
    detected.sequence.value = "flair"
    qtbot.waitUntil(lambda: getattr(layer_of(detected, "sequence"), "name", "") == "flair")
    run_with(detected, qtbot)
    assert detected.layers.current_slice() is not None
    assert_on_screen(detected)


def test_layers_may_be_deleted_during_a_run(detected, network, qtbot):
    settle(detected, qtbot)
    viewer = detected.viewer
    for number, role in enumerate((*ROLES, "all")):
        network.batch_size, network.free = 5 if number % 2 else 4, network.passes + 1
        network.gate.clear()
        network.held.clear()
        detected.session._cache.clear()
        detected.run.native.click()
        qtbot.waitUntil(network.held.is_set)
        qtbot.waitUntil(lambda: detected.session.streaming is not None)
        qtbot.wait(20)
        for layer in list(viewer.layers) if role == "all" else layers_of(viewer, role):
            viewer.layers.remove(layer)
        move(detected, 0.3 + 0.02 * number)
        network.gate.set()
        settle(detected, qtbot)
        assert_on_screen(detected)
        for made in ("anomaly map", "reconstruction"):
            np.testing.assert_array_equal(
                layer_of(detected, made).data,
                detected.session.anomaly_map
                if made == "anomaly map"
                else detected.session.analysis.reconstructed,
            )


@pytest.mark.slow
def test_tiles_may_be_deleted(detected, qtbot):
    settle(detected, qtbot)
    viewer, session = detected.viewer, detected.session
    detected.score.value = "squared"
    qtbot.waitUntil(lambda: session.score == "squared" and settled(detected))
    button = detected.form.comparison.side_by_side
    for role in ("tile", "anomaly map", "detected mask", "all"):
        button.setChecked(True)
        assert viewer.canvas.grid.enabled
        if role == "all":
            viewer.layers.clear()
        else:
            viewer.layers.remove(layers_of(viewer, role)[0])
        qtbot.waitUntil(lambda: not button.isChecked())
        assert not viewer.canvas.grid.enabled
        assert not layers_of(viewer, "tile")
        move(detected, detected.threshold.value + 0.03)
        settle(detected, qtbot)
        assert_on_screen(detected)


def test_data_put_into_the_mask_layer_are_corrections_and_the_sliders_go_on(detected, qtbot):
    settle(detected, qtbot)
    layer, session = layer_of(detected, "detected mask"), detected.session
    other = layer.data.copy()
    other[3, 5:9, 5:9] = 1
    layer.data = other
    qtbot.waitUntil(lambda: session.analysis.corrections is not None and settled(detected))
    assert session.analysis.corrections.added[3, 5:9, 5:9].all()
    move(detected, 0.62)
    settle(detected, qtbot)
    assert_on_screen(detected)
    layer.data = np.ones((4, 5, 6), np.uint8)  # of something else
    move(detected, 0.4)
    settle(detected, qtbot)
    assert_on_screen(detected)


def test_layers_may_be_renamed_reordered_and_hidden(detected, qtbot):
    settle(detected, qtbot)
    viewer = detected.viewer
    for layer in viewer.layers:
        layer.name = f"renamed {layer.name}"
        layer.visible = False
    viewer.layers.reverse()
    viewer.layers.move(0, 3)
    move(detected, 0.5)
    settle(detected, qtbot)
    assert_on_screen(detected)
    z = detected.layers.current_slice()
    assert z is not None
    run_with(detected, qtbot, "residual")
    assert_on_screen(detected)
    assert not layer_of(detected, "detected mask").visible, "hiding is the user's"


def test_however_the_view_is_turned_the_mask_follows(detected, qtbot):
    settle(detected, qtbot)
    dims = detected.viewer.dims
    turns = (
        lambda: setattr(dims, "order", (1, 0, 2)),
        dims.roll,
        dims.transpose,
        lambda: setattr(dims, "ndisplay", 3),
        dims.roll,
        lambda: setattr(dims, "ndisplay", 2),
        lambda: setattr(dims, "order", (2, 1, 0)),
        lambda: detected.viewer.add_image(np.zeros((2, 4, 5, 6)), name="four axes"),
        lambda: setattr(dims, "order", (0, 1, 2, 3)),
    )
    for number, turn in enumerate(turns):
        inner, start = held_handle(detected, qtbot)
        turn()
        qtbot.mouseMove(inner, start + QPoint(6 if number % 2 else -5, 0))
        qtbot.wait(20)
        qtbot.mouseRelease(inner, Qt.MouseButton.LeftButton, pos=start)
        settle(detected, qtbot)
        assert_on_screen(detected)
    assert detected.layers.current_slice() is not None


# -- another patient during a run ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "way", ["drop", *(pytest.param(way, marks=pytest.mark.slow) for way in ("path", "queue"))]
)
def test_another_patient_during_a_run(detected, network, scan_folder, tmp_path, qtbot, way):
    settle(detected, qtbot)
    session = detected.session
    second = shutil.copytree(scan_folder, tmp_path / "Mets_002")
    network.hold_after(1)
    detected.run.native.click()
    qtbot.waitUntil(network.held.is_set)
    if way == "path":
        detected.patient.value = second
    elif way == "drop":
        detected.viewer.open(str(second), plugin="napari-cead")
    else:
        detected.queue.add([second])
        qtbot.waitUntil(lambda: detected.queue.table.model().rowCount() == 1)
        detected.queue.table.cellDoubleClicked.emit(0, 0)
    qtbot.wait(50)
    passes = network.passes
    network.gate.set()
    qtbot.waitUntil(lambda: session.patient.name == "Mets_002" and not detected.job.running)
    qtbot.wait(100)
    assert network.passes == passes, "the run goes no further than the group under way"
    assert session.analysis is None
    assert not session.analyses
    assert not any(layers_of(detected.viewer, role) for role in ROLES[2:])
    assert "Mets_002" in detected.form.about.text()
    run_with(detected, qtbot)
    assert session.analysis.reconstruction.patient.name == "Mets_002"
    assert_on_screen(detected)


# -- errors ----------------------------------------------------------------------------------------------------


TIRED = CeadError("the network is tired", hint="let it rest")
BUG = ZeroDivisionError("a bug")
MEMORY = torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("error", "first"),
    [
        (TIRED, True),
        (BUG, False),
        pytest.param(MEMORY, True, marks=pytest.mark.slow),
        pytest.param(MEMORY, False, marks=pytest.mark.slow),
    ],
    ids=[
        "foreseen in the first run",
        "unexpected in a later one",
        "memory in the first",
        "memory in a later",
    ],
)
def test_an_error_in_a_run_is_a_notification_and_all_is_as_before(
    widget, network, scan_folder, qtbot, notified, error, first
):
    session = widget.session
    session.open(scan_folder)
    qtbot.waitUntil(lambda: widget.sequence.value is not None)
    if not first:
        run_with(widget, qtbot)
        move(widget, 0.55)
        settle(widget, qtbot)
    before, params, options = session.analysis, session.params, session.options
    notified.clear()
    network.hold_after(1)
    widget.run.native.click()
    qtbot.waitUntil(network.held.is_set)
    qtbot.waitUntil(lambda: session.streaming is not None and bool(layers_of(widget.viewer, "anomaly map")))
    network.error = error
    network.gate.set()
    qtbot.waitUntil(lambda: bool(notified) and not widget.job.running)
    qtbot.wait(50)
    assert notified[0][0] == "error"
    assert any(word in notified[0][1] for word in ("tired", "a bug", "memory"))
    assert session.streaming is None
    assert session.analysis is before
    assert (session.params, session.options) == (params, options)
    assert widget.run.enabled
    assert not widget.cancel.enabled
    if first:
        assert not any(layers_of(widget.viewer, role) for role in ROLES[2:]), "half a result is none"
    else:
        settle(widget, qtbot)
        assert_on_screen(widget)
        np.testing.assert_array_equal(layer_of(widget, "anomaly map").data, before.anomaly_map)
    network.error = None
    run_with(widget, qtbot)
    assert_on_screen(widget)


# -- running ---------------------------------------------------------------------------------------------------


def test_cancel_waits_for_the_pass_under_way_and_no_longer(detected, network, qtbot):
    settle(detected, qtbot)
    before = detected.session.analysis
    network.hold_after(1)
    detected.run.native.click()
    qtbot.waitUntil(network.held.is_set)
    qtbot.mouseClick(detected.cancel.native, Qt.MouseButton.LeftButton)
    passes = network.passes
    network.gate.set()
    qtbot.waitUntil(lambda: not detected.job.running)
    assert network.passes == passes
    assert detected.session.analysis is before
    settle(detected, qtbot)
    assert_on_screen(detected)


def test_slices_are_shown_scrolled_and_cut_while_the_network_runs(widget, network, scan_folder, qtbot):
    session, viewer = widget.session, widget.viewer
    session.open(scan_folder)
    qtbot.waitUntil(lambda: widget.sequence.value is not None)
    widget.score.value = "intensity"
    first = widget.layers.current_slice()
    network.hold_after(1)
    widget.run.native.click()
    qtbot.waitUntil(network.held.is_set)
    qtbot.waitUntil(lambda: layer_of(widget, "detected mask") is not None)
    streaming = session.streaming
    here = np.flatnonzero(streaming.arrived)
    assert first in here
    assert 0 < len(here) < session.patient.shape[0]

    def on_screen(role):
        return np.asarray(layer_of(widget, role)._slice.image.raw)

    def cut(z):
        return cead.postprocess(
            streaming.anomaly_map[z],
            session.params.replace(threshold=widget.threshold.value),
            session.patient.spacing,
            brain_of(session.patient)[z],
        )

    def shows(z):
        np.testing.assert_array_equal(on_screen("anomaly map"), streaming.anomaly_map[z])
        np.testing.assert_array_equal(on_screen("detected mask") > 0, cut(z))

    shows(first)
    assert streaming.anomaly_map[first].any()
    other = next(int(z) for z in here if z != first)
    before = cut(first)
    move(widget, 0.85)  # below, closing joins what the noise leaves to the whole brain again
    qtbot.waitUntil(lambda: session.params.threshold == pytest.approx(0.85))
    qtbot.wait(50)
    assert (cut(first) != before).any()
    shows(first)
    viewer.dims.set_point(0, other * session.patient.spacing[0])
    assert widget.layers.current_slice() == other
    shows(other)
    missing = next(int(z) for z in range(session.patient.shape[0]) if not streaming.arrived[z])
    viewer.dims.set_point(0, missing * session.patient.spacing[0])
    assert not on_screen("detected mask").any()
    assert widget.job.running
    network.gate.set()
    settle(widget, qtbot)
    assert widget.threshold.value == pytest.approx(0.85)
    assert_on_screen(widget)


def test_the_window_goes_on_between_the_layers_of_a_run(widget, network, scan_folder, qtbot):
    widget.session.open(scan_folder)
    qtbot.waitUntil(lambda: widget.sequence.value is not None)
    active, came = widget.viewer.layers.selection.active, []
    turns = QTimer(interval=0)
    turns.timeout.connect(lambda: came.append("a turn of the event loop"))

    def inserted(event):
        came.append(tag_of(event.value).role)

    widget.viewer.layers.events.inserted.connect(inserted)
    turns.start()
    network.hold_after(1)
    widget.run.native.click()
    qtbot.waitUntil(network.held.is_set)
    qtbot.waitUntil(lambda: layer_of(widget, "reconstruction") is not None)
    turns.stop()
    made = [
        came.index(role) for role in ("anomaly map", "detected mask", "reconstruction")
    ]  # hidden ones last
    assert made == sorted(made)
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(made))
    assert widget.viewer.layers.selection.active == active
    network.gate.set()
    settle(widget, qtbot)
    assert_on_screen(widget)


# -- memory ----------------------------------------------------------------------------------------------------


def megabytes():
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def qobjects(dock):
    gc.collect()
    return len(dock.window().findChildren(QObject))


def scrub(dock, qtbot, moves, rng):
    """Move sliders at random, as fast as the events go round."""
    for number in range(moves):
        name = ("threshold", "threshold", "closing_radius", "area_fraction", "dilation_radius")[number % 5]
        slider = dock.form.rows[name].slider
        share = rng.random() * (1 if name in ("threshold", "area_fraction") else 0.2)
        value = slider.min + share * (slider.max - slider.min)
        slider.value = type(slider.value)(value)
        QApplication.processEvents()
        if number % 50 == 49:
            qtbot.waitUntil(lambda: not dock.live.busy)
    settle(dock, qtbot)


def grows_by(dock, qtbot, moves):
    rng = np.random.default_rng(0)
    scrub(dock, qtbot, 300, rng)
    objects, before = qobjects(dock), megabytes()
    scrub(dock, qtbot, moves, rng)
    after = megabytes()
    assert qobjects(dock) <= objects + 20
    return after - before


def test_memory_stays_flat_while_sliders_move(detected, qtbot):
    assert grows_by(detected, qtbot, 300) < 15


@pytest.mark.slow
def test_memory_stays_flat_over_two_thousand_moves(detected, qtbot, record_property):
    grown = grows_by(detected, qtbot, 2000)
    record_property("megabytes", grown)
    assert grown < 15


@pytest.mark.slow
def test_memory_stays_flat_over_runs_scores_and_forgetting(detected, qtbot):
    session = detected.session
    settle(detected, qtbot)

    def around():
        for score in ("squared", "residual", "intensity"):
            detected.score.value = score
            qtbot.waitUntil(lambda score=score: session.score == score and not detected.job.running)
        for key in [analysis.key for analysis in session.analyses if analysis is not session.analysis]:
            detected.form.comparison.forgotten.emit(key)
        detected.run.native.click()
        qtbot.waitUntil(lambda: not detected.job.running and session.analysis is not None)

    for _ in range(3):
        around()
    settle(detected, qtbot)
    objects, before = qobjects(detected), megabytes()
    for _ in range(8):
        around()
    settle(detected, qtbot)
    assert len(session.analyses) == 1
    assert len(detected.insight.figures) == 1
    assert qobjects(detected) <= objects + 20
    assert megabytes() - before < 20


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [3, 15])
def test_memory_is_bounded_over_many_patients(widget, scan_folder, tmp_path, qtbot, rounds):
    session, patients = widget.session, []
    second = shutil.copytree(scan_folder, tmp_path / "Mets_002")

    def around():
        for folder in (scan_folder, second):
            widget.source.open(folder)
            qtbot.waitUntil(lambda: not widget.job.running)
            qtbot.waitUntil(lambda: layer_of(widget, "sequence") is not None)
            patients.append(weakref.ref(session.patient.grid))

    around()
    run_with(widget, qtbot)
    around()
    objects, before = qobjects(widget), megabytes()
    for _ in range(rounds):
        around()

    def let_go():
        gc.collect()
        return sum(patient() is not None for patient in patients) <= 2

    qtbot.waitUntil(let_go)
    qtbot.waitUntil(lambda: qobjects(widget) <= objects + 20)  # napari deletes controls of layers later
    assert megabytes() - before < 30
    assert len(widget.viewer.layers) == 3


# -- looks -----------------------------------------------------------------------------------------------------


def show_tab(dock, page):
    """Bring the tab that holds a widget to the front."""
    for tabs in dock.findChildren(QTabWidget):
        for number in range(tabs.count()):
            if tabs.widget(number) is page or tabs.widget(number).isAncestorOf(page):
                tabs.setCurrentIndex(number)


def test_in_a_narrow_dock_nothing_is_cut_off_in_either_theme(detected, qtbot):
    settle(detected, qtbot)
    detected.session.set(threshold=0.5)
    detected.form.undo.native.click()  # so that Redo is there
    settle(detected, qtbot)
    detected.setFixedWidth(300)
    for theme in ("light", "dark"):
        detected.viewer.theme = theme
        qtbot.wait(50)
        for row in (*detected.form.rows.values(), *detected.form.option_rows.values()):
            if row.title.isVisible():
                assert row.title.sizeHint().width() <= row.title.width()
                assert row.box.mapTo(detected, row.box.rect().topRight()).x() <= 300
        show_tab(detected, detected.form.more)
        qtbot.wait(50)
        buttons = (detected.run, detected.form.undo, detected.form.redo, detected.form.use_suggested)
        for button in (*buttons, detected.form.reset, detected.form.switches["inside_brain"].slider):
            native = button.native
            assert native.isVisible()
            assert native.sizeHint().width() <= native.width()
            assert native.mapTo(detected, native.rect().topRight()).x() <= 300


def test_tab_goes_through_the_controls_from_top_to_bottom(detected, qtbot):
    settle(detected, qtbot)
    window = detected.window()
    window.activateWindow()
    detected.form.open_more.setChecked(True)
    detected.patient.line_edit.native.setFocus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is detected.patient.line_edit.native)
    seen, tops, names = [], [], []
    for _ in range(60):
        now = QApplication.focusWidget()
        if now is None or not detected.isAncestorOf(now):
            break
        if seen and now is seen[0]:
            break
        if now not in seen:  # a label with links keeps the focus for each of them
            inside = now.mapTo(detected.form.column.parentWidget(), QPoint(0, 0))
            seen.append(now)
            tops.append(inside.y() + now.height() // 2)
            names.append(now.accessibleName() or getattr(now, "text", lambda: "")() or type(now).__name__)
        qtbot.keyClick(now, Qt.Key.Key_Tab)
    assert len(tops) > 20, " | ".join(names)
    up = [(a, b) for a, b, y, z in zip(names, names[1:], tops, tops[1:], strict=False) if z < y - 12]
    assert not up, f"tab goes up between {up}"
    assert names.index("Model") < names.index("Run")


# -- the end of napari -----------------------------------------------------------------------------------------

SCRIPT = """
import sys, threading
from pathlib import Path
import napari
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QTabWidget, QSlider
from napari_cead.widgets.explore.dock import ExploreWidget
from napari_cead.widgets.explore.launch import wait_until
from napari_cead.zoo import Detector

what, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
viewer = napari.Viewer()
dock = ExploreWidget(viewer)
viewer.window.add_dock_widget(dock, name="Explore")
viewer.window.resize(1300, 900)
dock.model.value = "tiny"
dock.session.open(folder)
dock.score.value = "intensity"
assert wait_until(lambda: dock.sequence.value is not None, 30)
under_way = threading.Event()


def slowly(function, seconds):
    import time

    def slow(*arguments, **keywords):
        under_way.set()
        time.sleep(seconds)
        return function(*arguments, **keywords)

    return slow


def run():
    dock.run.native.click()
    assert wait_until(lambda: not dock.job.running and dock.session.analysis is not None, 60)


if what == "run":
    Detector.repair = slowly(Detector.repair, 0.5)
    dock.run.native.click()
elif what == "curve":
    import napari_cead.widgets.explore.curve_and_figures as insight

    curve = insight.processed_curve

    def endless(*arguments, should_stop, **keywords):
        under_way.set()
        while not should_stop():
            threading.Event().wait(0.01)

    insight.processed_curve = endless
    run()
elif what == "export":
    run()
    dock.session.export = slowly(dock.session.export, 0.7)
    dock.export_to(out)
elif what == "queue":
    Detector.repair = slowly(Detector.repair, 0.3)
    dock.queue.out = out
    dock.queue.add([folder])
    assert wait_until(lambda: dock.queue.start.isEnabled(), 30)
    dock.queue.start.click()
elif what == "drag":
    run()
    inner = dock.threshold.native.findChild(QSlider)
    QTest.mousePress(inner, Qt.MouseButton.LeftButton, pos=QPoint(inner.width() // 5, inner.height() // 2))
    timer = QTimer(dock, interval=5)
    timer.timeout.connect(lambda: setattr(dock.threshold, "value", (dock.threshold.value + 0.013) % 0.9))
    timer.start()
    under_way.set()
elif what == "side by side":
    run()
    dock.score.value = "squared"
    assert wait_until(lambda: dock.session.score == "squared" and not dock.job.running, 30)
    dock.form.comparison.side_by_side.click()
    under_way.set()
assert wait_until(under_way.is_set, 60)
QTimer.singleShot(200, viewer.window._qt_window.close)
napari.run()
print("closed")
"""


def run_script(tmp_path, script, *arguments, **environment):
    """Run a script with a napari of its own; returns what it printed. It must end by itself, and well."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(script))
    sources = str(Path(cead.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", path, *map(str, arguments)],
        env=os.environ
        | {"NAPARI_CONFIG": str(tmp_path / "napari.yaml"), "PYTHONPATH": sources}
        | environment,
        capture_output=True,
        text=True,
        timeout=120 * PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    for word in ("Traceback", "Error", "QThread: Destroyed", "Fatal", "Segmentation"):
        assert word not in ended.stderr, ended.stderr[-3000:]
    return ended.stdout


SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("drag", "curve", "export", "queue", "side by side")
]


@pytest.mark.parametrize("what", ["run", *SLOW])
def test_closing_napari_in_the_middle_of_something_ends_it_well(installed_model, scan_folder, tmp_path, what):
    out = tmp_path / "out"
    assert "closed" in run_script(tmp_path, SCRIPT, what, scan_folder, out)
    if what == "export":  # is finished before the process ends
        assert (out / "Mets_001_tiny_settings.json").exists()


PICTURE = """
import sys
import napari
from qtpy.QtWidgets import QApplication, QTabWidget
from napari_cead.widgets.explore.dock import ExploreWidget
from napari_cead.widgets.explore.launch import wait_until

viewer = napari.Viewer()
dock = ExploreWidget(viewer)
viewer.window.add_dock_widget(dock, name="Explore")
viewer.window.resize(750, 480)
dock.model.value = "tiny"
dock.session.open(sys.argv[1])
dock.score.value = "intensity"
assert wait_until(lambda: dock.sequence.value is not None, 30)
dock.run.native.click()
assert wait_until(lambda: dock.session.analysis is not None and not dock.busy, 60)
wait_until(lambda: False, 0.5)
assert dock.devicePixelRatioF() == 2
picture = dock.grab()
assert picture.devicePixelRatio() == 2 and picture.width() == 2 * dock.width()
for row in dock.form.rows.values():
    assert row.title.sizeHint().width() <= row.title.width()
if len(sys.argv) > 2:
    viewer.window._qt_window.grab().save(sys.argv[2])
viewer.close()
print("closed")
"""


@pytest.mark.slow
def test_on_a_display_of_twice_the_density_the_dock_is_as_readable(installed_model, scan_folder, tmp_path):
    shots = os.environ.get("NAPARI_CEAD_SHOTS")
    kept = [Path(shots) / "robust-hidpi.png"] if shots else []
    assert "closed" in run_script(tmp_path, PICTURE, scan_folder, *kept, QT_SCALE_FACTOR="2")
