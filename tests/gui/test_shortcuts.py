"""Keys pressed on the canvas and in the dock reach what they are for, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from napari.settings import get_settings
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit, QPushButton, QSlider, QTextEdit, QVBoxLayout, QWidget

from napari_cead.exploring.lesions import LesionRow, LesionTable
from napari_cead.widgets.common.controls import NumberBox
from napari_cead.widgets.explore.compare_panel import ComparePanel
from napari_cead.widgets.explore.help import HelpDialog
from napari_cead.widgets.explore.lesion_list import LesionList
from napari_cead.widgets.explore.queue_table import QueueTable
from napari_cead.widgets.explore.shortcuts import NAPARI_SHORTCUTS, SHORTCUTS, Shortcuts

LAYERS = ("image", "labels", "points", "shapes")


def press(qtbot, widget, shortcut):
    *modifiers, key = shortcut.key.split("-")
    shift = Qt.KeyboardModifier.ShiftModifier if modifiers else Qt.KeyboardModifier.NoModifier
    qtbot.keyClick(widget, Qt.Key[f"Key_{key}"], shift)


def canvas_of(viewer):
    return viewer.window._qt_viewer.canvas.native


class Dock(QWidget):
    """A widget with one of everything, whose keys are written down in ``done``."""

    def __init__(self, viewer, only=None):
        super().__init__()
        self.done = []
        self.box, self.line, self.text = NumberBox(), QLineEdit(), QTextEdit()
        self.button, self.slider, self.combo = QPushButton("b"), QSlider(), QComboBox()
        self.combo.addItems(["one", "two"])
        column = QVBoxLayout(self)
        for widget in (self.box, self.line, self.text, self.button, self.slider, self.combo, QLabel("label")):
            column.addWidget(widget)
        actions = [shortcut.action for shortcut in SHORTCUTS] if only is None else only
        self.keys = Shortcuts(
            viewer, self, {action: lambda action=action: self.done.append(action) for action in actions}
        )


@pytest.fixture
def dock(viewer):
    dock = Dock(viewer)
    viewer.window.add_dock_widget(dock, name="dock")
    return dock


def add_layer(viewer, kind):
    data = np.zeros((4, 30, 30))
    if kind == "image":
        return viewer.add_image(data)
    if kind == "labels":
        return viewer.add_labels(data.astype(np.uint8))
    return viewer.add_points(ndim=3) if kind == "points" else viewer.add_shapes(ndim=3)


def test_no_key_is_one_of_naparis():
    """Neither of the viewer, nor of a layer, nor of a menu."""
    taken = {str(key).replace("+", "-") for keys in default_shortcuts.values() for key in keys}
    ours = {shortcut.key for shortcut in SHORTCUTS}
    assert not ours & taken
    from napari.layers import Image, Labels, Points, Shapes
    from napari.viewer import Viewer

    for kind in (Image, Labels, Points, Shapes, Viewer):
        for base in kind.__mro__:
            bound = {str(key).replace("+", "-") for key in getattr(base, "class_keymap", {})}
            assert not ours & bound


def test_no_key_is_one_of_a_menu(viewer):
    from napari._app_model import get_app_model

    menus = {str(binding.keybinding).lower() for binding in get_app_model().keybindings}
    assert len(menus) > 10
    assert not menus & {shortcut.label.lower() for shortcut in SHORTCUTS}


def test_the_help_tells_naparis_keys_as_they_are():
    for shortcut in NAPARI_SHORTCUTS:
        assert shortcut.key in {str(key).replace("+", "-") for key in default_shortcuts[shortcut.action]}


@pytest.mark.parametrize("kind", [None, *LAYERS])
def test_keys_work_on_the_canvas_whatever_layer_is_active(viewer, dock, qtbot, kind):
    if kind is not None:
        viewer.layers.selection.active = add_layer(viewer, kind)
    canvas_of(viewer).setFocus()
    for shortcut in SHORTCUTS:
        press(qtbot, canvas_of(viewer), shortcut)
    assert dock.done == [shortcut.action for shortcut in SHORTCUTS]


def test_keys_work_in_the_dock_where_nothing_is_typed(viewer, dock, qtbot):
    for widget in (dock.button, dock.slider):
        widget.setFocus()
        dock.done.clear()
        for shortcut in SHORTCUTS:
            press(qtbot, widget, shortcut)
        assert dock.done == [shortcut.action for shortcut in SHORTCUTS]


@pytest.mark.parametrize("table", ["lesions", "analyses", "queue"])
def test_keys_work_where_a_row_is_selected(viewer, dock, qtbot, table):
    tables = {"lesions": LesionList, "analyses": ComparePanel, "queue": QueueTable}
    widget = tables[table]()
    dock.layout().addWidget(widget)
    if table == "lesions":
        widget.set_rows(LesionTable((LesionRow(1, 90.0, True, 9.0, (5, 5, 6)),), (), None))
        widget.reference.view.selectRow(0)
    view = {
        "lesions": lambda: widget.reference.view,
        "analyses": lambda: widget.view,
        "queue": lambda: widget,
    }[table]()
    view.setFocus()
    for shortcut in SHORTCUTS:
        press(qtbot, view, shortcut)
    assert dock.done == [shortcut.action for shortcut in SHORTCUTS]


def test_what_is_typed_stays_typed(viewer, dock, qtbot):
    for widget in (dock.line, dock.text):
        widget.setFocus()
        for shortcut in SHORTCUTS:
            if shortcut.key not in ("F1", "F6"):  # which type nothing
                press(qtbot, widget, shortcut)
    assert dock.done == []
    assert dock.line.text().lower() == dock.text.toPlainText().lower() == "nnkjkjhgwqouurc"
    dock.box.setFocus()
    dock.box.selectAll()
    qtbot.keyClicks(dock.box, "12,5nkgu")
    assert dock.box.value() == 12.5
    dock.combo.setFocus()
    qtbot.keyClicks(dock.combo, "n")
    assert dock.done == []


def test_a_key_held_down_acts_once(viewer, dock, qtbot):
    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QApplication

    for repeated in (False, True, True):
        event = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_U, Qt.KeyboardModifier.NoModifier, "u", repeated)
        QApplication.sendEvent(canvas_of(viewer), event)
    assert dock.done == ["undo"]


def test_keys_are_free_again_when_the_dock_goes(viewer, dock, qtbot):
    viewer.window.remove_dock_widget(dock)
    press(qtbot, canvas_of(viewer), SHORTCUTS[0])
    assert dock.done == []
    again = Dock(viewer)
    viewer.window.add_dock_widget(again, name="again")
    press(qtbot, canvas_of(viewer), SHORTCUTS[0])
    assert (dock.done, again.done) == ([], ["next_lesion"])


@pytest.mark.parametrize("first_to_go", [0, 1])
def test_two_docks_share_the_keys(viewer, dock, qtbot, first_to_go):
    docks = [dock, Dock(viewer)]
    viewer.window.add_dock_widget(docks[1], name="second")
    press(qtbot, canvas_of(viewer), SHORTCUTS[0])
    assert (docks[0].done, docks[1].done) == ([], ["next_lesion"])
    docks[1].done.clear()
    viewer.window.remove_dock_widget(docks[first_to_go])
    press(qtbot, canvas_of(viewer), SHORTCUTS[0])
    assert docks[first_to_go].done == []
    assert docks[1 - first_to_go].done == ["next_lesion"]
    viewer.window.remove_dock_widget(docks[1 - first_to_go])
    press(qtbot, canvas_of(viewer), SHORTCUTS[0])
    assert docks[1 - first_to_go].done == ["next_lesion"]
    assert not viewer.keymap


def test_what_the_user_bound_before_comes_back(viewer, qtbot):
    own = []
    viewer.bind_key("N", lambda _: own.append("own"))
    dock = Dock(viewer)
    viewer.window.add_dock_widget(dock, name="dock")
    press(qtbot, canvas_of(viewer), SHORTCUTS[0])
    viewer.window.remove_dock_widget(dock)
    press(qtbot, canvas_of(viewer), SHORTCUTS[0])
    assert (dock.done, own) == (["next_lesion"], ["own"])


def test_a_key_that_the_user_gave_to_napari_stays_there(viewer):
    settings = get_settings().shortcuts
    settings.shortcuts = {**settings.shortcuts, "napari:toggle_grid": ["H"]}
    dock = Dock(viewer)
    assert "toggle_map" not in {shortcut.action for shortcut in dock.keys.bound}
    assert len(dock.keys.bound) == len(SHORTCUTS) - 1


def test_only_what_there_is_an_action_for_is_bound(viewer):
    dock = Dock(viewer, only=["run", "help"])
    assert [shortcut.action for shortcut in dock.keys.bound] == ["run", "help"]
    with pytest.raises(KeyError, match="fly"):
        Shortcuts(viewer, dock, {"fly": lambda: None})


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_help_shows_the_keys_and_can_be_read(viewer, dock, qtbot, theme):
    viewer.theme = theme
    dialog = HelpDialog(dock, dock.keys.bound)
    dialog.show()
    qtbot.waitExposed(dialog)
    text = dialog.page.toPlainText()
    for shortcut in dock.keys.bound:
        assert text.count(f"{shortcut.text}\n") == 1
    picture = dialog.page.viewport().grab().toImage()
    grey = np.array(
        [
            picture.pixelColor(x, y).lightness()
            for x in range(0, picture.width(), 2)
            for y in range(0, picture.height(), 2)
        ]
    )
    background = np.median(grey)
    assert (background < 90) == (theme == "dark")
    assert max(grey.max() - background, background - grey.min()) > 130
    with qtbot.waitSignal(dialog.destroyed):
        qtbot.keyClick(dialog, Qt.Key.Key_Escape)
