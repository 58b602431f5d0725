"""Everything that can be dropped onto napari: layers at the right place, or one sentence."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QFileDialog, QInputDialog

from napari_cead.contributions.layers import tag_of
from scanners import itk_image, write_dicom
from scans import make_brain, write_nifti

AFFINE = np.diag([-0.9, -1.1, 2.0, 1.0])


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


@pytest.fixture
def scan():
    return np.round(make_brain()[0].T).astype(np.int16)


def test_every_format_dropped_at_once_lies_at_the_same_place(viewer, scan, tmp_path, notified):
    volume = make_brain()[0]
    paths = [write_nifti(tmp_path / "nifti" / "flair.nii.gz", scan, AFFINE)]
    write_dicom(tmp_path / "dicom", scan, AFFINE)
    paths.append(tmp_path / "dicom")
    for name in ("flair.nrrd", "flair.nhdr"):
        paths.append(tmp_path / name.replace(".", "") / name)
        paths[-1].parent.mkdir()
        sitk.WriteImage(itk_image(scan, AFFINE), str(paths[-1]))
    for name in ("flair.mgz", "flair.mgh"):
        paths.append(tmp_path / name.replace(".", "") / name)
        paths[-1].parent.mkdir()
        nib.save(nib.MGHImage(scan, AFFINE), paths[-1])
    paths.append(tmp_path / "anna.ZIP")
    with zipfile.ZipFile(paths[-1], "w") as archive:
        archive.write(paths[0], "anna/flair.nii.gz")
    write_nifti(tmp_path / "ds/sub-01/anat/sub-01_FLAIR.nii.gz", scan, AFFINE)
    paths.append(tmp_path / "ds" / "sub-01")
    drop(viewer, *paths)
    assert len(viewer.layers) == len(paths), notified
    assert notified == []
    for layer in viewer.layers:
        np.testing.assert_array_equal(layer.data, np.round(volume))
        np.testing.assert_allclose(layer.scale, (2.0, 1.1, 0.9), rtol=1e-5)
        np.testing.assert_allclose(tag_of(layer).patient.grid.affine, AFFINE, atol=1e-4)


def test_slices_of_a_series_dropped_together_are_one_layer(viewer, scan, tmp_path, notified):
    files = write_dicom(tmp_path / "dicom", scan, AFFINE)
    drop(viewer, *files)
    assert [layer.data.shape for layer in viewer.layers] == [scan.shape[::-1]]
    assert notified == []


def test_both_files_of_a_pair_dropped_together_are_one_layer(viewer, scan, tmp_path, notified):
    nib.Nifti1Pair(scan, AFFINE).to_filename(tmp_path / "flair.hdr")
    drop(viewer, tmp_path / "flair.hdr", tmp_path / "flair.img")
    assert len(viewer.layers) == 1
    assert notified == []


@pytest.fixture
def two_series(scan, tmp_path):
    for number in (3, 8):
        brighter = np.where(scan > 0, scan + number, 0).astype(scan.dtype)
        write_dicom(tmp_path / "anna", brighter, AFFINE, number=number, name=f"{number}-{{}}.dcm")
    return tmp_path / "anna"


def test_of_several_series_the_user_chooses(viewer, two_series, scan, notified, monkeypatch):
    asked = []

    def choose(parent, title, label, texts, *rest):
        asked.append(list(texts))
        return texts[1], True

    monkeypatch.setattr(QInputDialog, "getItem", choose)
    drop(viewer, two_series)
    assert asked == [["3 (Ax T2 FLAIR, 12 slices)", "8 (Ax T2 FLAIR, 12 slices)"]]
    assert [int(layer.data.max()) for layer in viewer.layers] == [int(scan.max()) + 8]
    monkeypatch.setattr(QInputDialog, "getItem", lambda *_: ("", False))
    drop(viewer, two_series)
    assert len(viewer.layers) == 1
    assert notified == []


def test_the_dock_asks_too_and_takes_one_series_by_its_path(widget, two_series, scan, qtbot, monkeypatch):
    monkeypatch.setattr(QInputDialog, "getItem", lambda parent, title, label, texts, *_: (texts[0], True))
    widget.patient.value = two_series
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)
    assert widget.session.patient.volume().max() == scan.max() + 3
    widget.patient.value = Path(f"{two_series}#8")
    qtbot.waitUntil(lambda: widget.session.patient.volume().max() == scan.max() + 8)
    qtbot.waitUntil(lambda: not widget.job.running)


def test_resampling_is_told_in_the_window(viewer, patient_folder, notified):
    data = nib.load(patient_folder / "t1_gd.nii.gz").get_fdata()[::2]
    write_nifti(patient_folder / "t1_gd.nii.gz", data, np.diag([1.8, 0.95, 1.5, 1]))
    drop(viewer, patient_folder)
    [(severity, message)] = notified
    assert severity == "warning"
    assert "t1_gd.nii.gz: on another grid, resampled (linear) to the chosen sequence" in message
    assert len({layer.data.shape for layer in viewer.layers}) == 1


def test_a_broken_zip_and_a_folder_without_a_scan_are_one_sentence_each(viewer, tmp_path, scan, notified):
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 and no more")
    write_dicom(tmp_path / "scout", scan, AFFINE, description="localizer")
    drop(viewer, tmp_path / "x.zip", tmp_path / "scout")
    assert len(viewer.layers) == 0
    assert [severity for severity, _ in notified] == ["error", "error"]
    assert "x.zip: this is not a readable zip" in notified[0][1]
    assert "no series in this folder is a scan of a brain" in notified[1][1]


@pytest.mark.slow  # the readers are tested on each of them
def test_each_file_of_the_pack_opens_or_says_why(viewer, real_data, notified):
    files = [
        file
        for folder in ("odd", "raw")
        for file in sorted((real_data / folder).rglob("*"))
        if file.name.endswith((".nii", ".nii.gz", ".hdr", ".img"))
    ]
    assert len(files) > 15
    refused = 0
    for file in files:
        viewer.layers.clear()
        notified.clear()
        drop(viewer, file)
        errors = [message for severity, message in notified if severity == "error"]
        if len(viewer.layers) == 0:
            assert len(errors) == 1, file
            assert str(file) in errors[0]
            assert "\n" not in errors[0]
            refused += 1
            continue
        assert errors == [], file
        layer = viewer.layers[-1]
        patient = tag_of(layer).patient
        source = nib.load(file)
        # Where napari puts a voxel, in millimetres from the first one, and where nibabel does.
        last = np.array(layer.data.shape) - 1
        size = np.array(layer.data_to_world(last)) - np.array(layer.data_to_world((0, 0, 0)))
        axes = nib.affines.voxel_sizes(source.affine) * (np.array(source.shape[:3]) - 1)
        np.testing.assert_allclose(sorted(size), sorted(axes), rtol=1e-4, atol=1e-4)
        back = patient.grid.to_source(np.asarray(layer.data))
        values = np.asarray(source.get_fdata(dtype=np.float32)).reshape(back.shape)
        wanted = np.nan_to_num(values) if layer.data.dtype.kind == "f" else values > 0
        changed = back != wanted
        if changed.any():  # a background that is not exactly 0 counts as 0, and what it held is said
            assert (back[changed] == 0).all()
            (said,) = [note for note in patient.warnings if "count as 0" in note]
            low, high = map(float, re.search(r"hold (\S+) to (\S+),", said).groups())
            held = wanted[changed]
            assert (low, high) == pytest.approx((held.min(), held.max()), rel=0.01), file
            assert f"{changed.sum():,} voxels" in said
    assert refused >= 4  # the two damaged ones and the two with a fourth dimension


def test_the_folder_of_a_raw_visit_lies_on_one_grid(viewer, real_data, notified):
    drop(viewer, real_data / "raw" / "long04")
    shapes = {layer.data.shape for layer in viewer.layers}
    assert shapes == {(48, 320, 320)}
    assert len({tuple(layer.scale) for layer in viewer.layers}) == 1
    [(severity, message)] = notified
    assert severity == "warning"
    assert message.count("on another grid, resampled (linear)") == 2


def test_a_scan_in_a_format_of_another_package_is_opened_and_dropped(
    plugin, viewer, npe2pm, installed_model, tmp_path, qtbot, monkeypatch, notified
):
    volume = np.round(make_brain()[0])
    for name in ("anna", "bert"):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "flair.scan.npz").open("wb") as stream:
            np.savez(stream, values=volume.T, voxel_mm=(0.9, 1.1, 2.0))
    asked = []

    def answer(parent, title, start, offered):
        asked.append(offered)
        return str(tmp_path / "anna" / "flair.scan.npz"), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", answer)
    _, widget = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    qtbot.mouseClick(widget.form.choose_file.native, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)
    assert "*.scan.npz" in asked[0]
    assert widget.session.patient.name == "anna"
    np.testing.assert_array_equal(viewer.layers[0].data, volume)
    with npe2pm.tmp_plugin(package="cead-example"):
        drop(viewer, tmp_path / "bert" / "flair.scan.npz")
    qtbot.waitUntil(lambda: widget.session.patient.name == "bert" and not widget.job.running)
    assert {tag_of(layer).patient.name for layer in viewer.layers} == {"bert"}, notified
    np.testing.assert_array_equal(viewer.layers[0].data, volume)
