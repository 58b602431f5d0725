"""The picture keeps up with the sliders, and nothing ever stays undrawn."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject, QPoint, Qt
from qtpy.QtWidgets import QLabel, QStyle, QStyleOptionSlider

import napari_cead as cead
from napari_cead.contributions.layers import tag_of
from napari_cead.widgets.canvas import frames
from napari_cead.widgets.canvas.frames import NEVER, Frames
from scans import brain_of

SHARES_DOCK = True


def mask_layer(widget):
    return next(layer for layer in widget.viewer.layers if (t := tag_of(layer)) and t.role == "detected mask")


def settled(widget):
    return widget.session.analysis is not None and not widget.live.busy and "…" not in widget.dice_label.value


def expected_mask(widget):
    params = widget.session.params.replace(
        **{
            name: row.slider.value
            for name, row in widget.form.rows.items()
            if hasattr(widget.session.params, name)
        }
    )
    patient = widget.session.patient
    return cead.postprocess(widget.session.anomaly_map, params, patient.spacing, brain_of(patient))


def grip(handle):
    option = QStyleOptionSlider()
    handle.initStyleOption(option)
    control, part = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
    return handle.style().subControlRect(control, option, part, handle).center()


class Paints(QObject):
    """Counts how often a widget is painted."""

    def __init__(self, widget):
        super().__init__()
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched, event):
        self.count += event.type() == QEvent.Type.Paint
        return False


@pytest.fixture
def label(qtbot):
    """A label in a window of its own, shown and painted."""
    label = QLabel("before")
    qtbot.addWidget(label)
    label.resize(200, 50)
    label.show()
    qtbot.waitExposed(label)
    qtbot.wait(100)
    return label


def test_changes_between_two_frames_are_drawn_together(label, qtbot):
    paced, paints = Frames.of(label), Paints(label)
    for number in range(40):
        paced.pace()
        label.setText(f"{number}")
        qtbot.wait(5)
    qtbot.waitUntil(lambda: not paced.waiting)
    assert 2 <= paints.count <= 20


def test_what_changed_last_is_drawn_though_nobody_asks_again(label, qtbot):
    paced, paints = Frames.of(label), Paints(label)
    paced.pace()
    paced.draw()
    before = paints.count
    label.setText("the last word")
    qtbot.waitUntil(lambda: paints.count > before)
    assert not paced.waiting


def test_a_due_frame_that_fails_is_drawn_all_the_same(label, qtbot):
    paced, paints = Frames.of(label), Paints(label)

    def fails():
        raise ValueError("a slot that fails")

    paced.due.connect(fails)
    with qtbot.capture_exceptions() as caught:
        for number in range(3):
            before = paints.count
            paced.pace()
            label.setText(f"{number}")
            qtbot.waitUntil(lambda before=before: paints.count > before)
    assert caught
    paced.due.disconnect(fails)


def test_after_the_pace_the_window_is_as_before(label, qtbot):
    paced, paints, threshold = Frames.of(label), Paints(label), gc.get_threshold()
    paced.pace()
    assert gc.get_threshold()[2] == NEVER
    qtbot.waitUntil(lambda: gc.get_threshold() == threshold, timeout=10 * frames.LINGER_MS + 5000)
    for number in range(5):
        before = paints.count
        label.setText(f"{number}")
        qtbot.waitUntil(lambda before=before: paints.count > before)
    assert not paced.waiting


def test_two_windows_do_not_lose_the_collector_s_threshold(label, qtbot):
    other, threshold = QLabel(), gc.get_threshold()
    qtbot.addWidget(other)
    for window in (label, other, label):
        Frames.of(window).pace()
        qtbot.wait(100)
    qtbot.waitUntil(lambda: gc.get_threshold() == threshold)


@pytest.mark.parametrize("how", ["hide", "close", "deleteLater"])
def test_a_window_that_goes_in_the_middle_of_a_movement_is_left_alone(qtbot, how):
    window, threshold, due = QLabel(), gc.get_threshold(), []
    window.show()
    qtbot.waitExposed(window)
    paced = Frames.of(window)
    paced.due.connect(lambda: due.append(window.isVisible()))
    paced.pace()
    paced.draw()
    paced.ask()  # a frame is waiting
    getattr(window, how)()
    qtbot.waitUntil(lambda: gc.get_threshold() == threshold)
    qtbot.wait(2 * frames.FRAME_MS)
    assert all(due)
    if how != "deleteLater":
        qtbot.addWidget(window)


def test_a_window_has_one_pace(label):
    assert Frames.of(label) is Frames.of(label)


@pytest.mark.parametrize("name", ["threshold", "closing_radius", "area_fraction", "dilation_radius"])
def test_a_press_in_the_groove_goes_there_and_drags_from_there_in_one_step(detected, qtbot, name):
    row = detected.form.rows[name]
    handle, before = row.handle, row.slider.value
    assert not detected.session.can_undo
    span = handle.maximum() - handle.minimum()
    left = handle.value() > (handle.minimum() + handle.maximum()) / 2
    row_y, presses = grip(handle).y(), []
    far, farther = (0.3, 0.1) if left else (0.7, 0.9)
    for share, event in ((far, qtbot.mousePress), (farther, qtbot.mouseMove), (farther, qtbot.mouseRelease)):
        place = QPoint(round(share * handle.width()), row_y)
        event(handle, *(() if event == qtbot.mouseMove else (Qt.MouseButton.LeftButton,)), pos=place)
        # The handle is as near to the mouse as its steps allow; its ends lie half a handle from those of the groove.
        step = max(1, handle.width() / max(1, span))
        presses.append(abs(grip(handle).x() - place.x()) <= step + 2)
        assert handle.isSliderDown() == (event != qtbot.mouseRelease)
    assert all(presses)
    assert row.slider.value != before
    qtbot.waitUntil(lambda: settled(detected))
    assert getattr(detected.session.params, name) == row.slider.value
    detected.form.undo.native.click()
    qtbot.waitUntil(lambda: settled(detected) and not detected.running)
    assert row.slider.value == pytest.approx(before, abs=5e-4)
    assert not detected.session.can_undo, "press and drag are undone together"


def test_a_drag_is_drawn_in_frames_and_ends_on_the_last_value(detected, qtbot):
    canvas = detected.viewer.window._qt_viewer.canvas.native
    drawn = []
    canvas.frameSwapped.connect(lambda: drawn.append(1))
    handle, start = detected.form.rows["threshold"].handle, grip(detected.form.rows["threshold"].handle)
    qtbot.mousePress(handle, Qt.MouseButton.LeftButton, pos=start)
    for step in range(60):
        qtbot.mouseMove(handle, start + QPoint(step, 0))
        qtbot.wait(1)
    count = len(drawn)
    qtbot.mouseRelease(handle, Qt.MouseButton.LeftButton, pos=start + QPoint(59, 0))
    assert 1 <= count <= 45, "not one composition of the window for every event"
    qtbot.waitUntil(lambda: settled(detected))
    np.testing.assert_array_equal(mask_layer(detected).data > 0, expected_mask(detected))


def test_a_released_handle_lets_the_volume_follow_without_waiting(detected, qtbot):
    handle, start = detected.form.rows["threshold"].handle, grip(detected.form.rows["threshold"].handle)
    detected.live._volume_timer.setInterval(600_000)  # only letting go can end this in time
    qtbot.mousePress(handle, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(handle, start + QPoint(40, 0))
    qtbot.mouseRelease(handle, Qt.MouseButton.LeftButton, pos=start + QPoint(40, 0))
    qtbot.waitUntil(lambda: settled(detected))
    np.testing.assert_array_equal(mask_layer(detected).data > 0, expected_mask(detected))


def test_in_3d_the_volume_waits_until_the_handle_is_released(detected, qtbot):
    detected.viewer.dims.ndisplay = 3
    layer = mask_layer(detected)
    before, figures = layer.data.copy(), detected.dice_label.value
    handle, start = detected.form.rows["threshold"].handle, grip(detected.form.rows["threshold"].handle)
    qtbot.mousePress(handle, Qt.MouseButton.LeftButton, pos=start)
    reach = int(0.7 * handle.width())
    for step in range(1, 11):
        qtbot.mouseMove(handle, start + QPoint(reach * step // 10, 0))
        qtbot.wait(30)
    qtbot.wait(3 * detected.live._volume_timer.interval())
    np.testing.assert_array_equal(layer.data, before)
    assert detected.dice_label.value != figures, "that the figures are old is said at once"
    qtbot.mouseRelease(handle, Qt.MouseButton.LeftButton, pos=start + QPoint(reach, 0))
    qtbot.waitUntil(lambda: settled(detected))
    assert not np.array_equal(layer.data, before)
    np.testing.assert_array_equal(layer.data > 0, expected_mask(detected))


@pytest.mark.slow  # a typed number is tested in 2D, the volume in 3D above
def test_in_3d_a_typed_number_settles_by_itself(detected, qtbot):
    detected.viewer.dims.ndisplay = 3
    box = detected.form.rows["threshold"].box
    box.selectAll()
    qtbot.keyClicks(box, "0.7")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: settled(detected))
    np.testing.assert_array_equal(mask_layer(detected).data > 0, expected_mask(detected))


@pytest.mark.slow  # a race
def test_a_dock_hidden_while_the_handle_is_held_in_3d_settles(detected, qtbot):
    detected.viewer.dims.ndisplay = 3
    handle, start = detected.form.rows["threshold"].handle, grip(detected.form.rows["threshold"].handle)
    qtbot.mousePress(handle, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(handle, start + QPoint(40, 0))
    detected.hide()
    qtbot.waitUntil(lambda: settled(detected))
    np.testing.assert_array_equal(mask_layer(detected).data > 0, expected_mask(detected))
    detected.show()
    qtbot.mouseRelease(handle, Qt.MouseButton.LeftButton, pos=start)
    qtbot.waitUntil(lambda: settled(detected))


def test_the_window_goes_on_drawing_when_the_dock_goes_in_the_middle_of_a_drag(detected, qtbot):
    viewer, window = detected.viewer, detected.window()
    canvas = viewer.window._qt_viewer.canvas.native
    handle, start = detected.form.rows["threshold"].handle, grip(detected.form.rows["threshold"].handle)
    qtbot.mousePress(handle, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(handle, start + QPoint(20, 0))
    qtbot.mouseMove(handle, start + QPoint(40, 0))
    viewer.window.remove_dock_widget(detected)
    paints = Paints(canvas)
    for _ in range(3):
        before = paints.count
        canvas.update()
        qtbot.waitUntil(lambda before=before: paints.count > before)
    qtbot.waitUntil(lambda: not Frames.of(window).waiting)


def test_an_analysis_that_goes_in_the_middle_of_a_drag_leaves_nothing_behind(detected, qtbot):
    handle, start = detected.form.rows["threshold"].handle, grip(detected.form.rows["threshold"].handle)
    qtbot.mousePress(handle, Qt.MouseButton.LeftButton, pos=start)
    for step in range(1, 4):
        qtbot.mouseMove(handle, start + QPoint(10 * step, 0))
    detected.session.use(detected.session.patient)
    qtbot.mouseMove(handle, start + QPoint(40, 0))
    qtbot.mouseRelease(handle, Qt.MouseButton.LeftButton, pos=start + QPoint(40, 0))
    qtbot.waitUntil(lambda: not detected.live.busy and not Frames.of(detected.window()).waiting)
    assert detected.session.analysis is None
    assert detected.session.params.threshold == pytest.approx(detected.threshold.value)


def test_a_frame_that_comes_after_the_volume_does_not_unsettle_the_figures(detected):
    paced = detected.live._frames()
    detected.live._slice_pending = True  # a frame was still due when the volume had followed
    paced.draw()
    assert settled(detected)
    np.testing.assert_array_equal(mask_layer(detected).data > 0, expected_mask(detected))
