"""The first minutes in a real window: a drop, a look, a run, and nothing that moves or changes by itself."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import tifffile
from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
from napari.settings import get_settings
from napari.utils.notifications import notification_manager, show_warning
from PIL import Image
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QStyle,
    QStyleOptionSlider,
    QTabBar,
    QWidget,
)

from dock_driving import LEFT, Still, click, drag, export, layers_of, run, settle
from layout_faults import faults
from napari_cead.contributions import default_reader
from napari_cead.contributions.default_reader import become_reader, is_reader
from napari_cead.contributions.layers import tag_of
from napari_cead.detection import saving
from napari_cead.errors import Cancelled, PatientError
from napari_cead.exploring import session
from napari_cead.patients import load_patient
from napari_cead.widgets import EvaluateWidget, TrainWidget
from napari_cead.widgets.canvas.figure import caption
from napari_cead.widgets.common.docks import bare
from napari_cead.widgets.common.texts import tip
from napari_cead.widgets.explore import patient_source
from napari_cead.widgets.explore.recent import recent
from napari_cead.zoo import models_folder
from scanners import write_dicom
from scans import make_brain, write_nifti

SHARES_DOCK = True
AFFINE = np.diag([-0.9, -1.1, 2.0, 1.0])


@pytest.fixture
def readers(npe2pm, viewer, monkeypatch):
    """napari's builtins and another reader of NIfTI beside ours; the dialogs that ask which one to take."""
    asked = []
    monkeypatch.setattr(
        QtReaderDialog, "get_user_choices", lambda self: asked.append(self.windowTitle()) or ("", False)
    )
    with npe2pm.tmp_plugin(package="napari"), npe2pm.tmp_plugin(package="napari-nifti"):
        yield asked


