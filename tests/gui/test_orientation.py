"""Which side is which: pictures of a patient with one bright blob, whose place nibabel knows."""

from __future__ import annotations

import warnings

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cead.contributions.layers import to_layer_data
from napari_cead.errors import CeadWarning
from napari_cead.patients import load_patient
from napari_cead.widgets.canvas.orientation import Orientation
from napari_cead.widgets.canvas.scale_bar import ScaleBar
from napari_cead.widgets.canvas.view_row import ViewRow
from napari_cead.widgets.common.anatomy import CONVENTIONS, CUTS, Marks
from napari_cead.widgets.common.preferences import preferences
from scans import write_nifti

BLOB = np.array([12.0, 12.0, 12.0])
"""Of the patient, in RAS millimetres: right, anterior, superior."""

AFFINES = {
    "RAS": np.diag([1.2, 1.0, 1.5, 1.0]),
    "LPS": np.diag([-1.2, -1.0, 1.5, 1.0]),
    "SLA": np.array([[0, -1.0, 0, 0], [0, 0, 1.2, 0], [1.5, 0, 0, 0], [0, 0, 0, 1]]),
}


def make_patient(folder, axes="RAS", oriented=True):
    """An ellipsoid around the origin with the blob in it."""
    shape = np.array((44, 46, 42))
    affine = AFFINES[axes].copy()
    affine[:3, 3] = -affine[:3, :3] @ (shape - 1) / 2
    index = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), axis=-1)
    world = nib.affines.apply_affine(affine, index)
    volume = np.where(((world / (22, 20, 24)) ** 2).sum(-1) < 1, 60, 0).astype(np.float32)
    volume[((world - BLOB) ** 2).sum(-1) < 30] = 255
    path = write_nifti(folder / f"flair_{axes}.nii.gz", volume, affine if oriented else None, oriented)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)  # of the name, and of the missing orientation
        return load_patient(path)


def show(viewer, patient):
    for data, keywords, kind in to_layer_data(patient):
        viewer.add_layer(Layer.create(data, keywords, kind))
    z, y, x = (np.mean(where) for where in np.nonzero(patient.volume() > 200))
    viewer.dims.set_point((0, 1, 2), np.multiply((z, y, x), patient.spacing))


