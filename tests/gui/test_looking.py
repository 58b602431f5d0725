"""Looking before cutting: plot, lesion list and figures, driven by clicks and keys."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from scipy import ndimage

import napari_cead as cead
from dock_driving import (
    click_cell,
    drag,
    expected_mask,
    layers_of,
    plot_place,
    press,
    run,
    scroll_to,
    settle,
    shown_mask,
)
from scans import brain_of

EVERYWHERE = np.ones((3, 3, 3), int)


SHARES_DOCK = True


def marks(widget):
    return {mark.rule: mark for mark in widget.form.plot._marks}


def data(curve):
    return [np.asarray(values) for values in curve.getData()]


def click_plot(qtbot, widget, threshold):
    scroll_to(qtbot, widget.form.plot)
    where = plot_place(widget.form.plot, threshold)
    qtbot.mouseClick(widget.form.plot._view.viewport(), Qt.MouseButton.LeftButton, pos=where)


def dice_at(widget, threshold):
    params = widget.session.params.replace(threshold=threshold)
    patient = widget.session.patient
    mask = cead.postprocess(widget.session.anomaly_map, params, patient.spacing, brain_of(patient))
    return cead.dice(mask, patient.lesion_mask)


def assert_plot_is_of(widget, analysis):
    """Everything drawn is that of this analysis, computed afresh."""
    values, reference = analysis.anomaly_map, widget.session.patient.lesion_mask
    brain = analysis.reconstruction.stack.brain
    _, heights = data(widget.form.plot._lesion)
    counts, _ = np.histogram(values[brain & reference], np.linspace(0, 1, 257))
    assert (10**heights - 1)[::2].sum() == pytest.approx(counts.sum())
    _, heights = data(widget.form.plot._healthy)
    assert (10**heights - 1)[::2].sum() == pytest.approx((brain & ~reference).sum())
    for threshold, dice in list(zip(*data(widget.form.plot._raw), strict=True))[::40]:
        assert dice == pytest.approx(cead.dice(values > threshold, reference))
    thresholds, dice = data(widget.form.plot._processed)
    for index in range(0, len(thresholds), 25):
        assert dice[index] == pytest.approx(dice_at(widget, float(thresholds[index])))
    shown = marks(widget)
    for suggested in analysis.suggestions:
        assert shown[suggested.rule].threshold == suggested.params.threshold
        assert shown[suggested.rule].dice == pytest.approx(dice_at(widget, suggested.params.threshold))
    oracle = shown["oracle (this patient)"]
    assert oracle.dice == pytest.approx(dice_at(widget, oracle.threshold))
    assert oracle.dice == pytest.approx(dice.max())
    # A bound for all that is shown, the current threshold included wherever the slider stands.
    assert all(mark.dice <= oracle.dice for mark in shown.values())
    assert shown["now"].dice == pytest.approx(dice_at(widget, shown["now"].threshold))
    assert (
        shown["now"].threshold == widget.form.plot.current == pytest.approx(widget.threshold.value, abs=5e-4)
    )


def test_the_plot_shows_the_map_and_every_rule(ready, qtbot):
    assert set(marks(ready)) == {"validation", "healthy-quantile", "oracle (this patient)", "now"}
    assert_plot_is_of(ready, ready.session.analysis)


def test_the_plot_follows_slider_score_and_choice(ready, qtbot):
    drag(qtbot, ready.dilation_radius, 0.1, steps=3)
    settle(qtbot, ready)
    assert_plot_is_of(ready, ready.session.analysis)
    ready.score.value = "intensity"
    settle(qtbot, ready)
    assert set(marks(ready)) == {"default", "oracle (this patient)", "now"}
    assert_plot_is_of(ready, ready.session.analysis)
    ready.score.value = "residual"
    settle(qtbot, ready)
    assert_plot_is_of(ready, ready.session.analysis)


def test_the_curve_has_a_point_wherever_the_slider_stands(ready, qtbot):
    ready.threshold.value = 0.777
    settle(qtbot, ready)
    assert_plot_is_of(ready, ready.session.analysis)


@pytest.mark.parametrize("threshold", [0.62, 0.9])
def test_a_click_on_the_plot_moves_slider_and_mask(ready, qtbot, threshold):
    click_plot(qtbot, ready, threshold)
    settle(qtbot, ready)
    assert ready.threshold.value == pytest.approx(threshold, abs=0.02)
    (mask,) = layers_of(ready, "detected mask")
    np.testing.assert_array_equal(shown_mask(mask), expected_mask(ready))
    assert ready.form.plot.current == pytest.approx(ready.session.params.threshold)
    ready.form.undo.native.click()
    settle(qtbot, ready)
    assert ready.form.plot.current == pytest.approx(0.7)


def test_a_slider_that_comes_back_at_once_leaves_nothing_unfinished(ready, qtbot):
    before = ready.threshold.value
    ready.dilation_radius.value = 3
    settle(qtbot, ready)
    for value in (0.9, before):
        ready.threshold.value = value
    settle(qtbot, ready)
    assert "…" not in ready.form.figures.text("precision", "volume")
    assert_plot_is_of(ready, ready.session.analysis)
    assert_figures(ready)


# -- figures -----------------------------------------------------------------------------------------------


def matched(mask, reference, structure):
    """(found, lesions, false components) by scipy's labels."""
    lesions, count = ndimage.label(reference, structure)
    components, detected = ndimage.label(mask, structure)
    found = len(np.unique(lesions[mask & reference]))
    true = len(np.unique(components[mask & reference]))
    return found, count, detected - true


