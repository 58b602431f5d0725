"""The plugin as napari sees it: menus, drag and drop, samples, saving."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

import napari_cead as cead
from napari_cead.contributions.layers import tag_of
from napari_cead.widgets import ExploreWidget
from napari_cead.widgets.explore.menus import explore


def drop(viewer, *paths):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    event = QDropEvent(
        QPointF(QPoint(200, 200)),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    viewer.window._qt_viewer.dropEvent(event)


def test_a_dropped_file_and_a_dropped_folder_open(viewer, patient_folder):
    drop(viewer, patient_folder / "flair.nii.gz")
    assert [layer.name for layer in viewer.layers] == ["flair", "lesion mask"]
    viewer.layers.clear()
    drop(viewer, patient_folder)
    assert [layer.name for layer in viewer.layers] == ["t1_gd", "flair", "lesion mask"]
    assert viewer.layers[0].visible is False
    np.testing.assert_allclose(viewer.layers["flair"].scale, (1.5, 0.95, 0.9))


def test_a_dropped_broken_file_is_one_sentence_and_napari_goes_on(viewer, patient_folder, notified):
    broken = patient_folder / "t1_gd.nii.gz"
    broken.write_bytes(broken.read_bytes()[:500])
    drop(viewer, broken)
    assert len(viewer.layers) == 0
    [(severity, message)] = notified
    assert severity == "error"
    assert message.startswith(f"{broken}: the image data cannot be read")
    assert "\n" not in message
    drop(viewer, patient_folder / "flair.nii.gz")
    assert [layer.name for layer in viewer.layers] == ["flair", "lesion mask"]


def test_the_sample_opens_from_the_menu_entry(viewer):
    viewer.open_sample("napari-cead", "synthetic_patient")
    assert {"flair", "lesion mask"} <= {layer.name for layer in viewer.layers}


def test_a_corrected_mask_is_saved_from_the_file_menu(viewer, patient_folder, tmp_path):
    viewer.open(str(patient_folder), plugin="napari-cead")
    layer = viewer.layers["lesion mask"]
    layer.data[0, 0, 0] = 1
    layer.save(str(tmp_path / "mask.nii.gz"), plugin="napari-cead")
    saved, source = nib.load(tmp_path / "mask.nii.gz"), nib.load(patient_folder / "seg.nii.gz")
    assert np.asarray(saved.dataobj).sum() == np.asarray(source.dataobj).sum() + 1
    np.testing.assert_allclose(saved.affine, source.affine)


def test_the_layers_menu_explores_the_selected_layer(viewer, installed_model, qtbot):
    image = viewer.add_image(np.random.default_rng(0).random((3, 30, 30)) + 1, name="mine")
    viewer.layers.selection.active = image
    explore(viewer)
    assert tag_of(image) is not None
    widgets = viewer.window._qt_window.findChildren(ExploreWidget)
    assert len(widgets) == 1
    assert widgets[0].session.patient.name == "mine"


def test_results_that_are_opened_are_no_scan_and_no_reference(
    viewer, widget, patient_folder, tmp_path, qtbot
):
    patient = cead.load_patient(patient_folder)
    for name, kind in (("anomaly_map", "anomaly map"), ("reconstruction", "reconstruction"), ("seg", "mask")):
        volume = patient.lesion_mask if kind == "mask" else patient.volume() / 300
        file = cead.save_volume(volume, patient, tmp_path / f"{name}.nii.gz", kind=kind)
        drop(viewer, file)
    names = ["anomaly map", "reconstruction", "detected mask"]
    assert [layer.name for layer in viewer.layers] == names
    qtbot.wait(50)  # the dock looks when all layers are there
    assert widget.session.patient is None
    assert (widget.form.image_layer.choices, widget.form.reference_layer.choices) == ((None,), (None,))
    widget.patient.value = patient_folder
    qtbot.waitUntil(lambda: {*names, "flair", "lesion mask"} <= {layer.name for layer in viewer.layers})
    assert not viewer.layers["detected mask"].visible
