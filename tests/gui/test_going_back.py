"""The patient before comes back with one click, as it was left."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils.notifications import show_warning

from dock_driving import click, layers_of, run, settle, shown_mask
from napari_cead.widgets.common.messages import TOGETHER_S
from scans import make_brain, write_nifti


@pytest.fixture
def folder(tmp_path):
    """Writes a patient of some slices, some mm apart, with a lesion mask; returns its folder."""

    def write(name, slices, apart):
        volume, lesion = make_brain((slices, 60, 50), seed=slices)
        for file, data in (("flair", volume), ("seg", lesion.astype(np.uint8))):
            write_nifti(tmp_path / name / f"{file}.nii.gz", data.T, np.diag([-0.9, -0.95, apart, 1]))
        return tmp_path / name

    return write


def open_and_run(widget, folder, qtbot):
    widget.patient.value = folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and widget.session.patient.name == folder.name)
    settle(qtbot, widget)
    run(qtbot, widget, score="intensity")


def go_back(widget, name, qtbot):
    """Press the button in the message that brings a patient back."""
    (button,) = [one for one in widget.form.messages.buttons if one.text() == f"Back to {name}"]
    click(qtbot, button)
    settle(qtbot, widget)


def assert_shown(widget, name):
    """Dock, session and picture are on the patient and its analysis, at a slice that it has."""
    session, viewer = widget.session, widget.viewer
    assert session.patient.name == name
    assert widget.form.about.text().startswith(name)
    (scan,) = layers_of(widget, "sequence")
    np.testing.assert_array_equal(scan.data, session.patient.volume())
    (mask,) = layers_of(widget, "detected mask")
    np.testing.assert_array_equal(shown_mask(mask), session.mask)
    assert widget.layers.current_slice() == round(viewer.dims.point[0] / session.patient.spacing[0])
    assert widget.dice_label.value.startswith("slice")


def test_back_and_forth_between_patients_with_more_and_fewer_slices(widget, folder, qtbot):
    open_and_run(widget, folder("many", 30, 1), qtbot)
    open_and_run(widget, folder("few", 8, 6), qtbot)
    go_back(widget, "many", qtbot)
    assert_shown(widget, "many")
    widget.layers.go_to(29, 30, 25)
    go_back(widget, "few", qtbot)
    assert_shown(widget, "few")
    go_back(widget, "many", qtbot)
    assert_shown(widget, "many")


def look_at(widget, z, zoom, shift):
    """Go to a slice and move the camera; return where the viewer looks now."""
    camera = widget.viewer.scene.camera
    widget.layers.go_to(z, 20, 25)
    camera.zoom *= zoom
    camera.center = tuple(place + shift for place in camera.center)
    return view_of(widget)


def view_of(widget):
    camera = widget.viewer.scene.camera
    return [widget.layers.current_slice(), camera.zoom, *camera.center[-2:]]


def test_back_lands_on_the_slice_and_the_camera_that_were_left(widget, folder, qtbot):
    open_and_run(widget, folder("many", 30, 1), qtbot)
    many = look_at(widget, 27, 2.5, 4)
    open_and_run(widget, folder("few", 8, 6), qtbot)
    assert view_of(widget)[1:] != pytest.approx(many[1:]), "a new patient is seen as a whole"
    few = look_at(widget, 6, 1.5, -3)
    go_back(widget, "many", qtbot)
    assert view_of(widget) == pytest.approx(many)
    many = look_at(widget, 3, 0.8, 1)
    go_back(widget, "few", qtbot)
    assert view_of(widget) == pytest.approx(few)
    go_back(widget, "many", qtbot)
    assert view_of(widget) == pytest.approx(many)
    assert_shown(widget, "many")


def test_back_from_side_by_side_has_the_camera_of_one(widget, folder, qtbot):
    open_and_run(widget, folder("many", 30, 1), qtbot)
    run(qtbot, widget, score="squared")
    many = look_at(widget, 20, 2, 2)
    widget.form.tabs.setCurrentWidget(widget.form.comparison)
    click(qtbot, widget.form.comparison.side_by_side)
    settle(qtbot, widget)
    open_and_run(widget, folder("few", 8, 6), qtbot)
    go_back(widget, "many", qtbot)
    assert view_of(widget) == pytest.approx(many)


def test_the_dock_names_a_patient_whose_picture_fails(widget, folder, qtbot, monkeypatch):
    def fail(patient):
        raise RuntimeError

    monkeypatch.setattr(widget.layers, "show_patient", fail)
    with qtbot.captureExceptions() as caught:
        widget.patient.value = folder("one", 8, 2)
        settle(qtbot, widget)
    assert [kind for kind, *_ in caught] == [RuntimeError]
    assert widget.form.about.text().startswith("one")
    assert widget.run.enabled


def test_a_later_warning_does_not_take_the_way_back(widget, folder, qtbot):
    open_and_run(widget, folder("first", 12, 1), qtbot)
    open_and_run(widget, folder("second", 10, 1), qtbot)
    qtbot.wait(round(1000 * TOGETHER_S) + 100)  # what follows at once stands beside it anyway
    show_warning("The head is larger than the model's image.")
    qtbot.waitUntil(lambda: "larger" in widget.form.messages.words.text())
    assert "has taken the place" not in widget.form.messages.words.text()
    go_back(widget, "first", qtbot)
    assert_shown(widget, "first")
    assert [button.text() for button in widget.form.messages.buttons] == ["Back to second"]