def drop(target, *paths):
    """Drop files onto a widget, as the window system does: they enter, and are let go."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    action, no_key = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(20, 20), action, data, LEFT, no_key)
    QApplication.sendEvent(target, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(target, QDropEvent(QPointF(20, 20), action, data, LEFT, no_key))


def canvas_of(viewer):
    return bare(viewer).window._qt_viewer


def opened(qtbot, widget, name):
    qtbot.waitUntil(
        lambda: (
            widget.session.patient is not None
            and widget.session.patient.name == name
            and not widget.running
            and name in widget.form.about.text()
        )
    )


def scan(folder, name="flair.nii.gz", seed=0, shape=(12, 60, 50)):
    volume, lesion = make_brain(shape, seed)
    write_nifti(folder / name, np.round(volume.T).astype(np.int16), AFFINE)
    write_nifti(folder / "seg.nii.gz", lesion.T.astype(np.uint8), AFFINE)
    return folder


def test_whatever_is_dropped_is_taken_by_the_dock_and_no_dialog_asks(
    widget, readers, patient_folder, tmp_path, qtbot
):
    viewer, pixels = widget.viewer, np.round(make_brain()[0].T).astype(np.int16)
    welcome = canvas_of(viewer)._welcome_widget
    drop(welcome, patient_folder)
    assert welcome.property("drag") is False, "the highlight of the drag ends with it"
    opened(qtbot, widget, "Mets_001")
    single = write_nifti(tmp_path / "anna_flair.nii.gz", pixels, AFFINE)
    slices = write_dicom(tmp_path / "berta", pixels, AFFINE)
    with zipfile.ZipFile(tmp_path / "carla.zip", "w") as archive:
        archive.write(single, "carla/flair.nii.gz")
    whole = scan(tmp_path / "dora")
    files = sorted(whole.iterdir())
    for paths in ([single], [tmp_path / "berta"], slices, [tmp_path / "carla.zip"], files):
        before = widget.session.patient
        drop(canvas_of(viewer), *paths)
        qtbot.waitUntil(lambda old=before: widget.session.patient is not old and not widget.running)
        sequences = layers_of(widget, "sequence")
        assert [layer.name for layer in sequences] == [widget.session.patient.sequence]
        np.testing.assert_allclose(sequences[0].scale, (2.0, 1.1, 0.9), rtol=1e-5)
    assert widget.session.patient.lesion_mask is not None, "dropped with its mask"
    drop(widget, patient_folder)  # the dock itself takes a drop as well
    opened(qtbot, widget, "Mets_001")
    assert readers == []


def test_of_several_patients_the_first_is_shown_and_the_others_are_in_reach(widget, readers, tmp_path, qtbot):
    folders = [scan(tmp_path / name, seed=seed) for seed, name in enumerate(("eva", "fritz", "gina"))]
    drop(canvas_of(widget.viewer), *folders)
    opened(qtbot, widget, "eva")
    assert [layer.name for layer in layers_of(widget, "sequence")] == ["flair"]
    assert recent()[:3] == folders
    texts = [widget.form.recent.itemText(index) for index in range(widget.form.recent.count())]
    widget.form.open_more.click()
    widget.form.recent.setFocus()
    widget.form.recent.setCurrentIndex(texts.index(next(text for text in texts if text.endswith("gina"))))
    widget.form.recent.activated.emit(widget.form.recent.currentIndex())
    opened(qtbot, widget, "gina")
    assert readers == []


def test_what_is_no_scan_is_left_to_napari(widget, readers, tmp_path, qtbot):
    tifffile.imwrite(tmp_path / "x.tif", np.ones((5, 5), np.uint8))
    drop(canvas_of(widget.viewer), tmp_path / "x.tif")
    assert [layer.name for layer in widget.viewer.layers] == ["x"]
    assert widget.session.patient is None and not widget.running


def test_one_click_makes_napari_open_scans_without_the_dock(viewer, readers, widget, tmp_path, qtbot):
    settings = get_settings().plugins
    settings.extension2reader = {"*.gz": "napari"}
    single = write_nifti(tmp_path / "anna_flair.nii.gz", np.round(make_brain()[0].T).astype(np.int16), AFFINE)
    widget.source._show_hint()
    assert widget.form.hint.isVisible() and not is_reader()
    qtbot.mouseClick(widget.form.hint, LEFT, pos=widget.form.hint.rect().bottomLeft() + QPoint(30, -8))
    if not is_reader():  # where the link lies depends on the fonts
        widget.form.hint.linkActivated.emit("reader")
    assert is_reader() and not widget.form.hint.isVisible()
    assert settings.extension2reader["*.gz"] == "napari", "what the user chose stays"
    viewer.window.remove_dock_widget(widget)
    qtbot.wait(50)
    drop(canvas_of(viewer), single)
    assert [tag_of(layer).role for layer in viewer.layers] == ["sequence"]
    assert readers == []
    become_reader()
    assert list(settings.extension2reader)[-1] == "*.gz"


def test_the_first_scan_without_the_dock_comes_with_the_offer(viewer, tmp_path, monkeypatch, notified, qtbot):
    """Once, in a notification that lies in the window with its button whole."""
    monkeypatch.setattr(default_reader, "_offered", False)
    show = NapariQtNotification.show_notification  # which napari connects where its own loop runs
    notification_manager.notification_ready.connect(show)
    viewer.window.resize(1366, 768)
    single = write_nifti(tmp_path / "anna_flair.nii.gz", np.round(make_brain()[0].T).astype(np.int16), AFFINE)
    try:
        for _ in range(2):
            drop(canvas_of(viewer), single)
        qtbot.waitUntil(lambda: notified != [])
        qtbot.waitUntil(lambda: NapariQtNotification._instances != [])
        assert [severity for severity, _ in notified] == ["info"], "once"
        (toast,) = NapariQtNotification._instances
        qtbot.waitUntil(lambda: toast.geom_anim.state() == toast.geom_anim.State.Stopped)
        assert toast.parent().rect().contains(toast.geometry())
        (button,) = (each for each in toast.findChildren(QPushButton) if each.text())
        assert button.visibleRegion().boundingRect() == button.rect()
        assert faults(toast) == []
        click(qtbot, button)
        assert is_reader()
    finally:
        notification_manager.notification_ready.disconnect(show)
        for toast in list(NapariQtNotification._instances):
            toast.close()


def test_a_new_patient_takes_the_place_of_the_old_one_and_goes_back(
    detected, patient_folder, tmp_path, qtbot
):
    viewer, first = detected.viewer, detected.session.patient
    drag(qtbot, detected.threshold, 0.4)
    settle(qtbot, detected)
    made, mask, settings = detected.session.analysis.key, detected.session.mask, detected.session.params
    viewer.scene.camera.zoom *= 3
    (reference,) = layers_of(detected, "lesion mask")
    reference.data[0, :3, :3] = 1  # somebody repaired the reference
    thick = scan(tmp_path / "thick", shape=(7, 60, 50), seed=4)
    drop(canvas_of(viewer), thick)
    opened(qtbot, detected, "thick")
    settle(qtbot, detected)
    assert [layer.name for layer in viewer.layers] == ["flair", "lesion mask"]
    assert viewer.dims.range[0].stop == 6 * 2.0
    lesion = detected.session.patient.lesion_mask
    assert detected.layers.current_slice() == lesion.sum(axis=(1, 2)).argmax()
    corner = viewer.scene.camera.center[-2:], viewer.scene.camera.zoom
    viewer.reset_view()
    np.testing.assert_allclose(corner[0], viewer.scene.camera.center[-2:])
    assert corner[1] == pytest.approx(viewer.scene.camera.zoom, rel=0.05)
    (back,) = [button for button in detected.form.messages.buttons if "Back" in button.text()]
    click(qtbot, back)
    qtbot.waitUntil(lambda: detected.session.patient is first and not detected.running)
    assert layers_of(detected, "lesion mask") == [reference]
    assert reference.data[0, 1, 1] == 1
    assert "thick" not in {tag_of(layer).patient.name for layer in viewer.layers}
    settle(qtbot, detected)
    assert detected.session.analysis.key == made and detected.session.params == settings
    assert detected.threshold.value == pytest.approx(settings.threshold, abs=0.001)
    (shown,) = layers_of(detected, "detected mask")
    np.testing.assert_array_equal(shown.data > 0, mask)


def test_names_do_not_pile_up_when_napari_opens_the_next_patient(detected, tmp_path, qtbot):
    for name in ("one", "two"):
        detected.viewer.open(str(scan(tmp_path / name)), plugin="napari-cead")
        opened(qtbot, detected, name)
    assert [layer.name for layer in detected.viewer.layers] == ["flair", "lesion mask"]


def test_without_a_reference_the_slice_with_most_brain_is_shown(widget, tmp_path, qtbot):
    volume = make_brain()[0]
    volume[:9] *= np.linspace(0.0, 1.0, 60)[None, :, None] > 0.6
    path = write_nifti(tmp_path / "anna_flair.nii.gz", np.round(volume.T).astype(np.int16), AFFINE)
    drop(canvas_of(widget.viewer), path)
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.running)
    shown = widget.session.patient.volume()
    assert widget.layers.current_slice() == (shown > 0).sum(axis=(1, 2)).argmax()


@pytest.mark.parametrize("keep", [False, True])
def test_settings_go_on_to_the_next_patient_only_if_asked_to(detected, tmp_path, qtbot, keep):
    suggested = detected.threshold.value
    detected.form.keep.setChecked(keep)
    box = detected.form.rows["threshold"].box
    box.selectAll()
    qtbot.keyClicks(box, "0.333")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    settle(qtbot, detected)
    drop(canvas_of(detected.viewer), scan(tmp_path / "next", seed=3))
    opened(qtbot, detected, "next")
    wanted = 0.333 if keep else suggested
    qtbot.waitUntil(lambda: detected.threshold.value == pytest.approx(wanted))
    run(qtbot, detected)
    assert detected.session.params.threshold == pytest.approx(wanted)


# -- the window ------------------------------------------------------------------------------------------------


def in_sight(widget, part):
    """Whether a part of the dock is whole within what is seen of it without scrolling."""
    part = getattr(part, "native", part)
    area = widget.findChild(QScrollArea).viewport()
    corner = part.mapTo(area, QPoint(0, 0)) if area.isAncestorOf(part) else None
    return (
        corner is not None
        and part.isVisible()
        and area.rect().contains(corner)
        and area.rect().contains(corner + QPoint(part.width() - 1, part.height() - 1))
    )


@pytest.fixture
def small(detected, qtbot):
    """The dock after a run in a window as a notebook's screen has it."""
    detected.viewer.window.resize(1366, 768)
    settle(qtbot, detected)
    detected.findChild(QScrollArea).verticalScrollBar().setValue(0)
    qtbot.wait(100)
    return detected