def offset(viewer):
    """Where the blob is relative to the brain in a picture of the canvas, as (right, up)."""
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].mean(axis=-1)
    height, width = picture.shape
    inner = picture[height // 10 : -height // 10, width // 10 : -width // 10]  # without the marks
    (brain_y, brain_x), (blob_y, blob_x) = (
        [where.mean() for where in np.nonzero(found)] for found in (inner > 30, inner > 200)
    )
    return blob_x - brain_x, brain_y - blob_y


def written(viewer):
    """The marks as the canvas has them."""
    overlays = viewer.canvas.overlays
    edges = ("top", "bottom", "left", "right")
    if not all(f"direction_{edge}" in overlays and overlays[f"direction_{edge}"].visible for edge in edges):
        return None
    return Marks(*(overlays[f"direction_{edge}"].text for edge in edges))


def orientation_of(viewer):
    return tuple(str(way) for way in viewer.scene.camera.orientation)


@pytest.fixture
def dock(viewer):
    """A dock with the orientation, the scale bar and their row."""
    return add_dock(viewer, "dock")


def add_dock(viewer, name):
    widget = QWidget()
    widget.orientation = Orientation(viewer, widget)
    widget.scale_bar = ScaleBar(viewer, widget)
    widget.row = ViewRow(widget.orientation, lambda: None, widget)
    QVBoxLayout(widget).addWidget(widget.row)
    viewer.window.add_dock_widget(widget, name=name)
    return widget


@pytest.mark.parametrize("axes", AFFINES)
def test_the_blob_is_where_the_marks_say(viewer, dock, tmp_path, axes):
    show(viewer, make_patient(tmp_path, axes))
    for convention in CONVENTIONS:
        dock.orientation.convention = convention
        for cut in CUTS:
            dock.orientation.show_cut(cut)
            right, up = offset(viewer)
            seen = written(viewer)
            assert (seen.right if right > 0 else seen.left) == ("A" if cut == "sagittal" else "R")
            assert (seen.top if up > 0 else seen.bottom) == ("A" if cut == "axial" else "S")
            assert min(abs(right), abs(up)) > 20
            if cut != "sagittal":
                assert (right < 0) == (convention == "radiological")
            assert up > 0


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_marks_follow_rolling_transposing_and_flips_by_others(viewer, dock, tmp_path, convention):
    show(viewer, make_patient(tmp_path))
    dock.orientation.convention = convention
    letters = {0: "S", 1: "A", 2: "R"}  # where the blob lies along z, y and x

    def check():
        right, up = offset(viewer)
        vertical, horizontal = viewer.dims.displayed
        seen = written(viewer)
        assert (seen.right if right > 0 else seen.left) == letters[horizontal]
        assert (seen.top if up > 0 else seen.bottom) == letters[vertical]

    for _ in range(3):
        viewer.dims.roll()
        check()
        viewer.dims.transpose()
        check()
        viewer.dims.transpose()
    viewer.scene.camera.orientation2d = ("up", "left")
    check()
    viewer.scene.camera.orientation2d = ("down", "right")
    check()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_3d_is_no_mirror_image(viewer, dock, tmp_path, convention, order):
    """The screen's right, from napari's view and up directions in the patient's right-handed world."""
    show(viewer, make_patient(tmp_path))
    dock.orientation.convention = convention
    viewer.dims.order = order
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    assert written(viewer) is None
    camera = viewer.scene.camera
    camera.angles = (15, -25, 35)
    displayed = viewer.dims.displayed

    def ras(direction):
        z, y, x = direction
        return np.array((-x, -y, z))

    view = ras(camera.calculate_nd_view_direction(3, displayed))
    up = ras(camera.calculate_nd_up_direction(3, displayed))
    expected = np.array((BLOB @ np.cross(view, up), BLOB @ up))
    seen = np.array(offset(viewer))
    assert min(abs(expected)) > 1
    np.testing.assert_allclose(seen / np.linalg.norm(seen), expected / np.linalg.norm(expected), atol=0.15)


def test_the_marks_can_be_read_on_black_and_on_white(viewer, dock, tmp_path):
    patient = make_patient(tmp_path)
    show(viewer, patient)

    def contrast():
        picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].mean(axis=-1)
        height = picture.shape[0]
        mark = picture[height // 2 - 15 : height // 2 + 15, :30]
        return mark.max() - np.median(mark)

    viewer.theme = "dark"
    assert contrast() > 150
    viewer.theme = "light"
    viewer.layers[0].contrast_limits = (-1e6, -1e5)  # all white
    assert contrast() > 120


def test_without_a_known_orientation_there_are_no_marks_and_nothing_turns(viewer, dock, tmp_path):
    before = orientation_of(viewer)
    viewer.add_image(np.random.default_rng(0).random((4, 20, 20)))
    assert written(viewer) is None
    viewer.layers.clear()
    dock.orientation.convention = "neurological"
    show(viewer, make_patient(tmp_path, oriented=False))
    assert written(viewer) is None
    assert orientation_of(viewer) == before


def test_marks_go_with_what_is_shown(viewer, dock, tmp_path):
    before = orientation_of(viewer)
    show(viewer, make_patient(tmp_path))
    layer = viewer.layers[0]
    assert written(viewer) == Marks("A", "P", "R", "L")
    layer.visible = False
    assert written(viewer) is None
    assert orientation_of(viewer) == before
    layer.visible = True
    assert written(viewer) == Marks("A", "P", "R", "L")
    layer.rotate = 30  # the transform tool: left and right are not at the edges any more
    assert written(viewer) is None
    layer.rotate = 0
    assert written(viewer) is not None
    viewer.layers.clear()
    assert written(viewer) is None
    assert orientation_of(viewer) == before


def test_in_the_grid_every_cell_turns_and_has_its_sides_marked(viewer, dock, tmp_path):
    patient = make_patient(tmp_path)
    show(viewer, patient)
    viewer.add_image(patient.volume(), scale=patient.spacing, units=("mm",) * 3)
    viewer.canvas.grid.enabled = True
    viewer.screenshot(canvas_only=True, flash=False)  # the cells have no size before they are drawn
    viewer.reset_view()
    dock.orientation.convention = "neurological"
    sides = [viewer.canvas.overlays[f"direction_{edge}"] for edge in ("left", "right")]
    assert [(mark.text, mark.visible, mark.gridded) for mark in sides] == [
        ("L", True, True),
        ("R", True, True),
    ]
    # The names of the cells are at the top.
    assert not any(viewer.canvas.overlays[f"direction_{edge}"].visible for edge in ("top", "bottom"))
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., 0]
    half = picture.shape[1] // 2
    for cell in (picture[40:-40, 30:half], picture[40:-40, half:-30]):
        assert np.nonzero(cell > 200)[1].mean() > np.nonzero(cell > 30)[1].mean() + 10


