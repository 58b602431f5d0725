"""Mask and map lie above the scan that they belong to, whatever else the viewer holds."""

from __future__ import annotations

import shutil

import pytest

from dock_driving import layers_of, run, settle
from napari_cead.contributions.layers import tag_of


@pytest.fixture
def three(patient_folder, tmp_path):
    """Three patients with references, as folders."""
    folders = [patient_folder]
    for name in ("Mets_002", "Mets_003"):
        folders.append(tmp_path / name)
        shutil.copytree(patient_folder, folders[-1])
    return folders


def assert_above_the_scan(widget):
    """All that a model made, and the reference above it, lie above every scan of the patient on show."""
    patient, layers = widget.session.patient, list(widget.viewer.layers)
    own = [
        (place, tag.role)
        for place, layer in enumerate(layers)
        if (tag := tag_of(layer)) is not None and tag.patient.grid is patient.grid
    ]
    scans = [place for place, role in own if role == "sequence"]
    made = {role: place for place, role in own if role in ("reconstruction", "anomaly map", "detected mask")}
    assert len(made) == 3
    assert min(made.values()) > max(scans)
    assert made["detected mask"] > made["anomaly map"] > made["reconstruction"]
    covering = [layer for layer in layers[made["detected mask"] :] if type(layer).__name__ == "Image"]
    assert not any(layer.visible for layer in covering)


@pytest.mark.parametrize("place", ["bottom", "top"])
def test_among_layers_of_other_patients(widget, three, qtbot, place):
    """What others opened stays where it is; a patient that the dock opens takes the place of the one before."""
    from napari_cead import load_patient

    viewer, other = widget.viewer, load_patient(three[0])
    widget.patient.value = three[1]
    settle(qtbot, widget)
    image = viewer.add_image(
        other.volume(), name="another scan", scale=other.spacing, visible=place == "bottom"
    )
    labels = viewer.add_labels(other.lesion_mask.astype("uint8"), name="lesion mask", scale=other.spacing)
    if place == "bottom":
        viewer.layers.move(viewer.layers.index(labels), 0)
        viewer.layers.move(viewer.layers.index(image), 0)
    widget.patient.value = three[2]
    settle(qtbot, widget)
    run(qtbot, widget, score="intensity")
    assert widget.session.patient.name == "Mets_003"
    assert image in viewer.layers and labels in viewer.layers
    assert_above_the_scan(widget)


def test_with_the_own_reference_below_the_scan(widget, three, qtbot):
    widget.patient.value = three[0]
    settle(qtbot, widget)
    (own,) = layers_of(widget, "lesion mask")
    widget.viewer.layers.move(widget.viewer.layers.index(own), 0)
    run(qtbot, widget, score="intensity")
    assert_above_the_scan(widget)


def test_after_layers_were_used_in_place_and_another_patient_was_opened(widget, three, qtbot):
    from napari_cead import load_patient

    first = load_patient(three[0])
    image = widget.viewer.add_image(first.volume(), name="my scan", scale=first.spacing)
    labels = widget.viewer.add_labels(first.lesion_mask.astype("uint8"), scale=first.spacing)
    widget.use_layer(image, labels)
    settle(qtbot, widget)
    widget.patient.value = three[1]
    settle(qtbot, widget)
    run(qtbot, widget, score="intensity")
    assert_above_the_scan(widget)