def test_after_a_run_all_that_is_needed_is_in_sight_on_a_small_screen(small):
    needed = {
        "patient": small.form.about,
        "model": small.model,
        "run": small.run,
        **{name: setting.handle for name, setting in small.form.rows.items()},
        "plot": small.form.plot,
        "dice": small.dice_label,
        "volume": small.volume_label,
        "undo": small.form.undo,
    }
    assert [name for name, part in needed.items() if not in_sight(small, part)] == []
    shown = " ".join(small.on_canvas.text.split())
    assert shown == f"Dice {small.dice_label.value.replace(' ·', '')}"
    assert small.layers.layer("anomaly map").colorbar.visible


@pytest.mark.parametrize("what", ["message", "banner"])
def test_it_stays_in_sight_beside_a_message_or_a_banner(small, qtbot, what):
    if what == "message":
        small.form.messages.show_message(
            "Mets_002 has taken the place of Mets_001.", "info", ("Back to Mets_001", lambda: None)
        )
    else:
        small.form.banner.show_needs(
            "The scan is brighter on one side. A model may take that for a lesion.",
            strip=False,
            even=True,
            use_brain=False,
            register=False,
        )
    shown = small.form.messages if what == "message" else small.form.banner
    qtbot.waitUntil(lambda: shown.isVisible() and shown.height() > 30)
    needed = {"run": small.run, "plot": small.form.plot, "dice": small.dice_label, "undo": small.form.undo}
    needed |= {name: setting.handle for name, setting in small.form.rows.items()}
    assert [name for name, part in needed.items() if not in_sight(small, part)] == []


def test_the_boxes_of_model_and_score_have_their_names_beside_them(small):
    for box in (small.model.native, small.score.native):
        (label,) = [label for label in small.findChildren(QLabel) if label.buddy() is box]
        assert label.text() == box.accessibleName() and in_sight(small, label)
        assert label.width() >= label.sizeHint().width(), "in full"
        assert label.geometry().right() < box.geometry().left()
        assert abs(label.geometry().center().y() - box.geometry().center().y()) <= 2


def meeting_the_eye(dock):
    """Names of the controls that are seen without scrolling."""
    kinds = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QTabBar)
    found = [
        part
        for part in dock.findChildren(QWidget)
        if isinstance(part, kinds) and not isinstance(part, QScrollBar) and in_sight(dock, part)
    ]
    # A slider with its number box is one control; so is whatever lies inside another one.
    boxes = {setting.box for setting in dock.form.rows.values()}
    outer = [
        part
        for part in found
        if part not in boxes
        and not any(other is not part and other.isAncestorOf(part) for other in (*found, *boxes))
    ]
    return [part.accessibleName() or type(part).__name__ for part in outer]


def test_no_more_than_twelve_controls_meet_the_eye(small):
    assert len(meeting_the_eye(small)) <= 12, meeting_the_eye(small)


@pytest.mark.new_dock
@pytest.mark.parametrize("size", [(1366, 768), (1600, 1000)])
def test_no_more_than_twelve_meet_it_at_first_and_what_comes_moves_nothing(
    installed_vae, widget, patient_folder, qtbot, size
):
    """Without a patient there is nothing to undo, to restore, to look at from three sides or to paint into."""
    window = widget.window()
    window.resize(*size)
    qtbot.waitUntil(lambda: (window.width(), window.height()) == size)
    assert len(meeting_the_eye(widget)) <= 12, meeting_the_eye(widget)
    drop(canvas_of(widget.viewer), patient_folder)
    opened(qtbot, widget, "Mets_001")
    settle(qtbot, widget)
    assert widget.form.undo.native.isVisible() and widget.form.three_views.isVisible()
    assert not widget.form.export.native.isVisible() and not widget.form.paint.native.isVisible()
    still = Still(widget)
    click(qtbot, widget.run.native)
    still.while_waiting(qtbot, lambda: at_rest(widget)() and widget.form.export.native.isVisible())
    assert widget.form.paint.native.isVisible() and widget.form.restore.native.isVisible()


def test_what_is_not_needed_yet_is_not_there(widget, patient_folder, qtbot):
    assert not widget.form.plot.isVisible() and not widget.form.progress.native.isVisible()
    assert not widget.cancel.native.isVisible() and not widget.form.layers_open.isVisible()
    assert not widget.form.recent.isVisible() and not widget.sequence.native.isVisible()
    assert widget.form.opening.isVisible()
    drop(canvas_of(widget.viewer), patient_folder)
    opened(qtbot, widget, "Mets_001")
    assert not widget.form.opening.isVisible(), "one line is left"
    assert widget.form.plot.isVisible() and widget.form.plot._histogram is None, (
        "the axis of the slider, and its place"
    )
    assert not widget.form.discard.native.isVisible()
    click(qtbot, widget.form.open_more)
    assert widget.form.opening.isVisible() and widget.sequence.native.isVisible()