def test_the_viewer_comes_back_as_it_was(viewer, dock, tmp_path, qtbot):
    show(viewer, make_patient(tmp_path))
    dock.orientation.convention = "neurological"
    assert viewer.canvas.overlays.scale_bar.visible
    viewer.window.remove_dock_widget(dock)
    assert orientation_of(viewer) == ("towards", "down", "right")
    assert not any(name.startswith("direction") for name in viewer.canvas.overlays)
    assert not viewer.canvas.overlays.scale_bar.visible
    viewer.dims.roll()
    assert orientation_of(viewer) == ("towards", "down", "right")
    again = add_dock(viewer, "again")
    assert written(viewer) is not None
    assert again.orientation.cut == "sagittal"


def test_of_two_docks_one_marks_the_canvas(viewer, dock, tmp_path):
    show(viewer, make_patient(tmp_path))
    other = add_dock(viewer, "other")
    assert written(viewer) == Marks("A", "P", "R", "L")
    viewer.window.remove_dock_widget(dock)
    assert written(viewer) == Marks("A", "P", "R", "L")
    viewer.window.remove_dock_widget(other)
    assert written(viewer) is None
    assert orientation_of(viewer) == ("towards", "down", "right")


def test_moving_through_slices_touches_no_mark(viewer, dock, tmp_path):
    show(viewer, make_patient(tmp_path))
    changed = []
    for name in ("top", "left"):
        viewer.canvas.overlays[f"direction_{name}"].events.connect(changed.append)
    viewer.scene.camera.events.orientation.connect(changed.append)
    for z in range(5):
        viewer.dims.set_current_step(0, z)
    assert changed == []


def test_the_row_chooses_cut_and_convention_and_keeps_it(viewer, plugin_settings, npe2pm, tmp_path, qtbot):
    from napari.settings import get_plugin_settings

    dock = add_dock(viewer, "dock")
    show(viewer, make_patient(tmp_path))
    row = dock.row
    assert row.cuts["axial"].isChecked()
    qtbot.mouseClick(row.cuts["coronal"], Qt.MouseButton.LeftButton)
    assert [cut for cut, button in row.cuts.items() if button.isChecked()] == ["coronal"]
    assert written(viewer) == Marks("S", "I", "R", "L")
    viewer.dims.order = (2, 0, 1)
    assert [cut for cut, button in row.cuts.items() if button.isChecked()] == ["sagittal"]
    viewer.dims.ndisplay = 3
    assert not any(button.isChecked() for button in row.cuts.values())
    qtbot.mouseClick(row.cuts["axial"], Qt.MouseButton.LeftButton)
    assert viewer.dims.ndisplay == 2
    row.convention.setFocus()
    qtbot.keyClick(row.convention, Qt.Key.Key_Down)
    assert written(viewer) == Marks("A", "P", "L", "R")
    assert preferences().convention == "neurological"
    get_plugin_settings("napari-cead").explore.convention = "radiological"
    assert written(viewer) == Marks("A", "P", "R", "L")
    assert row.convention.currentData() == "radiological"


def test_the_scale_bar_is_the_users_in_between(viewer, dock, tmp_path):
    bar = viewer.canvas.overlays.scale_bar
    assert not bar.visible
    show(viewer, make_patient(tmp_path))
    assert bar.visible
    assert {str(unit) for unit in viewer.layers.units} == {"millimeter"}
    bar.visible = False
    show(viewer, make_patient(tmp_path, "LPS"))
    assert not bar.visible


def test_closing_napari_with_the_dock_open_is_quiet(viewer, dock, tmp_path, qtbot):
    show(viewer, make_patient(tmp_path))
    assert written(viewer) is not None
    viewer.close()