def assert_figures(widget):
    mask, reference = expected_mask(widget), widget.session.patient.lesion_mask
    z = widget.layers.current_slice()
    for which, detected, lesion, structure in (
        ("slice", mask[z], reference[z], EVERYWHERE[0]),
        ("volume", mask, reference, EVERYWHERE),
    ):
        both = (detected & lesion).sum()
        found, lesions, false = matched(detected, lesion, structure)
        texts = [
            widget.form.figures.text(name, which)
            for name in ("precision", "recall", "lesions_found", "false_components")
        ]
        if lesion.any():
            precision = f"{both / detected.sum():.3f}" if detected.any() else "–"
            assert texts == [precision, f"{both / lesion.sum():.3f}", f"{found} of {lesions}", str(false)]
        else:
            assert texts == ["–", "–", "–", str(false)]


def test_figures_of_slice_and_volume_are_those_of_the_mask(detected, qtbot):
    settle(qtbot, detected)
    assert_figures(detected)
    drag(qtbot, detected.threshold, 0.8)
    settle(qtbot, detected)
    assert_figures(detected)
    detected.viewer.dims.set_point(0, 5 * 1.5)
    assert_figures(detected)


def test_a_slice_without_lesion_has_no_shares(detected, qtbot):
    settle(qtbot, detected)
    z = int(np.flatnonzero(~detected.session.patient.lesion_mask.any(axis=(1, 2)))[1])
    detected.viewer.dims.set_point(0, z * 1.5)
    assert detected.layers.current_slice() == z
    assert detected.dice_label.value.startswith("slice – ")
    assert_figures(detected)


def test_without_a_reference_everything_is_a_dash(installed_vae, widget, patient_folder, qtbot):
    (patient_folder / "seg.nii.gz").unlink()
    widget.patient.value = patient_folder
    settle(qtbot, widget)
    run(qtbot, widget, "tiny-vae", "intensity")
    for which in ("slice", "volume"):
        for name in ("precision", "recall", "lesions_found", "false_components"):
            assert widget.form.figures.text(name, which) == "–"
    assert not widget.form.plot.has_dice
    assert widget.form.lesions.tabs.tabText(0) == "Reference –"
    components, _ = ndimage.label(widget.session.mask, EVERYWHERE)
    assert len(widget.form.lesions.detected.model.rows) == components.max()
    click_plot(qtbot, widget, 0.8)
    settle(qtbot, widget)
    assert widget.session.params.threshold == pytest.approx(0.8, abs=0.02)


# -- lesion list -------------------------------------------------------------------------------------------