def places(widget):
    return {
        name: part.mapTo(widget, QPoint(0, 0)).y()
        for name, part in {
            "run": widget.run.native,
            "undo": widget.form.undo.native,
            "tabs": widget.form.tabs,
            **{name: setting.handle for name, setting in widget.form.rows.items()},
        }.items()
    }


def watch(qtbot, look, until):
    """Look until a condition holds, at whatever passes in between too; return what was seen."""
    seen = []

    def turn():
        seen.append(look())
        return until()

    qtbot.waitUntil(turn)
    return seen


def at_rest(widget):
    return lambda: not widget.busy and "…" not in widget.form.plot._legend.text()


def moved_while_results_come_and_go(dock, qtbot):
    """Move a slider, show a message and run again; return the places that differed from those before."""
    before, seen = places(dock), []
    for value in (5, 0, 3):
        dock.closing_radius.value = value
        seen += watch(qtbot, lambda: places(dock), at_rest(dock))
    dock.form.messages.show_message("Something is odd. " * 20, "warning", ("Mend it", lambda: None))
    qtbot.waitUntil(lambda: dock.form.messages.buttons[0].isVisible())
    seen.append(places(dock))
    dock.form.messages.clear()
    click(qtbot, dock.run.native)
    assert dock.running
    seen += watch(qtbot, lambda: places(dock), at_rest(dock))
    return [one for one in seen if one != before]


def test_nothing_moves_while_results_come_and_go(small, qtbot):
    assert moved_while_results_come_and_go(small, qtbot) == []


def test_no_control_moves_while_a_run_starts_warns_is_cancelled_fails_and_finishes(small, qtbot, monkeypatch):
    """Neither across nor down, on the screen: Run, Cancel, every slider and box, and the buttons of the banner."""
    small.form.banner.show_needs(
        "The scan is brighter on one side.", strip=False, even=True, use_brain=False, register=False
    )
    qtbot.waitUntil(lambda: small.form.banner.height() > 30)
    still, run, go_on = Still(small), session.run, Event()

    def held_up(*given, **named):
        assert go_on.wait(60)
        raise_if_cancelled(named)
        return run(*given, **named)

    def raise_if_cancelled(named):
        if named["should_stop"]():
            raise Cancelled

    def broken(*given, **named):
        raise PatientError("the scan is empty", file="flair.nii.gz", hint="copy the file again")

    monkeypatch.setattr(session, "run", held_up)
    for end in ("cancel", "finish"):
        small.session._cache.clear()
        go_on.clear()
        click(qtbot, small.run.native)
        still.while_waiting(qtbot, small.cancel.native.isVisible)
        show_warning("Something is odd. " * 20)
        still.while_waiting(qtbot, lambda: "odd" in small.form.messages.words.text())
        if end == "cancel":
            click(qtbot, small.cancel.native)
        go_on.set()
        still.while_waiting(qtbot, at_rest(small))
    monkeypatch.setattr(session, "run", broken)
    small.session._cache.clear()
    click(qtbot, small.run.native)
    still.while_waiting(
        qtbot, lambda: at_rest(small)() and "copy the file again" in small.form.messages.words.text()
    )
    small.form.messages.clear()
    still.look()
    assert {small.run.native, small.cancel.native, *(row.box for row in small.form.rows.values())} <= set(
        still.places
    )


@pytest.mark.new_dock
def test_nothing_moves_for_a_model_that_suggests_two_thresholds(ready, qtbot):
    ready.viewer.window.resize(1366, 768)
    settle(qtbot, ready)
    ready.findChild(QScrollArea).verticalScrollBar().setValue(0)
    qtbot.waitUntil(at_rest(ready))
    assert ready.form.plot._legend.text().count("href") == 3
    qtbot.waitUntil(lambda: in_sight(ready, ready.form.undo))
    assert moved_while_results_come_and_go(ready, qtbot) == []


@pytest.fixture
def installed_fine(vae_folder, npe2pm):
    """A model that suggests thresholds at the lower end of the scale; ask for it before the dock."""
    folder = shutil.copytree(vae_folder, models_folder() / "tiny-fine")
    file = folder / "model.json"
    card = json.loads(file.read_text())
    card["name"] = "tiny-fine"
    for suggestion, threshold in zip(card["suggestions"], (0.03, 0.04, 0.5), strict=True):
        suggestion["params"]["threshold"] = threshold
    file.write_text(json.dumps(card))
    return folder.name


@pytest.mark.new_dock
def test_the_first_run_moves_nothing_and_the_axis_stays_through_all_runs(
    installed_fine, widget, patient_folder, qtbot
):
    """The axis is that of model and score, not of a map that is not there yet."""
    widget.viewer.window.resize(1366, 768)
    drop(canvas_of(widget.viewer), patient_folder)
    opened(qtbot, widget, "Mets_001")
    widget.model.value = installed_fine
    widget.score.value = "residual"
    assert widget.threshold.value == pytest.approx(0.03), "what the run starts with"
    qtbot.waitUntil(lambda: widget.form.plot.axis[1] - widget.form.plot.axis[0] > 100)
    settle(qtbot, widget)

    def look():
        return places(widget), widget.form.plot.end, widget.threshold.max, widget.form.plot.axis

    for _ in range(5):  # what has just come is laid out
        QApplication.processEvents()
    before, seen = look(), []
    assert before[1:3] == (0.2, 0.2)
    for _ in range(2):
        click(qtbot, widget.run.native)
        assert widget.running
        seen += watch(qtbot, look, at_rest(widget))
    assert widget.form.plot._histogram is not None
    assert [one for one in seen if one != before] == []
    # Another score has another axis, at once and for good.
    widget.score.value = "kl-gradient"
    assert widget.form.plot.end == 1.0
    seen = watch(qtbot, lambda: widget.form.plot.end, at_rest(widget))
    assert set(seen) == {1.0}


