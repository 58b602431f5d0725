"""The whole way by keyboard: from a folder's name to an export, without a mouse."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QScrollArea

from dock_driving import choose_folder, controls_of, name_of, settle
from napari_cead.widgets.common.docks import bare

TAB, BACK, SPACE, ENTER = Qt.Key.Key_Tab, Qt.Key.Key_Backtab, Qt.Key.Key_Space, Qt.Key.Key_Return
PLAIN, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier

MOST_STEPS = 80
"""More than any dock has controls."""


@pytest.fixture
def keys(qtbot):
    """Presses a key where the focus is, as the window system does: only the active window has a focus."""

    def press(key, modifier=PLAIN):
        qtbot.waitUntil(lambda: QApplication.focusWidget() is not None)
        qtbot.keyClick(QApplication.focusWidget(), key, modifier)

    return press


def canvas_of(viewer):
    return bare(viewer).window._qt_viewer.canvas.native


def active(viewer, qtbot):
    """Without a window manager nobody makes a window the active one."""
    window = bare(viewer).window._qt_window
    window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is window)
    canvas_of(viewer).setFocus()
    qtbot.waitUntil(canvas_of(viewer).hasFocus)


def within(dock, control):
    """Whether a control is whole within what is seen of its scroll area."""
    area = control.parent()
    while area is not dock and not isinstance(area, QScrollArea):
        area = area.parent()
    if area is dock:
        return True
    top = control.mapTo(area.viewport(), QPoint(0, 0)).y()
    return top >= 0 and top + min(control.height(), 60) <= area.viewport().height()


def walk(keys, dock, key):
    """Press Tab or Shift+Tab until the focus leaves the dock; returns what had it, in order."""
    reached = []
    while dock.isAncestorOf(QApplication.focusWidget()) and len(reached) < MOST_STEPS:
        control = QApplication.focusWidget()
        if control not in reached:  # the links of a text are within one control
            reached.append(control)
        assert dock.ring is not None and dock.ring.control is control and dock.ring.isVisible()
        assert within(dock, control), name_of(control)
        keys(key, SHIFT if key == BACK else PLAIN)
    return reached


def go_to(keys, control, key=TAB):
    """Press Tab until a control has the focus."""
    for _ in range(MOST_STEPS):
        if control.hasFocus():
            return
        keys(key, SHIFT if key == BACK else PLAIN)
    raise AssertionError(f"{name_of(control)} is not reached")


def test_from_a_folder_to_an_export(widget, patient_folder, tmp_path, qtbot, keys):
    viewer = widget.viewer
    viewer.window.resize(1366, 768)
    active(viewer, qtbot)
    keys(Qt.Key.Key_F6)
    assert widget.isAncestorOf(QApplication.focusWidget())
    # Open.
    go_to(keys, widget.patient.line_edit.native)
    qtbot.keyClicks(QApplication.focusWidget(), str(patient_folder))
    keys(ENTER)
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.running)
    qtbot.waitUntil(lambda: not widget.form.opening.isVisible())
    qtbot.waitUntil(widget.run.native.hasFocus)  # the path has gone: what comes next
    # Choose model and score.
    go_to(keys, widget.model.native, BACK)
    keys(Qt.Key.Key_Home)
    names = [widget.model.native.itemText(row) for row in range(widget.model.native.count())]
    for _ in range(names.index("tiny")):
        keys(Qt.Key.Key_Down)
    assert widget.model.value == "tiny"
    go_to(keys, widget.score.native)
    scores = [widget.score.native.itemText(row) for row in range(widget.score.native.count())]
    keys(Qt.Key.Key_Home)
    for _ in range(scores.index("intensity")):
        keys(Qt.Key.Key_Down)
    # Run.
    go_to(keys, widget.run.native)
    keys(SPACE)
    assert widget.running and widget.cancel.native.hasFocus(), "what can be pressed next"
    assert widget.ring is not None and widget.ring.control is widget.cancel.native
    qtbot.waitUntil(lambda: widget.session.analysis is not None)
    settle(qtbot, widget)
    assert widget.session.analysis.key == ("tiny", "intensity")
    assert widget.run.native.hasFocus(), "disabled during the run, it has the focus again"
    # Every slider, which the keys of a slider move.
    for name, row in widget.form.rows.items():
        go_to(keys, row.handle)
        was = row.slider.value
        keys(Qt.Key.Key_Left if was == row.slider.max else Qt.Key.Key_Right)
        settle(qtbot, widget)
        assert row.slider.value != was and getattr(widget.session.params, name) == row.slider.value
        assert within(widget, row.handle)
    # Next lesion.
    lesion = widget.session.patient.lesion_mask
    keys(Qt.Key.Key_N)
    assert lesion[widget.layers.current_slice()].any()
    # Undo by the button, redo by its key.
    changed = widget.session.params
    go_to(keys, widget.form.undo.native)
    keys(SPACE)
    qtbot.waitUntil(lambda: widget.session.params != changed and not widget.running)
    settle(qtbot, widget)
    keys(Qt.Key.Key_U, SHIFT)
    qtbot.waitUntil(lambda: widget.session.params == changed and not widget.running)
    settle(qtbot, widget)
    # Export.
    out = tmp_path / "out"
    go_to(keys, widget.form.export.native)
    keys(SPACE)
    choose_folder(qtbot, widget, out)
    window = bare(viewer).window._qt_window  # as a window manager does when a dialog closes
    window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is window)
    qtbot.waitUntil(lambda: not widget.running and any(out.glob("*mask.nii.gz")))
    # Back to the picture, whose slices the arrows change.
    keys(Qt.Key.Key_F6)
    assert canvas_of(viewer).hasFocus()
    z = widget.layers.current_slice()
    keys(Qt.Key.Key_Right)
    assert widget.layers.current_slice() == z + 1
    keys(Qt.Key.Key_F6)
    assert widget.form.export.native.hasFocus(), "where it was before"


def test_tab_reaches_every_control_from_top_to_bottom_and_back(detected, qtbot, keys):
    settle(qtbot, detected)
    detected.viewer.window.resize(1366, 600)
    detected.threshold.value = detected.threshold.value / 2  # so that Undo can be pressed
    settle(qtbot, detected)
    active(detected.viewer, qtbot)
    keys(Qt.Key.Key_F6)
    go_to(keys, detected.form.open_more, BACK)
    reached = walk(keys, detected, TAB)
    enabled = [part for part in controls_of(detected) if part.isEnabled()]
    missing = [part for part in enabled if part not in reached and not _holds(part, reached)]
    assert [name_of(part) for part in missing] == []
    tops = [part.mapTo(detected, QPoint(0, 0)).y() for part in reached]
    scrolled = np.array([part.mapTo(detected.form.tabs.parent(), QPoint(0, 0)).y() for part in reached])
    assert np.all(np.diff(scrolled) > -20), "from top to bottom, in a line from left to right"
    assert len(tops) > 12
    # Back, from the last to the first.
    reached[-1].setFocus(Qt.FocusReason.TabFocusReason)
    detected.go_here(reached[-1])
    assert walk(keys, detected, BACK) == reached[::-1]


def _holds(control, reached):
    """The focus of a control may lie on a part of it."""
    return any(control.isAncestorOf(part) for part in reached)


def test_the_ring_is_seen_and_only_for_the_keyboard(detected, qtbot, keys):
    settle(qtbot, detected)
    active(detected.viewer, qtbot)
    qtbot.mouseClick(detected.form.model_says, Qt.MouseButton.LeftButton)
    detected.form.rows["closing_radius"].box.setFocus(Qt.FocusReason.MouseFocusReason)
    assert detected.ring is None
    keys(Qt.Key.Key_F6)  # to the canvas
    assert detected.ring is None
    control = detected.run.native

    def looks():
        return control.parent().grab(control.geometry()).toImage()

    before = looks()
    keys(Qt.Key.Key_F6)
    go_to(keys, control, BACK)
    assert detected.ring.geometry() == control.geometry() and looks() != before
    control.setEnabled(False)
    control.setEnabled(True)
    assert detected.ring is not None, "it goes on where it was"
    qtbot.mouseClick(detected.form.rows["area_fraction"].handle, Qt.MouseButton.LeftButton)
    assert detected.ring is None
    settle(qtbot, detected)


@pytest.mark.parametrize("name", ["Train a model", "Evaluate a cohort"])
def test_tab_reaches_every_control_of_the_other_docks(viewer, installed_model, qtbot, keys, name):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", name)
    viewer.window.resize(1366, 600)
    qtbot.waitUntil(dock.isVisible)
    active(viewer, qtbot)
    for page in range(dock.tabs.count()):
        if not dock.tabs.isTabEnabled(page):
            continue
        dock.tabs.setCurrentIndex(page)
        dock.go_here(dock.tabs.tabBar())
        dock.tabs.tabBar().setFocus(Qt.FocusReason.TabFocusReason)
        dock.go_here(dock.tabs.tabBar())
        reached = walk(keys, dock, TAB)
        missing = [
            part
            for part in controls_of(dock)
            if part.isEnabled() and part not in reached and not _holds(part, reached)
        ]
        assert [name_of(part) for part in missing] == []