@pytest.fixture
def scattered(detected, qtbot):
    """A mask of several components, and a reference of three lesions, one of them missed."""
    settle(qtbot, detected)
    reference = detected.session.patient.lesion_mask.copy()
    reference[3, 20:24, 30:33] = reference[8:10, 40:44, 20:26] = True
    detected.session.set_reference(reference)
    detected.session.set(threshold=0.81, closing_radius=0, area_fraction=1.0, dilation_radius=0)
    painted = detected.session.mask.copy()
    painted[3, 19:25, 29:34] = False
    painted[9, 41, 21:23] = True
    detected.session.correct(painted)
    settle(qtbot, detected)
    detected.form.tabs.setCurrentWidget(detected.form.lesions)
    scroll_to(qtbot, detected.form.lesions)
    return detected


def test_the_rows_are_the_labels_of_scipy(scattered):
    session, voxel = scattered.session, np.prod(scattered.session.patient.spacing)
    mask, reference, values = session.mask, session.patient.lesion_mask, session.anomaly_map
    labels, count = ndimage.label(reference, EVERYWHERE)
    rows = scattered.form.lesions.reference.model.rows
    assert len(rows) == count >= 3
    assert {row.found for row in rows} == {True, False}
    for row in rows:
        lesion = labels == labels[row.position]
        assert lesion.any()
        assert row.volume_mm3 == pytest.approx(lesion.sum() * voxel)
        assert row.overlap_mm3 == pytest.approx((lesion & mask).sum() * voxel)
        assert row.found == (lesion & mask).any()
    labels, count = ndimage.label(mask, EVERYWHERE)
    rows = scattered.form.lesions.detected.model.rows
    assert len(rows) == count > 3, (session.params, session.analysis.key, values.max())
    for row in rows:
        component = labels == labels[row.position]
        assert labels[row.position] > 0
        assert row.volume_mm3 == pytest.approx(component.sum() * voxel)
        assert row.mean_score == pytest.approx(values[component].mean(), abs=1e-5)
        assert row.true == (component & reference).any()
    assert [row.volume_mm3 for row in rows] == sorted((row.volume_mm3 for row in rows), reverse=True)


def test_a_chosen_row_is_shown_in_2d_3d_and_coronal(scattered, qtbot):
    viewer, table = scattered.viewer, scattered.form.lesions.reference
    spacing = np.array(scattered.session.patient.spacing)
    for number in (1, 2, 0):
        click_cell(qtbot, table.view, number, 1)
        place = np.array(table.model.rows[number].position)
        assert scattered.layers.current_slice() == place[0]
        np.testing.assert_allclose(viewer.scene.camera.center[-2:], (place * spacing)[1:], atol=1e-3)
    scattered.viewer.dims.ndisplay = 3
    click_cell(qtbot, table.view, 1, 1)
    place = np.array(table.model.rows[1].position)
    np.testing.assert_allclose(viewer.scene.camera.center, place * spacing, atol=1e-3)
    scattered.viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    click_cell(qtbot, table.view, 2, 1)
    place = np.array(table.model.rows[2].position)
    np.testing.assert_allclose(viewer.dims.point[1], (place * spacing)[1], atol=spacing[1])
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (place * spacing)[[0, 2]], atol=1e-3)


def test_keys_go_to_the_next_and_the_previous_lesion(scattered, qtbot):
    table = scattered.form.lesions.reference
    places = [row.position[0] for row in table.model.rows]
    seen = []
    for shift in (False, False, False, True):
        press(qtbot, scattered, Qt.Key.Key_N, shift)
        seen.append(scattered.layers.current_slice())
    assert seen == [places[0], places[1], places[2], places[1]]
    scattered.form.lesions.tabs.setCurrentIndex(1)
    press(qtbot, scattered, Qt.Key.Key_N)
    assert scattered.layers.current_slice() == scattered.form.lesions.detected.model.rows[0].position[0]


def test_the_list_belongs_to_the_analysis_that_was_chosen(ready, qtbot):
    run(qtbot, ready, score="intensity")
    drag(qtbot, ready.threshold, 0.8, steps=3)
    settle(qtbot, ready)
    for analysis in ready.session.analyses:
        ready.compare.select(analysis.key)
        settle(qtbot, ready)
        _, count = ndimage.label(analysis.mask, EVERYWHERE)
        assert len(ready.form.lesions.detected.model.rows) == count
        assert_figures(ready)