def test_the_slider_is_the_axis_of_the_plot(small, qtbot):
    row, plot = small.form.rows["threshold"], small.form.plot
    assert row.slider.max == pytest.approx(plot.end)
    for share in (0.0, 0.3, 1.0):
        row.slider.value = round(share * plot.end, 3)
        qtbot.wait(20)
        option = QStyleOptionSlider()
        row.handle.initStyleOption(option)
        rect = row.handle.style().subControlRect(
            QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, row.handle
        )
        handle = row.handle.mapTo(small, rect.center()).x()
        box = plot._counts.getViewBox()
        line = plot._view.mapFromScene(box.mapViewToScene(QPointF(row.slider.value, 0.0)))
        assert handle == pytest.approx(plot._view.mapTo(small, line).x(), abs=2.5)
    settle(qtbot, small)


def test_figures_are_those_of_the_mask_on_screen_or_pending(detected, qtbot):
    settle(qtbot, detected)
    detected.threshold.value = detected.threshold.value / 2
    settle(qtbot, detected)
    assert detected.form.figures.text("precision", "volume") not in ("…", "–")
    wrong = []

    (mask,) = layers_of(detected, "detected mask")
    reference = detected.session.patient.lesion_mask

    def look():
        shown = detected.form.figures.text("precision", "volume")
        on_screen = np.asarray(mask.data) > 0
        right = f"{(on_screen & reference).sum() / max(on_screen.sum(), 1):.3f}"
        if shown not in ("…", right):
            wrong.append((shown, right))

    click(qtbot, detected.form.undo.native)
    for _ in range(100):
        qtbot.wait(5)
        look()
    settle(qtbot, detected)
    assert wrong == []


def test_a_model_that_is_chosen_and_not_run_says_so(detected, installed_vae, qtbot):
    settle(qtbot, detected)
    detected.form.refresh_models()
    assert detected.form.state.text() == "Shown: tiny · intensity"
    box = detected.model.native
    box.setFocus()
    while box.currentText() != installed_vae:
        qtbot.keyClick(
            box, Qt.Key.Key_Down if box.currentIndex() < box.findText(installed_vae) else Qt.Key.Key_Up
        )
    assert detected.form.state.text() == f"Shown: tiny, not {installed_vae}"
    assert "Press Run" in detected.form.state.toolTip()
    assert not detected.dice_label.native.isEnabled()
    run(qtbot, detected)
    assert installed_vae in detected.form.state.text() and "not" not in detected.form.state.text()
    assert detected.dice_label.native.isEnabled()


def test_long_texts_have_two_lines_and_are_whole_in_their_tooltips(detected, qtbot):
    """Whatever they say, nothing moves."""
    long = "Default settings, suggested threshold: best on validation patients"
    labels = detected.form.about, detected.form.model_says, detected.form.rule
    said = [(label, label.text(), label.toolTip()) for label in labels]
    before = [detected.run.native.mapTo(detected, QPoint(0, 0)), *(label.height() for label in labels)]
    for text in (20 * f"{long} ", "short", ""):
        for label in labels:
            label.setText(text)
            assert text in label.toolTip() and label.height() >= 2 * label.fontMetrics().height()
        qtbot.wait(10)
        assert [
            detected.run.native.mapTo(detected, QPoint(0, 0)),
            *(label.height() for label in labels),
        ] == before
    for label, text, whole in said:
        label.setText(text)
        label.setToolTip(whole)


def test_each_model_says_what_it_is(widget):
    box = widget.model.native
    tips = {
        box.itemText(index): box.itemData(index, Qt.ItemDataRole.ToolTipRole) for index in range(box.count())
    }
    assert "lesion-free" in tips["ce-unet"] and "synthetic" in tips["ae"]
    widget.model.value = "ae"
    assert "phantoms" in widget.form.model_says.text()


# -- the wheel -------------------------------------------------------------------------------------------------


