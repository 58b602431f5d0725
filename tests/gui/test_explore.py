"""The Explore dock, driven by real clicks, drags and keys in a real window."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import QPoint, QRect, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QSlider, QStyle, QStyleOptionSlider
from superqt import QElidingLabel

import napari_cead as cead
from dock_driving import settle
from napari_cead.contributions.layers import tag_of
from napari_cead.errors import Cancelled
from napari_cead.exploring import Session
from napari_cead.widgets.explore import curve_and_figures
from patience import PATIENCE
from scans import brain_of, make_brain

SHARES_DOCK = True


def layer_of(widget, role):
    found = [layer for layer in widget.viewer.layers if (tag := tag_of(layer)) and tag.role == role]
    assert len(found) <= 1, f"{role} is there {len(found)} times"
    return found[0] if found else None


def settled(widget):
    """Whether layers, labels and session agree with the sliders."""
    return widget.session.analysis is not None and not widget.live.busy and "…" not in widget.dice_label.value


def expected_mask(widget):
    params = cead.PostprocessParams(
        threshold=widget.threshold.value,
        closing_radius=widget.closing_radius.value,
        area_fraction=widget.area_fraction.value,
        dilation_radius=widget.dilation_radius.value,
    )
    patient = widget.session.patient
    return cead.postprocess(widget.session.anomaly_map, params, patient.spacing, brain_of(patient))


def assert_everything_follows(widget):
    """Layer, slice Dice, volume Dice and volume are those of the public functions, computed afresh."""
    mask = expected_mask(widget)
    np.testing.assert_array_equal(layer_of(widget, "detected mask").data > 0, mask)
    reference = widget.session.patient.lesion_mask
    z = widget.layers.current_slice()
    slice_dice = cead.dice(mask[z], reference[z]) if reference[z].any() else np.nan  # nothing to compare with
    volume_dice = cead.dice(mask, reference)
    shown = [
        np.nan if text == "–" else float(text) for text in re.findall(r"–|\d\.\d+", widget.dice_label.value)
    ]
    assert shown == pytest.approx([slice_dice, volume_dice], abs=5e-4, nan_ok=True)
    millilitres = mask.sum() * np.prod(widget.session.patient.spacing) / 1000
    assert float(widget.volume_label.value.split()[0]) == pytest.approx(millilitres, abs=0.006)


def drag(qtbot, slider, to: float, steps: int = 25, each=lambda: None):
    """Drag the handle of a slider with the mouse to a fraction of its range."""
    inner = slider.native.findChild(QSlider)
    option = QStyleOptionSlider()
    inner.initStyleOption(option)
    complex_control, handle = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
    grip = inner.style().subControlRect(complex_control, option, handle, inner)
    start, end = (
        grip.center(),
        QPoint(round(grip.width() / 2 + to * (inner.width() - grip.width())), grip.center().y()),
    )
    qtbot.mousePress(inner, Qt.MouseButton.LeftButton, pos=start)
    assert inner.isSliderDown()
    for step in range(1, steps + 1):
        qtbot.mouseMove(inner, start + (end - start) * (step / steps))
        qtbot.wait(12)
        each()
    qtbot.mouseRelease(inner, Qt.MouseButton.LeftButton, pos=end)


def test_a_run_shows_aligned_layers_and_dice(detected):
    viewer, patient = detected.viewer, detected.session.patient
    for role in ("sequence", "lesion mask", "reconstruction", "anomaly map", "detected mask"):
        layers = [layer for layer in viewer.layers if (tag := tag_of(layer)) and tag.role == role]
        assert layers, role
        for layer in layers:
            assert layer.data.shape == patient.shape
            np.testing.assert_allclose(layer.scale, patient.spacing)
            assert {str(unit) for unit in layer.units} == {"millimeter"}
            np.testing.assert_allclose(layer.extent.world, viewer.layers[0].extent.world)
    assert_everything_follows(detected)
    names = [layer.name for layer in viewer.layers]
    assert {"flair", "reconstruction", "anomaly map", "lesion mask", "detected mask"} <= set(names)


def test_the_paper_s_60_percent_is_the_default_and_shown_as_percent(widget):
    assert widget.area_fraction.value == pytest.approx(0.6)
    assert widget.form.rows["area_fraction"].box.text() == "60.0 %"
    assert (widget.area_fraction.min, widget.area_fraction.max) == (0, 1)


def test_a_real_drag_moves_layers_and_both_dice(detected, qtbot):
    for name in ("closing_radius", "area_fraction", "dilation_radius"):
        getattr(detected, name).value = 0  # so that every threshold has a mask of its own
    qtbot.waitUntil(lambda: settled(detected))
    seen, before, z = set(), detected.threshold.value, detected.layers.current_slice()
    reference = detected.session.patient.lesion_mask[z]

    def followed():
        expected = f"slice {cead.dice(expected_mask(detected)[z], reference):.3f}"
        qtbot.waitUntil(lambda: detected.dice_label.value.startswith(expected))
        seen.add(expected)

    drag(qtbot, detected.threshold, 0.85, steps=10, each=followed)
    qtbot.waitUntil(lambda: settled(detected))
    assert detected.threshold.value == pytest.approx(0.85, abs=0.03)
    assert before == pytest.approx(0.2)
    assert len(seen) >= 5, "figures follow while the handle is held, not only at the end"
    assert_everything_follows(detected)


@pytest.mark.parametrize(
    ("name", "to"), [("closing_radius", 0.3), ("area_fraction", 0.05), ("dilation_radius", 0.2)]
)
def test_every_slider_moves_the_mask(detected, qtbot, name, to):
    drag(qtbot, getattr(detected, name), to, steps=8)
    qtbot.waitUntil(lambda: settled(detected))
    assert_everything_follows(detected)


def test_a_typed_number_counts_like_a_moved_slider(detected, qtbot):
    box = detected.form.rows["area_fraction"].box
    box.selectAll()
    qtbot.keyClicks(box, "25")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: settled(detected))
    assert detected.area_fraction.value == pytest.approx(0.25)
    assert_everything_follows(detected)


def test_scrolling_shows_the_dice_of_the_new_slice(detected, qtbot):
    for z in (2, 6, 8):
        detected.viewer.dims.set_point(0, z * detected.session.patient.spacing[0])
        assert detected.layers.current_slice() == z
        assert_everything_follows(detected)


def test_however_the_moves_fall_the_last_one_stands(detected, qtbot):
    """Timers, the thread and late events meet in every order: the figures must end settled on the last value."""
    rng = np.random.default_rng(0)
    for _ in range(12):
        for value in rng.uniform(0.1, 0.95, rng.integers(1, 5)):
            detected.threshold.value = last = round(float(value), 3)
            qtbot.wait(int(rng.integers(0, 130)))
        qtbot.waitUntil(lambda: settled(detected))
        assert detected.threshold.value == pytest.approx(last)
        assert detected.session.params.threshold == pytest.approx(last)
    assert_everything_follows(detected)


def test_a_slider_moved_away_and_back_leaves_the_mask_as_it_was(detected, qtbot):
    layer, before = layer_of(detected, "detected mask"), detected.threshold.value
    shown = layer.data.copy()
    detected.threshold.value = 0.97
    qtbot.waitUntil(lambda: not np.array_equal(layer.data, shown))
    detected.threshold.value = before
    qtbot.waitUntil(lambda: settled(detected))
    np.testing.assert_array_equal(layer.data, shown)
    assert_everything_follows(detected)


def test_a_finer_suggestion_than_the_slider_shows_is_kept(detected, qtbot):
    detected.session.set(threshold=0.32149)
    qtbot.waitUntil(lambda: settled(detected))
    detected.dilation_radius.value = 2
    qtbot.waitUntil(lambda: settled(detected))
    assert detected.session.params.threshold == 0.32149
    assert detected.session.params.dilation_radius == 2


def test_reset_brings_back_the_start(detected, qtbot):
    drag(qtbot, detected.threshold, 0.9, steps=5)
    drag(qtbot, detected.dilation_radius, 0.5, steps=5)
    qtbot.mouseClick(detected.form.reset.native, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: settled(detected))
    assert detected.session.params == cead.PostprocessParams()
    assert detected.threshold.value == pytest.approx(0.2)
    assert_everything_follows(detected)


def test_settings_changed_in_the_session_move_the_sliders(detected, qtbot):
    detected.session.set(threshold=0.444, dilation_radius=3)
    qtbot.waitUntil(lambda: detected.dilation_radius.value == 3)
    assert detected.threshold.value == pytest.approx(0.444)
    qtbot.waitUntil(lambda: settled(detected))
    assert_everything_follows(detected)


def test_painting_into_the_mask_moves_the_figures_and_survives_sliders(detected, qtbot):
    layer = layer_of(detected, "detected mask")
    z = detected.layers.current_slice()
    before = detected.session.mask.copy()
    layer.mode = "paint"
    layer.selected_label = 1
    layer.paint((z, 5, 5), 1)  # what a brush stroke calls
    qtbot.waitUntil(lambda: detected.session.analysis.corrections is not None)
    painted = layer.data > 0
    assert painted[z, 5, 5]
    assert not before[z, 5, 5]
    np.testing.assert_array_equal(detected.session.mask, painted)
    assert detected.session.dice == cead.dice(painted, detected.session.patient.lesion_mask)
    assert detected.form.discard.enabled

    drag(qtbot, detected.threshold, 0.6, steps=5)
    qtbot.waitUntil(lambda: settled(detected))
    assert layer.data[z, 5, 5] == 1
    layer.undo()
    qtbot.waitUntil(lambda: not detected.session.mask[z, 5, 5])
    layer.redo()
    qtbot.waitUntil(lambda: bool(detected.session.mask[z, 5, 5]))

    qtbot.mouseClick(detected.form.discard.native, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: detected.session.analysis.corrections is None)
    assert_everything_follows(detected)


def test_a_stroke_of_the_mouse_on_the_canvas_counts(detected, qtbot):
    layer = layer_of(detected, "detected mask")
    detected.viewer.layers.selection.active = layer
    layer.mode, layer.brush_size = "paint", 4
    canvas = detected.viewer.window._qt_viewer.canvas.native
    qtbot.wait(100)
    # Far off the brain, at the edge of the slice: nothing is detected there.
    start = QPoint(canvas.width() // 2, canvas.height() // 2)
    detected.viewer.camera.center = (0, 4 * 0.95, 4 * 0.9)
    qtbot.wait(100)
    qtbot.mouseMove(canvas, start)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(canvas, start + QPoint(6, 0))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=start + QPoint(6, 0))
    qtbot.waitUntil(lambda: detected.session.analysis.corrections is not None, timeout=5000)
    assert detected.session.analysis.corrections.added.any()
    np.testing.assert_array_equal(layer.data > 0, detected.session.mask)


def stroke(dock, qtbot, row):
    """Paint with the mouse at the edge of the slice, where nothing is detected; returns when it counts."""
    canvas = dock.viewer.window._qt_viewer.canvas.native
    dock.viewer.camera.center = (0, row * 0.95, 4 * 0.9)
    qtbot.wait(50)
    start, before = QPoint(canvas.width() // 2, canvas.height() // 2), dock.session.mask
    qtbot.mouseMove(canvas, start)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=start)
    for step in (4, 8):
        qtbot.mouseMove(canvas, start + QPoint(step, 0))
        qtbot.wait(100)  # the first piece counts before the next one comes
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=start + QPoint(8, 0))
    qtbot.waitUntil(lambda: not np.array_equal(dock.session.mask, before))
    qtbot.wait(100)
    qtbot.waitUntil(lambda: settled(dock))
    return dock.session.mask.copy()


def test_undo_and_redo_take_strokes_in_turn_with_settings(detected, qtbot):
    layer, session = layer_of(detected, "detected mask"), detected.session
    qtbot.mouseClick(detected.form.paint.native, Qt.MouseButton.LeftButton)
    layer.brush_size = 2
    plain, threshold = session.mask.copy(), session.params.threshold
    first = stroke(detected, qtbot, 4)
    drag(qtbot, detected.threshold, 0.6, steps=5)
    qtbot.waitUntil(lambda: settled(detected))
    moved, chosen = session.mask.copy(), session.params.threshold
    second = stroke(detected, qtbot, 8)
    assert moved.sum() < second.sum()
    canvas = detected.viewer.window._qt_viewer.canvas.native
    undo = lambda: qtbot.mouseClick(detected.form.undo.native, Qt.MouseButton.LeftButton)  # noqa: E731
    redo = lambda: qtbot.keyClick(canvas, Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)  # noqa: E731
    for step, mask, value in (
        (undo, moved, chosen),
        (redo, second, chosen),
        (layer.undo, moved, chosen),  # Ctrl+Z on the picture
        (redo, second, chosen),
        (undo, moved, chosen),
        (undo, first, threshold),
        (lambda: qtbot.keyClick(canvas, Qt.Key.Key_U), plain, threshold),
    ):
        step()
        qtbot.waitUntil(lambda mask=mask: np.array_equal(session.mask, mask) and settled(detected))
        qtbot.waitUntil(lambda: not detected.running)
        np.testing.assert_array_equal(layer.data > 0, mask)
        assert session.params.threshold == detected.threshold.value == pytest.approx(value, abs=5e-4)
    assert (
        session.analysis.corrections is None and not detected.form.undo.enabled and detected.form.redo.enabled
    )


def test_brush_and_eraser_are_a_click_away(detected, qtbot):
    layer = layer_of(detected, "detected mask")
    detected.viewer.layers.selection.active = detected.viewer.layers["flair"]
    for button, mode in (
        (detected.form.paint, "paint"),
        (detected.form.erase, "erase"),
        (detected.form.erase, "pan_zoom"),
    ):
        qtbot.mouseClick(button.native, Qt.MouseButton.LeftButton)
        assert layer.mode == mode and detected.viewer.layers.selection.active.name == layer.name
        tools_in_hand(detected, mode)


def tools_in_hand(dock, mode):
    """Assert that Paint and Erase show which of them, if any, is in hand."""
    checked = {name for name in ("paint", "erase") if getattr(dock.form, name).native.isChecked()}
    assert checked == ({mode} & {"paint", "erase"})


def test_paint_and_erase_show_the_tool_that_was_taken_or_put_down_in_napari(detected, qtbot):
    layer = layer_of(detected, "detected mask")
    layers = detected.viewer.layers
    layer.mode = "pan_zoom"
    qtbot.mouseClick(detected.form.paint.native, Qt.MouseButton.LeftButton)
    canvas = detected.viewer.window._qt_viewer.canvas.native
    for key, mode in ((Qt.Key.Key_1, "erase"), (Qt.Key.Key_2, "paint"), (Qt.Key.Key_5, "pick")):
        qtbot.keyClick(canvas, key)
        assert layer.mode == mode
        tools_in_hand(detected, mode)
    layer.mode = "paint"
    layers.selection.active = layers["flair"]  # the mouse no longer paints
    tools_in_hand(detected, "pan_zoom")
    layers.selection.active = layer
    tools_in_hand(detected, "paint")


@pytest.mark.parametrize("pause", [5, 150])
def test_the_first_stroke_after_a_run_is_painted_from_end_to_end(widget, patient_folder, qtbot, pause):
    """Also if its first pieces were taken into account, and the figures are on their way, while it goes on."""
    widget.patient.value = patient_folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.running)
    widget.score.value = "intensity"
    qtbot.mouseClick(widget.run.native, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.analysis is not None and not widget.running)
    layer = layer_of(widget, "detected mask")
    qtbot.mouseClick(widget.form.paint.native, Qt.MouseButton.LeftButton)
    layer.brush_size = 2
    widget.viewer.camera.center = (
        0,
        4 * 0.95,
        10 * 0.9,
    )  # at the edge of the slice, where nothing is detected
    canvas = widget.viewer.window._qt_viewer.canvas.native
    qtbot.wait(20)
    row, step = canvas.height() // 2, 20
    xs = range(canvas.width() // 2 - 4 * step, canvas.width() // 2 + 5 * step, step)
    qtbot.mouseMove(canvas, QPoint(xs[0], row))
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(xs[0], row))
    z, places = widget.layers.current_slice(), []
    for x in xs:
        qtbot.mouseMove(canvas, QPoint(x, row))
        places.append(layer.world_to_data(widget.viewer.cursor.position)[-2:])
        qtbot.wait(pause)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(xs[-1], row))
    assert len({tuple(np.round(place)) for place in places}) > 5
    # The last pieces are taken into account a moment after the button is up.
    qtbot.waitUntil(lambda: all(widget.session.mask[z, round(y), round(x)] for y, x in places))
    qtbot.waitUntil(lambda: settled(widget))
    for y, x in places:
        assert widget.session.mask[z, round(y), round(x)], (y, x)
        assert layer.data[z, round(y), round(x)], (y, x)
    np.testing.assert_array_equal(layer.data > 0, widget.session.mask)


def test_cancel_ends_the_run_and_the_widget_stays_usable(widget, patient_folder, qtbot, monkeypatch):
    def slow(patient, detector, *, on_progress, should_stop, **others):
        for step in range(1000):  # a network that takes its time
            if should_stop():
                raise Cancelled
            on_progress(step % 10, 10)
            time.sleep(0.01)

    widget.patient.value = patient_folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)
    with monkeypatch.context() as patch:
        patch.setattr("napari_cead.exploring.session.run", slow)
        qtbot.mouseClick(widget.run.native, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: widget.form.progress.max == 10)
        assert not widget.run.enabled, "no second run while one runs"
        assert widget.cancel.enabled
        qtbot.mouseClick(widget.cancel.native, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: not widget.job.running)
    assert widget.session.analysis is None
    assert widget.run.enabled
    assert not widget.cancel.enabled
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.session.analysis is not None and not widget.job.running, timeout=20_000)


def test_the_window_is_alive_while_the_network_runs(widget, patient_folder, qtbot, monkeypatch):
    """The run waits for the event loop: if a click on Run blocked it, both would wait for ever."""
    from napari_cead.detection import run

    alive = threading.Event()

    def waits(*arguments, **keywords):
        assert alive.wait(10 * PATIENCE), "the event loop stood still"
        return run(*arguments, **keywords)

    monkeypatch.setattr("napari_cead.exploring.session.run", waits)
    widget.patient.value = patient_folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)
    widget.run.native.click()
    QTimer.singleShot(50, alive.set)
    qtbot.waitUntil(lambda: widget.session.analysis is not None and not widget.job.running, timeout=20_000)
    assert alive.is_set()


def test_another_score_after_the_run_needs_no_new_run(detected, qtbot):
    made = detected.session.analysis.reconstruction
    detected.score.value = "squared"
    qtbot.waitUntil(lambda: detected.session.score == "squared" and not detected.job.running)
    assert detected.session.analysis.reconstruction is made
    qtbot.waitUntil(lambda: settled(detected))
    assert_everything_follows(detected)


def test_another_sequence_is_chosen_without_new_layers(detected, qtbot):
    count = sum(tag_of(layer).role == "sequence" for layer in detected.viewer.layers if tag_of(layer))
    detected.sequence.value = "t1_gd"
    assert detected.session.patient.sequence == "t1_gd"
    assert detected.session.analysis is None
    assert layer_of(detected, "anomaly map") is None
    sequences = [
        layer for layer in detected.viewer.layers if tag_of(layer) and tag_of(layer).role == "sequence"
    ]
    assert len(sequences) == count == 2
    assert [layer.name for layer in sequences if layer.visible] == ["t1_gd"]
    detected.run.native.click()
    qtbot.waitUntil(lambda: detected.session.analysis is not None and not detected.job.running)
    assert detected.session.analysis.reconstruction.patient.sequence == "t1_gd"


def test_without_a_reference_everything_but_dice_works(widget, patient_folder, qtbot):
    (patient_folder / "seg.nii.gz").unlink()
    widget.patient.value = patient_folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)
    widget.score.value = "intensity"
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.session.analysis is not None and not widget.job.running, timeout=20_000)
    drag(qtbot, widget.threshold, 0.5, steps=5)
    qtbot.waitUntil(lambda: settled(widget))
    assert widget.dice_label.value == "slice – · volume –"
    np.testing.assert_array_equal(layer_of(widget, "detected mask").data > 0, expected_mask(widget))
    assert float(widget.volume_label.value.split()[0]) > 0


def test_a_dropped_patient_is_explored(widget, patient_folder, qtbot):
    widget.viewer.open(str(patient_folder), plugin="napari-cead")
    qtbot.waitUntil(lambda: widget.session.patient is not None)
    assert widget.session.patient.name == "Mets_001"
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.session.analysis is not None and not widget.job.running, timeout=20_000)
    assert len([layer for layer in widget.viewer.layers if layer.name.startswith("flair")]) == 1


def test_a_patient_open_before_the_dock_is_explored(viewer, installed_model, patient_folder, qtbot):
    viewer.open(str(patient_folder), plugin="napari-cead")
    _, widget = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    assert widget.session.patient.name == "Mets_001"


def test_layers_open_in_napari_are_explored_in_place(widget, qtbot):
    volume, lesion = make_brain()
    image = widget.viewer.add_image(volume, name="my scan", scale=(2, 1, 1), translate=(4, 5, 6))
    labels = widget.viewer.add_labels(
        lesion.astype(int), name="my labels", scale=(2, 1, 1), translate=(4, 5, 6)
    )
    qtbot.waitUntil(
        lambda: image in widget.form.image_layer.choices and labels in widget.form.reference_layer.choices
    )
    widget.form.image_layer.value, widget.form.reference_layer.value = image, labels
    widget.form.use_layers.native.click()
    widget.score.value = "intensity"
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.session.analysis is not None and not widget.job.running, timeout=20_000)
    mask = layer_of(widget, "detected mask")
    for layer in (mask, layer_of(widget, "anomaly map")):
        np.testing.assert_allclose(layer.extent.world, image.extent.world)
    widget.viewer.dims.set_point(0, 4 + 6 * 2)
    assert widget.layers.current_slice() == 6
    drag(qtbot, widget.threshold, 0.6, steps=5)
    qtbot.waitUntil(lambda: settled(widget))
    assert_everything_follows(widget)


def test_a_two_dimensional_layer_is_a_patient_of_one_slice(widget, qtbot):
    volume, lesion = make_brain()
    image = widget.viewer.add_image(volume[6], name="slice")
    labels = widget.viewer.add_labels(lesion[6].astype(int))
    widget.use_layer(image, labels)
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.session.analysis is not None and not widget.job.running, timeout=20_000)
    mask = layer_of(widget, "detected mask")
    assert mask.data.shape == image.data.shape
    widget.threshold.value = 0.9
    qtbot.waitUntil(lambda: settled(widget))
    np.testing.assert_array_equal(mask.data > 0, expected_mask(widget)[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder.parent / "nowhere",
        lambda folder: (folder / "seg.nii.gz").write_bytes(b"junk") and folder,
        lambda folder: (
            (folder / "flair.nii.gz").write_bytes((folder / "flair.nii.gz").read_bytes()[:900]) and folder
        ),
        lambda folder: shutil.rmtree(folder) or folder.mkdir() or folder,
    ],
    ids=["missing", "broken mask", "truncated", "empty folder"],
)
def test_bad_input_is_a_notification_and_the_widget_stays_usable(
    widget, patient_folder, tmp_path, qtbot, notified, make
):
    good = shutil.copytree(patient_folder, tmp_path / "good")
    widget.patient.value = make(patient_folder)
    qtbot.waitUntil(lambda: bool(notified) and not widget.job.running)
    severity, message = notified[0]
    assert severity == "error"
    assert "Traceback" not in message
    assert str(patient_folder.parent) in message
    assert widget.session.patient is None
    widget.patient.value = good
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)
    assert widget.run.enabled


def test_a_folder_without_flair_opens_with_what_it_has_and_says_so(widget, patient_folder, qtbot, notified):
    (patient_folder / "flair.nii.gz").unlink()
    widget.patient.value = patient_folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and bool(notified))
    assert widget.session.patient.sequence == "t1_gd"
    assert notified[0] == ("warning", "Mets_001: there is no flair scan, showing t1_gd")


def test_a_reference_of_another_shape_is_a_notification(widget, qtbot, notified):
    volume, _ = make_brain()
    image = widget.viewer.add_image(volume)
    labels = widget.viewer.add_labels(np.zeros((3, 4, 5), int))
    widget.use_layer(image, labels)
    qtbot.waitUntil(lambda: bool(notified))
    assert "shape" in notified[0][1]
    widget.use_layer(image, None)
    assert widget.session.patient is not None


def test_run_without_a_patient_says_what_to_do_until_it_is_done(widget, patient_folder, qtbot, notified):
    widget.run.native.click()
    assert "Open a patient first" in notified[0][1]
    assert not widget.job.running
    widget.form.messages.show_message(notified[0][1], "warning")  # as napari hands it on
    widget.patient.value = patient_folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.running)
    assert "Open a patient first" not in widget.form.messages.words.text()


def test_export_writes_what_is_shown(detected, tmp_path, qtbot, notified):
    detected.threshold.value = 0.62
    detected.export_to(tmp_path / "out")
    qtbot.waitUntil(
        lambda: not detected.job.running and (tmp_path / "out" / "Mets_001_tiny_settings.json").exists()
    )
    settings = json.loads((tmp_path / "out" / "Mets_001_tiny_settings.json").read_text())
    assert settings["params"]["threshold"] == pytest.approx(0.62)
    saved = np.asarray(nib.load(tmp_path / "out" / "Mets_001_tiny_mask.nii.gz").dataobj)
    canonical = detected.session.patient.grid.to_canonical(saved)
    np.testing.assert_array_equal(canonical > 0, expected_mask(detected))
    assert any("Saved" in message for _, message in notified)


def test_export_to_a_place_that_cannot_be_written_is_a_notification(detected, tmp_path, qtbot, notified):
    (tmp_path / "file").write_text("in the way")
    detected.export_to(tmp_path / "file" / "out")
    qtbot.waitUntil(lambda: bool(notified) and not detected.job.running)
    assert notified[0][0] == "error"
    assert "cannot be" in notified[0][1]


def test_a_second_patient_replaces_the_first(detected, patient_folder, tmp_path, qtbot):
    second = shutil.copytree(patient_folder, tmp_path / "Mets_002")
    detected.patient.value = second
    qtbot.waitUntil(lambda: detected.session.patient.name == "Mets_002" and not detected.job.running)
    assert layer_of(detected, "detected mask") is None
    assert len([layer for layer in detected.viewer.layers if layer.name.startswith("flair")]) == 1
    detected.run.native.click()
    qtbot.waitUntil(
        lambda: detected.session.analysis is not None and not detected.job.running, timeout=20_000
    )
    assert_everything_follows(detected)


def test_a_deleted_mask_layer_comes_back_with_the_next_move(detected, qtbot):
    detected.viewer.layers.remove(layer_of(detected, "detected mask"))
    detected.threshold.value = 0.5
    qtbot.waitUntil(lambda: settled(detected))
    assert_everything_follows(detected)


def test_in_3d_the_volume_follows(detected, qtbot):
    detected.viewer.dims.ndisplay = 3
    detected.threshold.value = 0.5
    qtbot.waitUntil(lambda: settled(detected))
    np.testing.assert_array_equal(layer_of(detected, "detected mask").data > 0, expected_mask(detected))
    assert detected.dice_label.value.startswith("slice –")


def test_closing_the_dock_and_opening_it_again_goes_on(detected, qtbot):
    viewer, patient = detected.viewer, detected.session.patient
    viewer.window.remove_dock_widget(detected)
    _, again = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    assert again.session.patient.grid is patient.grid
    assert isinstance(again.session, Session)


def test_closing_napari_during_a_run_ends_the_run(
    viewer, installed_model, patient_folder, qtbot, monkeypatch
):
    """The run would go on for a minute: only being asked to stop can end it in time."""
    started, asked = threading.Event(), threading.Event()

    def endless(patient, detector, *, on_progress, should_stop, **others):
        started.set()
        for _ in range(6000):
            if should_stop():
                asked.set()
                raise Cancelled
            on_progress(1, 2)
            time.sleep(0.01)

    monkeypatch.setattr("napari_cead.exploring.session.run", endless)
    _, widget = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    widget.session.open(patient_folder)
    widget.run.native.click()
    qtbot.waitUntil(started.is_set)
    viewer.close()
    qtbot.waitUntil(asked.is_set)
    assert asked.is_set()


def test_the_dock_is_readable_when_narrow(detected, qtbot):
    """Nothing overlaps, nothing is cut: every control lies inside its parent."""
    detected.setFixedWidth(320)
    qtbot.wait(50)

    def place(part):
        return QRect(part.mapTo(detected, QPoint(0, 0)), part.size())

    for row in detected.form.rows.values():
        title, box, slider = place(row.title), place(row.box), place(row.slider.native)
        assert row.title.sizeHint().width() <= title.width()
        assert slider.width() >= 40
        assert title.right() <= box.left() and box.right() <= 320
        if row is detected.form.rows["threshold"]:  # the axis of the plot, as wide as that
            assert slider.top() >= max(title.bottom(), box.bottom()) - 4
        else:
            assert title.right() <= slider.left() and slider.right() <= box.left()


def test_the_suggestion_is_shown_before_the_run_and_ones_own_settings_are_kept(widget, patient_folder, qtbot):
    assert widget.threshold.value == pytest.approx(0.7), "what the chosen model suggests"
    assert widget.form.rule.text() == "Suggested: best on validation patients"
    drag(qtbot, widget.threshold, 0.4, steps=5)
    chosen = widget.threshold.value
    widget.patient.value = patient_folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.session.analysis is not None and not widget.job.running, timeout=20_000)
    assert widget.session.params.threshold == pytest.approx(chosen)
    assert widget.form.rule.text() == "Your settings"
    widget.form.reset.native.click()
    qtbot.waitUntil(lambda: settled(widget))
    assert widget.session.params.threshold == 0.7
    assert widget.form.rule.text() == "Suggested: best on validation patients"


def test_a_decimal_comma_is_a_decimal_point(detected, qtbot):
    box = detected.form.rows["threshold"].box
    box.selectAll()
    qtbot.keyClicks(box, "0,35")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert detected.threshold.value == pytest.approx(0.35)
    qtbot.waitUntil(lambda: settled(detected))


def test_opening_a_second_patient_beside_the_first_does_not_switch_back(
    widget, patient_folder, tmp_path, qtbot
):
    second = shutil.copytree(patient_folder, tmp_path / "Mets_002")
    widget.viewer.open(str(second), plugin="napari-cead")
    qtbot.waitUntil(lambda: widget.session.patient is not None)
    widget.session.open(patient_folder)
    qtbot.wait(100)
    assert widget.session.patient.name == "Mets_001"
    shown = [layer.name for layer in widget.viewer.layers if layer.visible]
    assert sorted(name.split()[0] for name in shown) == ["flair", "lesion"]


def test_a_path_counts_when_it_is_typed_to_the_end(widget, patient_folder, qtbot, notified):
    line = widget.patient.line_edit.native
    qtbot.keyClicks(line, str(patient_folder))
    assert not widget.running and not notified, "half of a path was opened"
    qtbot.keyClick(line, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.running)
    assert widget.session.patient.name == patient_folder.name


def test_a_click_beside_the_handle_is_a_step_one_can_see(detected, qtbot):
    for name in ("threshold", "area_fraction"):
        setting = detected.form.rows[name]
        before = setting.slider.value = 0.3
        qtbot.keyClick(setting.handle, Qt.Key.Key_PageUp)
        assert setting.slider.value == pytest.approx(before + 0.1, abs=0.011)


def test_marks_have_their_dice_before_the_curve_is_complete(detected, monkeypatch, qtbot):
    """The first points of a curve are those of the marks."""
    settle(qtbot, detected)
    go_on, curve = threading.Event(), curve_and_figures.processed_curve

    def slow(*given, on_points, also, **named):
        def points(thresholds, dice):
            on_points(thresholds, dice)
            if len(thresholds) > len(set(also)):
                go_on.wait()

        return curve(*given, on_points=points, also=also, **named)

    monkeypatch.setattr(curve_and_figures, "processed_curve", slow)
    monkeypatch.setattr(curve_and_figures, "POINTS_EVERY_S", 0.0)
    detected.closing_radius.value = 3
    legend = detected.form.plot._legend
    wanted = {item.params.threshold for item in detected.session.analysis.suggestions}
    qtbot.waitUntil(lambda: legend.text().count("Dice") == len(wanted) > 0)
    assert "…" in legend.text(), "the best one is searched for"
    go_on.set()
    settle(qtbot, detected)
    assert "…" not in legend.text() and legend.text().count("Dice") == len(wanted) + 1


def test_words_of_the_dock_are_for_its_reader(detected, qtbot):
    """No text of the command line, and no number without its name."""
    (switch,) = detected.form.switches.values()
    assert switch.slider.native.toolTip() and "true or false" not in switch.slider.native.toolTip()
    frame = detected.parentWidget()
    while not isinstance(frame, QDockWidget):
        frame = frame.parentWidget()
    detected.viewer.window._qt_window.resizeDocks([frame], [480], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: detected.width() >= 450)
    settle(qtbot, detected)
    (name,) = (label for label in detected.findChildren(QElidingLabel) if label.text() == "detected")
    assert name.width() >= name.fontMetrics().horizontalAdvance("detected"), "whole"
    assert name.geometry().right() <= detected.volume_label.native.x()