def turn(target):
    middle = QPointF(target.rect().center())
    event = QWheelEvent(
        middle,
        QPointF(target.mapToGlobal(middle.toPoint())),
        QPoint(0, -120),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    event.accept()
    QApplication.sendEvent(target, event)
    return event.isAccepted()


def value_of(control):
    for name in ("currentIndex", "value"):
        if hasattr(control, name):
            return getattr(control, name)()
    raise AssertionError(control)


@pytest.mark.parametrize("name", ["Explore anomalies", "Train a model", "Evaluate a cohort"])
def test_the_wheel_changes_nothing_without_the_focus(viewer, installed_model, qtbot, name):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", name)
    assert isinstance(dock, (EvaluateWidget, TrainWidget)) or name.startswith("Explore")
    kinds = (QAbstractSlider, QAbstractSpinBox, QComboBox, QTabBar)
    controls = [
        part
        for part in dock.findChildren(QWidget)
        if isinstance(part, kinds) and not isinstance(part, QScrollBar)
    ]
    assert len(controls) > 5
    canvas_of(viewer).setFocus()
    for control in controls:
        before = value_of(control)
        assert not turn(control), "the wheel goes on to the scroll area"
        assert value_of(control) == before
        assert control.focusPolicy() != Qt.FocusPolicy.WheelFocus


def test_with_the_focus_the_wheel_changes_a_control(widget, qtbot):
    box = widget.form.rows["closing_radius"].box
    widget.window().activateWindow()
    box.setFocus()
    qtbot.waitUntil(box.hasFocus)
    before = box.value()
    turn(box)
    assert box.value() != before


# -- cancelling ------------------------------------------------------------------------------------------------


class Held:
    """Holds a function back until it is let go, so that a test can press Cancel meanwhile."""

    def __init__(self, function):
        self._function, self.reached, self.go = function, Event(), Event()

    def __call__(self, *arguments, **keywords):
        self.reached.set()
        assert self.go.wait(60)
        return self._function(*arguments, **keywords)


def held(monkeypatch, where, name):
    made = Held(getattr(where, name))
    monkeypatch.setattr(where, name, made)
    return made


def test_an_export_that_is_cancelled_leaves_nothing_behind(detected, tmp_path, monkeypatch, qtbot):
    settle(qtbot, detected)
    writing = held(monkeypatch, saving, "save_volume")
    folder = tmp_path / "new" / "results"
    export(qtbot, detected, folder)
    qtbot.waitUntil(writing.reached.is_set)
    click(qtbot, detected.cancel.native)
    writing.go.set()
    qtbot.waitUntil(lambda: not detected.running)
    assert not folder.parent.exists()
    assert detected.form.export.enabled and detected.form.export.text == "Export…"
    export(qtbot, detected, folder)
    qtbot.waitUntil(lambda: not detected.running)
    assert (folder / "Mets_001_tiny_settings.json").is_file()


def test_an_export_goes_on_to_its_end_when_another_patient_is_dropped(detected, tmp_path, monkeypatch, qtbot):
    settle(qtbot, detected)
    writing = held(monkeypatch, saving, "save_volume")
    export(qtbot, detected, tmp_path / "results")
    qtbot.waitUntil(writing.reached.is_set)
    drop(canvas_of(detected.viewer), scan(tmp_path / "next", seed=3))
    writing.go.set()
    opened(qtbot, detected, "next")
    assert (tmp_path / "results" / "Mets_001_tiny_settings.json").is_file()


def test_a_patient_whose_loading_is_cancelled_does_not_come(detected, tmp_path, monkeypatch, qtbot):
    settle(qtbot, detected)
    before, shown = detected.session.patient, detected.session.analysis
    loading = held(monkeypatch, patient_source, "load_patient")
    drop(canvas_of(detected.viewer), scan(tmp_path / "next", seed=3))
    qtbot.waitUntil(loading.reached.is_set)
    click(qtbot, detected.cancel.native)
    loading.go.set()
    qtbot.waitUntil(lambda: not detected.running)
    assert detected.session.patient is before and detected.session.analysis is shown
    assert "Mets_001" in detected.form.about.text()


def test_what_takes_a_moment_and_cannot_be_cancelled_does_not_offer_it(detected, monkeypatch, qtbot):
    drag(qtbot, detected.threshold, 0.4)
    settle(qtbot, detected)
    undoing = held(monkeypatch, detected.session, "undo")
    click(qtbot, detected.form.undo.native)
    qtbot.waitUntil(undoing.reached.is_set)
    assert detected.running and not detected.cancel.native.isVisible()
    undoing.go.set()
    settle(qtbot, detected)


def test_what_cancel_says_is_what_a_cancelled_run_does(detected, monkeypatch, qtbot):
    settle(qtbot, detected)
    shown = detected.session.analysis.key
    assert detected.cancel.native.toolTip() == tip("cancel") and "comes back" in tip("cancel")
    detected.session._cache.clear()
    making = held(monkeypatch, session, "run")
    detected.score.value = shown[1]
    click(qtbot, detected.run.native)
    qtbot.waitUntil(making.reached.is_set)
    click(qtbot, detected.cancel.native)
    making.go.set()
    settle(qtbot, detected)
    assert detected.session.analysis.key == shown


# -- layers ----------------------------------------------------------------------------------------------------


def test_a_layer_that_is_open_is_offered_chosen_and_can_be_declared_flair(widget, qtbot, notified):
    volume, _ = make_brain()
    widget.viewer.add_image(volume, name="my scan")
    qtbot.waitUntil(lambda: widget.form.layers_open.isVisible())
    assert widget.form.image_layer.native.currentText() == "my scan"
    click(qtbot, widget.run.native)
    assert "or press “Use these layers”" in widget.form.messages.words.text()
    widget.form.declared.value = "flair"
    click(qtbot, widget.form.use_layers.native)
    qtbot.waitUntil(lambda: widget.session.patient is not None)
    assert widget.session.patient.sequence == "flair"
    qtbot.waitUntil(lambda: "Use these layers" not in widget.form.messages.words.text())
    assert any("1 mm is assumed" in message for _, message in notified)
    assert "1 mm is assumed" in widget.form.messages.words.text()


def test_an_error_stands_in_full_in_the_dock_with_its_button(widget, tmp_path, qtbot):
    broken = Path(shutil.copytree(scan(tmp_path / "hans"), tmp_path / "broken"))
    (broken / "flair.nii.gz").write_bytes(b"junk")
    drop(canvas_of(widget.viewer), broken)
    qtbot.waitUntil(lambda: "flair.nii.gz" in widget.form.messages.words.text() and not widget.running)
    assert "copy the file again" in widget.form.messages.words.text(), "the remedy as well"
    assert [button.text() for button in widget.form.messages.buttons] == ["Details…"]


def test_the_offer_to_become_the_reader_says_when_napari_asks(widget, readers):
    assert "While this dock is closed, napari asks which reader to use." in widget.form.hint.text()


# -- looking ---------------------------------------------------------------------------------------------------


def test_the_three_cuts_have_one_scale_and_are_whole(detected, qtbot):
    click(qtbot, detected.form.three_views)
    cuts = detected.cuts.cuts
    qtbot.waitExposed(cuts)
    for size in ((1366, 768), (1600, 1000)):
        detected.viewer.window.resize(*size)
        settle(qtbot, detected)
        qtbot.wait(100)
        scales = [side for part in cuts._parts for side in part.box.viewPixelSize()]
        np.testing.assert_allclose(scales, scales[0], rtol=0.01)
        for part in cuts._parts:
            whole = part._image.mapRectToScene(part._image.boundingRect())
            assert part.box.sceneBoundingRect().contains(whole), size
    click(qtbot, detected.form.three_views)


def test_three_cuts_through_one_point_are_one_click_away(detected, qtbot):
    assert in_sight(detected, detected.form.three_views)
    click(qtbot, detected.form.three_views)
    cuts = detected.cuts.cuts
    qtbot.waitExposed(cuts)
    coronal = cuts._parts[1]
    qtbot.waitUntil(lambda: coronal.box.sceneBoundingRect().width() > 20)
    box = coronal.box.sceneBoundingRect()
    place = cuts.mapFromScene(QPointF(box.center().x() + 10, box.center().y() - 5))
    wanted = coronal.voxel_at(cuts.mapToScene(place))
    y = detected.layers.point()[1]
    qtbot.mouseClick(cuts.viewport(), LEFT, pos=place)
    z, now_y, x = detected.layers.point()
    assert (z, x) == tuple(round(at) for at in wanted) and now_y == y
    assert detected.layers.current_slice() == z
    before = cuts._parts[0]._image.image.copy()
    detected.viewer.dims.set_point(0, 2 * detected.session.patient.spacing[0])
    qtbot.waitUntil(lambda: not np.array_equal(cuts._parts[0]._image.image, before))
    click(qtbot, detected.form.three_views)
    assert detected.cuts.cuts is None


@pytest.fixture
def save_as(detected, monkeypatch, qtbot):
    """Presses Save figure…, and answers with a name and one of the kinds that are offered."""

    def save(path, kind):
        offered = []

        def answer(parent, title, name, kinds):
            offered.extend(kinds.split(";;"))
            return str(path), next(one for one in offered if one.startswith(kind))

        monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
        detected.form.tabs.setCurrentWidget(detected.form.more)
        click(qtbot, detected.form.save_figure)

    return save


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_a_figure_says_what_it_shows_and_not_whose(detected, save_as, tmp_path, qtbot, notified, ending):
    settle(qtbot, detected)
    save_as(tmp_path / "figure.png", ending.upper())  # the name stays as it was offered
    assert [path.name for path in tmp_path.glob("figure*")] == [f"figure.{ending}"]
    written = (tmp_path / f"figure.{ending}").read_bytes()
    assert written.startswith(b"%PDF" if ending == "pdf" else b"\x89PNG") and len(written) > 5000
    assert [severity for severity, _ in notified] == ["info"]
    words = caption(detected.session.analysis, 6, "x")
    assert words.startswith("tiny, score intensity; threshold 0.")
    assert "Mets" not in words
    save_as(tmp_path / "typed.pdf", "PNG")
    assert (tmp_path / "typed.pdf").read_bytes().startswith(b"%PDF"), "an ending that was typed counts"
    save_as(tmp_path / "nowhere" / "figure.png", "PNG")
    assert notified[-1][0] == "error"


def test_what_is_shown_has_the_room_up_to_run(detected, qtbot):
    settle(qtbot, detected)
    detected.viewer.window.resize(1366, 768)
    run(qtbot, detected, "tiny", "positive-residual")
    settle(qtbot, detected)
    said = detected.form.state.text()
    assert said == "Shown: tiny · positive-residual"
    gap = detected.form.state.mapTo(detected, QPoint(0, 0)).x() - detected.run.native.geometry().right()
    assert 0 <= gap < 20, "beside Run"
    assert (
        detected.form.state.fontMetrics().horizontalAdvance(said.replace("tiny", "ce-unet"))
        < detected.form.state.width()
    )


def test_the_caption_of_a_figure_says_that_a_mask_was_corrected_by_hand(detected, qtbot):
    settle(qtbot, detected)
    assert "fill: detected; " in caption(detected.session.analysis, 6, "x")
    layer = detected.layers.layer("detected mask")
    layer.selected_label = 1
    layer.paint((detected.layers.current_slice(), 5, 5), 1)
    qtbot.waitUntil(lambda: detected.session.analysis.corrections is not None)
    assert "fill: detected, corrected by hand; " in caption(detected.session.analysis, 6, "x")


def test_a_figure_has_letters_bars_and_dice(detected, save_as, tmp_path, qtbot):
    settle(qtbot, detected)
    choose_paper(qtbot, detected, 85, 150)  # few pixels

    def picture(name):
        save_as(tmp_path / name, "PNG")
        return np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)

    whole = picture("whole.png")
    parts = {
        "scale bar": detected.viewer.canvas.overlays.scale_bar,
        "colour bar": detected.layers.layer("anomaly map").colorbar,
        "Dice": detected.on_canvas._overlay,
        **detected.orientation._overlays,
    }
    assert len(parts) == 7
    missing = []
    for name, part in parts.items():
        assert part.visible, name
        part.visible = False
        without = picture(f"{name}.png")
        part.visible = True
        if not (abs(whole - without).max(axis=2) > 60).sum() > 10:
            missing.append(name)
    assert missing == []
    assert (picture("again.png") == whole).all()


def choose_paper(qtbot, dock, width, dpi):
    """Type a width, and choose a resolution by keys."""
    dock.form.tabs.setCurrentWidget(dock.form.more)
    dock.form.figure_width.selectAll()
    qtbot.keyClicks(dock.form.figure_width, str(width))
    qtbot.keyClick(dock.form.figure_width, Qt.Key.Key_Return)
    for _ in range(dock.form.figure_dpi.count()):
        if dock.form.figure_dpi.currentText() != f"{dpi} dpi":
            at_end = dock.form.figure_dpi.currentIndex() == dock.form.figure_dpi.count() - 1
            qtbot.keyClick(dock.form.figure_dpi, Qt.Key.Key_Home if at_end else Qt.Key.Key_Down)


def test_a_figure_has_the_pixels_of_the_paper_and_each_voxel_is_where_it_belongs(
    detected, save_as, tmp_path, qtbot
):
    settle(qtbot, detected)
    viewer = detected.viewer
    assert (detected.form.figure_width.value(), detected.form.figure_dpi.currentData()) == (170, 300), (
        "at first"
    )
    scan = layers_of(detected, "sequence")[-1]
    for layer in viewer.layers:
        layer.visible = layer is scan
    bar = viewer.canvas.overlays.scale_bar
    camera, letters = (
        viewer.scene.camera,
        {mark.font_size for mark in detected.orientation._overlays.values()},
    )
    before = viewer.screenshot(canvas_only=True, flash=False)
    center, zoom = camera.center[-2:], camera.zoom
    for width, dpi in ((85, 150), (120, 600)):
        choose_paper(qtbot, detected, width, dpi)
        save_as(tmp_path / f"{dpi}.png", "PNG")
        made = Image.open(tmp_path / f"{dpi}.png")
        assert made.width == pytest.approx(width / 25.4 * dpi, abs=1)
        assert made.info["dpi"][0] == pytest.approx(dpi, abs=0.1)
        larger = made.width / before.shape[1]
        rows, columns = round(before.shape[0] * larger), made.width
        pixels = np.asarray(made.convert("L")).astype(float)[:rows]
        # Where the middle of each pixel lies in the slice.
        y = center[0] + (np.arange(rows) + 0.5 - rows / 2) / (zoom * larger)
        x = center[1] + (np.arange(columns) + 0.5 - columns / 2) / (zoom * larger)
        y, x = (np.round(at / size) for at, size in zip((y, x), scan.scale[1:], strict=True))
        data = scan.data[detected.layers.current_slice()]
        inside = [
            np.flatnonzero((at >= 4) & (at < size - 4)) for at, size in zip((y, x), data.shape, strict=True)
        ]
        low, high = scan.contrast_limits
        voxels = data[np.ix_(y[inside[0]].astype(int), x[inside[1]].astype(int))]
        wanted = 255 * np.clip((voxels - low) / (high - low), 0, 1)
        wrong = abs(pixels[np.ix_(*inside)] - wanted) > 4
        assert wanted.std() > 20 and wrong.mean() < 0.05, (dpi, wrong.mean())
    assert {mark.font_size for mark in detected.orientation._overlays.values()} == letters
    assert (camera.zoom, camera.center[-2:], bar.length) == (zoom, center, None)
    settle(qtbot, detected)
    assert (viewer.screenshot(canvas_only=True, flash=False) == before).all(), "the window is as it was"
    for layer in viewer.layers:
        layer.visible = tag_of(layer).role != "reconstruction"


def test_letters_and_bars_of_a_figure_are_as_large_at_any_resolution(detected, save_as, tmp_path, qtbot):
    settle(qtbot, detected)
    heights = {}
    for dpi in (150, 600):
        choose_paper(qtbot, detected, 85, dpi)
        save_as(tmp_path / f"{dpi}.png", "PNG")
        pixels = np.asarray(Image.open(tmp_path / f"{dpi}.png").convert("L"))
        corner = pixels[: len(pixels) // 6, : pixels.shape[1] // 4]  # the Dice
        rows = np.flatnonzero((corner > 200).any(axis=1))
        heights[dpi] = (rows[-1] - rows[0]) / dpi * 72
    assert heights[150] == pytest.approx(heights[600], rel=0.1)
    assert 14 < heights[600] < 36, "points, of two or three lines"


def test_a_pdf_has_the_size_of_the_paper_its_pixels_as_they_are_and_its_caption_as_text(
    detected, save_as, tmp_path, qtbot
):
    settle(qtbot, detected)
    choose_paper(qtbot, detected, 85, 300)
    save_as(tmp_path / "figure.pdf", "PDF")
    written = (tmp_path / "figure.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[([\d. ]+)\]", written).group(1).split()
    assert float(box[2]) == pytest.approx(85 / 25.4 * 72, abs=0.5)
    assert b"/DCTDecode" not in written and b"/Subtype /Image" in written
    assert b"/Font" in written and b"FontFile2" in written


def test_a_figure_that_would_replace_another_asks(detected, save_as, tmp_path, monkeypatch):
    (tmp_path / "figure.pdf").write_bytes(b"mine")
    asked = []

    def no(parent, title, text):
        asked.append(text)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", no)
    save_as(tmp_path / "figure.png", "PDF")
    assert (tmp_path / "figure.pdf").read_bytes() == b"mine" and "figure.pdf" in asked[0]


@pytest.mark.new_dock
def test_the_caption_of_the_threshold_follows_before_a_run(widget, patient_folder, qtbot):
    widget.patient.value = patient_folder
    settle(qtbot, widget)
    start = widget.form.rule.text()
    assert start not in ("", "Your settings")
    drag(qtbot, widget.threshold, 0.7, steps=3)
    assert widget.form.rule.text() == "Your settings"
    widget.form.tabs.setCurrentWidget(widget.form.more)
    click(qtbot, widget.form.reset.native)
    assert widget.form.rule.text() == start


@pytest.mark.new_dock
def test_the_caption_is_that_of_restored_settings_from_their_first_moment(
    ready, scan_folder, monkeypatch, qtbot, tmp_path
):
    click(qtbot, ready.form.use_suggested.native)
    drag(qtbot, ready.closing_radius, 0.9, steps=3)
    settle(qtbot, ready)
    export(qtbot, ready, tmp_path / "out")
    settle(qtbot, ready)
    ready.form.tabs.setCurrentWidget(ready.form.more)
    click(qtbot, ready.form.reset.native)
    settle(qtbot, ready)
    ready.use_patient(load_patient(scan_folder))
    qtbot.waitUntil(lambda: ready.session.analysis is None)
    settle(qtbot, ready)
    assert ready.form.rule.text() != "Your settings"
    run, go_on = session.run, Event()
    monkeypatch.setattr(session, "run", lambda *given, **named: go_on.wait() and run(*given, **named))
    ready.restore_from(tmp_path / "out")
    try:
        qtbot.waitUntil(lambda: ready.form.rule.text() == "Your settings")
        assert ready.running
    finally:
        go_on.set()
    settle(qtbot, ready)
    assert ready.form.rule.text() == "Your settings"
