"""Several analyses of one patient: the table, and side by side in the viewer."""

from __future__ import annotations

import re
import shutil
import threading

import numpy as np
import pytest
from napari.components.overlays import ColorBarOverlay
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QApplication, QDockWidget

from dock_driving import (
    LEFT,
    click,
    click_cell,
    click_tick,
    drag,
    expected_mask,
    layers_of,
    press,
    run,
    scroll_to,
    settle,
    shown_mask,
)
from napari_cead.contributions.layers import tag_of
from napari_cead.detection import SCORES
from napari_cead.exploring import MapHistogram
from napari_cead.widgets.canvas.analysis_layers import AnalysisLayers
from napari_cead.widgets.explore import curve_and_figures
from napari_cead.zoo import find_model, list_models, load_card

SHARES_DOCK = True

NO_KEY = Qt.KeyboardModifier.NoModifier

FIRST, SECOND, THIRD = ("tiny", "intensity"), ("tiny-vae", "intensity"), ("tiny-vae", "squared")


@pytest.fixture
def two(installed_vae, widget, after, qtbot, request):
    """The dock after two models were run; the sliders belong to the second one."""

    def run_both():
        detected = request.getfixturevalue("detected")
        settle(qtbot, detected)
        drag(qtbot, detected.threshold, 0.6, steps=3)
        settle(qtbot, detected)
        run(qtbot, detected, "tiny-vae", "intensity")
        return detected

    dock = after("two", run_both)
    settle(qtbot, dock)
    dock.form.tabs.setCurrentWidget(dock.form.comparison)
    yield dock
    settle(qtbot, dock)


@pytest.fixture
def side(two, qtbot):
    """The same, side by side."""
    click(qtbot, two.form.comparison.side_by_side)
    return two


def rows(widget):
    """Texts of the table."""
    model = widget.form.comparison.table
    return [
        [model.data(model.index(row, column)) for column in range(model.columnCount())]
        for row in range(model.rowCount())
    ]


def visible(widget):
    return [layer.name for layer in widget.viewer.layers if layer.visible]


def tile_mask(widget, key):
    (layer,) = [layer for layer in layers_of(widget, "detected mask", key) if layer.visible]
    return layer


def assert_tiles(widget, *keys):
    """The grid shows these analyses, each over the scan, all in the same place and of the same size."""
    layers, grid = widget.viewer.layers, widget.viewer.canvas.grid
    assert grid.enabled
    assert widget.form.comparison.side_by_side.isChecked()
    stride = grid.stride
    scan = layers_of(widget, "sequence")[-1]
    analyses = {one.key: one for one in widget.session.analyses}
    for number, key in enumerate(keys):
        tile = layers[number * stride : (number + 1) * stride]
        assert [tag_of(layer).role for layer in tile] == ["tile", "anomaly map", "detected mask", "tile"]
        assert {tag_of(layer).analysis for layer in tile} == {key}
        assert {grid.position(layers.index(layer), layers) for layer in tile} == {(0, number)}
        for layer in tile:
            assert layer.visible
            np.testing.assert_allclose(layer.scale, scan.scale)
            np.testing.assert_allclose(layer.translate, scan.translate)
            np.testing.assert_allclose(layer.extent.world, scan.extent.world)
        patient = widget.session.patient
        np.testing.assert_array_equal(tile[0].data, patient.volume())
        np.testing.assert_array_equal(tile[1].data, analyses[key].anomaly_map)
        np.testing.assert_array_equal(shown_mask(tile[2]), analyses[key].mask)
        np.testing.assert_array_equal(shown_mask(tile[3]), patient.lesion_mask)
        assert tile[2].editable == (key == widget.session.analysis.key)
        assert not tile[3].editable
    assert not any(layer.visible for layer in layers[len(keys) * stride :])


def test_the_table_says_what_each_analysis_gives(two):
    first, second = two.session.analyses
    for row, analysis in zip(rows(two), (first, second), strict=True):
        assert row[0] == ("▸ " if analysis is second else "") + "\n".join(analysis.key)
        assert row[1] == f"{analysis.params.threshold:.3f}"
        assert row[2] == f"{analysis.dice:.3f}"
        detected, reference = analysis.mask, two.session.patient.lesion_mask
        assert row[3] == f"{(detected & reference).sum() / detected.sum():.3f}"
        assert row[4] == f"{(detected & reference).sum() / reference.sum():.3f}"
        assert row[7] == f"{detected.sum() * np.prod(two.session.patient.spacing) / 1000:.2f}"
    assert first.params.threshold != second.params.threshold


def test_no_column_is_hidden_or_cut_in_a_dock_of_480_pixels(two, qtbot):
    """Not while figures are computed either, nor with the longest names of a model and a score that we bring."""
    window, view = two.viewer.window._qt_window, two.form.comparison.view
    frame = next(frame for frame in window.findChildren(QDockWidget) if frame.isAncestorOf(two))
    window.resizeDocks([frame], [480], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: two.width() <= 480)
    settle(qtbot, two)
    scroll_to(qtbot, view)
    header, model = view.horizontalHeader(), view.model()
    qtbot.waitUntil(lambda: header.length() <= view.viewport().width())
    assert view.horizontalScrollBar().maximum() == 0
    assert view.visibleRegion().boundingRect().width() == view.width()
    places = [header.sectionPosition(column) for column in range(model.columnCount())]
    for column, widest in enumerate(each.width or "" for each in model.columns):
        texts = [header.model().headerData(column, Qt.Orientation.Horizontal), widest]
        texts += [model.index(row, column).data() for row in range(model.rowCount())]
        if (
            column == 0
        ):  # a tick, and the mark of the one that the sliders belong to; a name may be broken at a hyphen
            names = "\n".join(
                [*(f"▸ {info.name}" for info in list_models()), *(score.name for score in SCORES)]
            )
            texts = names.replace("-", "-\n").split("\n")
        room = header.sectionSize(column) - (24 if column == 0 else 4)
        for line in "\n".join(texts).split("\n"):
            assert view.fontMetrics().horizontalAdvance(line) <= room, (line, room)
        assert header.model().headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    two.form.comparison.set_rows(two.session.analyses, {}, None)  # all of them pending
    assert model.index(0, 2).data() == "…"
    assert [header.sectionPosition(column) for column in range(model.columnCount())] == places
    two.compare.refresh()


def test_one_analysis_cannot_stand_beside_another(detected, qtbot):
    detected.form.tabs.setCurrentWidget(detected.form.comparison)
    settle(qtbot, detected)
    assert not detected.form.comparison.side_by_side.isEnabled()
    assert not detected.form.comparison.forget.isEnabled()
    press(qtbot, detected, Qt.Key.Key_Q)
    assert not detected.viewer.canvas.grid.enabled
    detected.score.value = "squared"
    settle(qtbot, detected)
    assert detected.form.comparison.side_by_side.isEnabled()


def test_a_click_shows_them_side_by_side_in_the_same_place(side):
    assert_tiles(side, FIRST, SECOND)
    names = [layer.name for layer in side.viewer.layers if layer.visible and tag_of(layer).role == "tile"]
    assert re.fullmatch(r"Dice 0\.\d{3} · tiny", names[0])


def test_each_tile_is_titled_with_its_own_dice(side, qtbot, monkeypatch):
    def titles():
        return {
            tag_of(layer).analysis: layer.name
            for layer in side.viewer.layers
            if tag_of(layer).role == "tile" and layer.name_overlay.visible
        }

    def expected():
        return {
            one.key: f"Dice {one.dice:.3f} · {one.key[0]}"
            for one in side.session.analyses
            if one.dice is not None
        }

    settle(qtbot, side)
    assert titles() == expected() and len(titles()) == 2
    before = titles()
    drag(qtbot, side.threshold, 0.85)
    settle(qtbot, side)
    assert titles() == expected() != before
    assert titles()[FIRST] == before[FIRST], "the sliders belong to the second one"


def test_the_button_says_that_the_layers_are_being_made(two, qtbot, monkeypatch):
    said = []
    made = two.layers.side_by_side
    monkeypatch.setattr(
        two.layers,
        "side_by_side",
        lambda *given: (
            said.append((two.form.comparison.side_by_side.text(), QApplication.overrideCursor()))
            or made(*given)
        ),
    )
    click(qtbot, two.form.comparison.side_by_side)
    (text, cursor), *_ = said
    assert text == "Making the layers…" and cursor is not None
    qtbot.waitUntil(lambda: two.form.comparison.side_by_side.text() == "Side by side")
    assert QApplication.overrideCursor() is None


@pytest.mark.parametrize("again", ["click", "key"])
def test_a_second_click_meanwhile_does_not_undo_it(two, qtbot, monkeypatch, again):
    button, made = two.form.comparison.side_by_side, two.layers.side_by_side

    def slowly(*given):
        """Make the layers while the impatient press again: Qt hands that out afterwards."""
        middle = QPointF(button.rect().center())
        if again == "key":
            events = [
                QKeyEvent(kind, Qt.Key.Key_Space, NO_KEY)
                for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease)
            ]
        else:
            events = [
                QMouseEvent(kind, middle, QPointF(button.mapToGlobal(middle.toPoint())), LEFT, held, NO_KEY)
                for kind, held in (
                    (QEvent.Type.MouseButtonPress, LEFT),
                    (QEvent.Type.MouseButtonRelease, Qt.MouseButton.NoButton),
                )
            ]
        for event in events:
            QApplication.postEvent(button, event)
        return made(*given)

    monkeypatch.setattr(two.layers, "side_by_side", slowly)
    click(qtbot, button)
    assert button.text() == "Making the layers…"
    qtbot.waitUntil(lambda: button.text() == "Side by side")
    settle(qtbot, two)
    assert_tiles(two, FIRST, SECOND)
    click(qtbot, button)
    settle(qtbot, two)
    assert not button.isChecked(), "from now on a click counts again"


def test_side_by_side_nothing_is_written_over_the_names_of_the_tiles(side, qtbot):
    assert side.on_canvas.text == ""
    side.form.comparison.side_by_side.click()
    settle(qtbot, side)
    assert side.on_canvas.text.startswith("Dice")


def test_the_titles_of_tiles_fit_beside_their_colour_bars(detected, qtbot, tmp_path):
    """As napari draws them, on a small screen and on paper."""
    detected.viewer.window.resize(1366, 768)
    for score in ("positive-residual", "median-residual"):
        detected.score.value = score
        settle(qtbot, detected)
        click(qtbot, detected.run.native)
        settle(qtbot, detected)
    click(qtbot, detected.form.comparison.side_by_side)
    settle(qtbot, detected)
    canvas, viewer = detected.viewer.window._qt_viewer.canvas, detected.viewer
    places = []

    def look(event=None):
        canvas._update_overlay_canvas_positions()
        places.append([])
        width = viewer.canvas.viewbox_size(viewer.layers)[1]
        for layer in viewer.layers:
            for overlay, drawn in canvas._layer_overlay_to_visual.get(layer, {}).items():
                bar = isinstance(overlay, ColorBarOverlay)
                if layer.visible and overlay.visible and (bar or overlay is layer.name_overlay):
                    left = drawn.node.transform.translate[0]
                    places[-1].append((bar, left, left + drawn.x_size, width))

    def names():
        return [layer.name.split("\n") for layer in layers_of(detected, "tile")[::2]]

    look()
    before, screen = names(), places[0][0][3]
    canvas._scene_canvas.events.draw.connect(look, position="last")
    detected.saving.save_figure(tmp_path / "figure.png")
    canvas._scene_canvas.events.draw.disconnect(look)
    paper = [drawn for drawn in places if drawn[0][3] > 1.5 * screen]
    for drawn in (places[0], paper[-1]):
        assert sorted(bar for bar, *_ in drawn) == [False] * 3 + [True] * 3
        for (bar, _, end, width), (other, start, far, _) in zip(drawn[::2], drawn[1::2], strict=True):
            assert not bar and other and end < start and far <= width
    assert names() == before, "after the figure as before it"
    assert [name[-1].split(" · ")[-1][:9] for name in before] == ["intensity", "positive-", "median-re"]
    assert all(name[0].startswith("Dice 0.") for name in before), "the whole figure"


def test_what_a_model_is_belongs_to_the_model_that_is_named(two, qtbot):
    two.form.tabs.setCurrentWidget(two.form.comparison)
    for row in range(2):
        click_cell(qtbot, two.form.comparison.view, row, 2)
        settle(qtbot, two)
        assert two.form.model_says.text() == load_card(find_model(two.model.value)).description


def test_two_scores_of_one_model_are_named_by_their_scores(detected, qtbot):
    settle(qtbot, detected)
    detected.score.value = "squared"
    settle(qtbot, detected)
    press(qtbot, detected, Qt.Key.Key_Q)
    assert_tiles(detected, FIRST, ("tiny", "squared"))
    titles = [detected.viewer.layers[i].name.replace("\n", " · ").split(" · ", 1)[1] for i in (0, 4)]
    assert titles == ["tiny · intensity", "tiny · squared"]


def test_all_is_as_before_when_it_is_over(two, qtbot):
    viewer = two.viewer
    viewer.scene.camera.zoom, viewer.scene.camera.center = 7.5, (0, 20, 30)
    viewer.canvas.grid.stride = 3
    layers_of(two, "anomaly map")[0].visible = False
    before = visible(two)
    click(qtbot, two.form.comparison.side_by_side)
    assert viewer.canvas.grid.enabled
    assert visible(two) != before
    assert viewer.scene.camera.zoom == pytest.approx(7.5 / 2)
    settle(qtbot, two)
    press(qtbot, two, Qt.Key.Key_Q)
    assert not viewer.canvas.grid.enabled
    assert viewer.canvas.grid.stride == 3
    assert visible(two) == before
    assert viewer.scene.camera.zoom == pytest.approx(7.5)
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (20, 30))
    assert layers_of(two, "tile") == []
    (mask,) = layers_of(two, "detected mask")
    np.testing.assert_array_equal(shown_mask(mask), two.session.mask)


def test_a_slider_moves_only_the_tile_it_belongs_to(side, qtbot):
    other = shown_mask(tile_mask(side, FIRST)).copy()
    before = shown_mask(tile_mask(side, SECOND)).copy()
    drag(qtbot, side.threshold, 0.9)
    settle(qtbot, side)
    np.testing.assert_array_equal(shown_mask(tile_mask(side, FIRST)), other)
    assert not np.array_equal(shown_mask(tile_mask(side, SECOND)), before)
    np.testing.assert_array_equal(shown_mask(tile_mask(side, SECOND)), expected_mask(side))
    assert_tiles(side, FIRST, SECOND)
    assert rows(side)[1][1] == f"{side.threshold.value:.3f}"


def test_a_chosen_row_brings_its_own_settings_and_gets_the_sliders(side, qtbot):
    first, second = side.session.analyses
    click_cell(qtbot, side.form.comparison.view, 0, 2)
    assert side.session.analysis is first
    assert side.threshold.value == pytest.approx(first.params.threshold, abs=5e-4)
    assert (side.model.value, side.score.value) == FIRST
    assert [row[0].startswith("▸") for row in rows(side)] == [True, False]
    assert_tiles(side, FIRST, SECOND)
    drag(qtbot, side.dilation_radius, 0.2, steps=3)
    settle(qtbot, side)
    click_cell(qtbot, side.form.comparison.view, 1, 2)
    settle(qtbot, side)
    assert side.threshold.value == pytest.approx(second.params.threshold, abs=5e-4)
    assert side.dilation_radius.value == second.params.dilation_radius
    assert side.session.analyses[1] is second, "nothing was done to it"
    assert side.session.analyses[0].params.dilation_radius > first.params.dilation_radius
    assert_tiles(side, FIRST, SECOND)


def assert_one(widget, analysis):
    """Session, sliders, plot, words and picture all are those of this analysis."""
    assert widget.session.analysis.key == analysis.key
    assert widget.form.state.text() == f"Shown: {' · '.join(analysis.key)}"
    assert (widget.model.value, widget.score.value) == analysis.key
    assert widget.threshold.value == pytest.approx(analysis.params.threshold, abs=1e-6)
    assert widget.form.plot.current == analysis.params.threshold
    (shown,) = layers_of(widget, "anomaly map")
    np.testing.assert_array_equal(shown.data, analysis.anomaly_map)
    (mask,) = layers_of(widget, "detected mask")
    np.testing.assert_array_equal(shown_mask(mask), analysis.mask)


def test_a_threshold_beyond_the_axis_finer_than_a_slider_can_show_is_shown(two, qtbot):
    click_cell(qtbot, two.form.comparison.view, 0, 2)
    two.session.set(threshold=0.6982421875)
    settle(qtbot, two)
    click_cell(qtbot, two.form.comparison.view, 1, 2)
    two.session.set(threshold=0.05)
    settle(qtbot, two)
    two.form.plot.set_end(0.1, anew=True)  # as for a score whose values are small
    assert two.threshold.max == pytest.approx(0.1)
    click_cell(qtbot, two.form.comparison.view, 0, 2)
    settle(qtbot, two)
    assert_one(two, two.session.analyses[0])
    assert two.session.params.threshold == 0.6982421875


def test_what_fails_beside_the_picture_leaves_it_on_the_analysis_of_the_dock(two, qtbot, monkeypatch):
    def fail(*given):
        raise TypeError

    with qtbot.captureExceptions() as caught, monkeypatch.context() as broken:
        broken.setattr(two.insight, "follow", fail)
        click_cell(qtbot, two.form.comparison.view, 0, 2)
    assert [kind for kind, *_ in caught] == [TypeError]
    two.insight.follow(two.session.analysis)
    settle(qtbot, two)
    assert_one(two, two.session.analyses[0])


@pytest.mark.parametrize("tiled", [False, True])
def test_a_picture_that_fails_is_no_picture_of_another_analysis(two, qtbot, monkeypatch, tiled):
    if tiled:
        click(qtbot, two.form.comparison.side_by_side)
    with qtbot.captureExceptions() as caught, monkeypatch.context() as broken:
        broken.setattr(AnalysisLayers, "write_volume", None)
        click_cell(qtbot, two.form.comparison.view, 0, 2)
        assert [kind for kind, *_ in caught] == [TypeError]
        if not tiled:
            assert not layers_of(two, "anomaly map") and not layers_of(two, "detected mask")
    settle(qtbot, two)
    assert two.form.state.text() == f"Shown: {' · '.join(FIRST)}"
    assert not two.form.comparison.side_by_side.isChecked()
    click_cell(qtbot, two.form.comparison.view, 1, 2)
    settle(qtbot, two)
    assert_one(two, two.session.analyses[1])


@pytest.mark.slow  # a race; choosing a row is tested above
def test_choosing_a_row_while_a_slider_is_still_on_its_way(two, qtbot):
    two.threshold.value = 0.88
    click_cell(qtbot, two.form.comparison.view, 0, 0)
    assert two.session.analyses[1].params.threshold == pytest.approx(0.88)
    assert two.threshold.value == pytest.approx(two.session.analyses[0].params.threshold, abs=5e-4)
    settle(qtbot, two)
    for analysis in two.session.analyses:
        np.testing.assert_array_equal(analysis.mask, expected_mask(two, analysis))
    (mask,) = layers_of(two, "detected mask")
    np.testing.assert_array_equal(shown_mask(mask), two.session.analyses[0].mask)


@pytest.mark.parametrize("by", ["row", "score"])
def test_the_plot_is_blank_until_the_other_map_has_been_looked_at(two, qtbot, monkeypatch, by):
    look, go_on = curve_and_figures._look, threading.Event()
    monkeypatch.setattr(curve_and_figures, "_look", lambda *asked: go_on.wait() and look(*asked))
    before, plot = two.session.analysis.key, two.form.plot
    assert drawn(plot._healthy) and drawn(plot._raw)
    if by == "row":
        click_cell(qtbot, two.form.comparison.view, 0, 2)
    else:
        two.score.native.setFocus()
        qtbot.keyClick(two.score.native, Qt.Key.Key_Down)
    try:
        qtbot.waitUntil(lambda: two.session.analysis.key != before and not two.running)
        assert not drawn(plot._healthy) and not drawn(plot._lesion) and not drawn(plot._raw)
        assert plot.has_dice, "its place is kept"
        suggested = {one.params.threshold for one in two.session.analysis.suggestions}
        qtbot.waitUntil(lambda: suggested <= {mark.threshold for mark in plot._marks})
    finally:
        go_on.set()
    settle(qtbot, two)
    now = two.session.analysis
    expected = MapHistogram.of(
        now.anomaly_map, now.reconstruction.stack.brain, two.session.patient.lesion_mask
    )
    np.testing.assert_array_equal(plot._histogram.healthy, expected.healthy)
    assert drawn(plot._healthy) and drawn(plot._raw)


def drawn(curve):
    """Whether a curve of the plot has points."""
    x, _ = curve.getData()
    return x is not None and len(x) > 0


def test_the_model_box_switches_too(two, qtbot):
    settle(qtbot, two)
    two.model.value = "tiny"
    qtbot.waitUntil(lambda: two.session.analysis.key == FIRST)
    settle(qtbot, two)
    assert two.form.comparison.view.currentIndex().row() == 0
    assert rows(two)[0][0].startswith("▸")


def test_a_stroke_counts_for_the_tile_it_belongs_to(side, qtbot):
    z, layer = side.layers.current_slice(), tile_mask(side, SECOND)
    layer.mode = "paint"
    layer.paint((z, 2, 2), 1)
    click_cell(qtbot, side.form.comparison.view, 0, 3)  # before the stroke was looked at
    settle(qtbot, side)
    first, second = side.session.analyses
    assert second.mask[z, 2, 2]
    assert first.corrections is None
    assert rows(side)[1][0].endswith("✎")
    assert_tiles(side, FIRST, SECOND)


@pytest.mark.slow  # a race; the stroke itself is tested above
def test_a_stroke_right_before_the_switch_is_not_lost(two, qtbot):
    (layer,) = layers_of(two, "detected mask")
    z = two.layers.current_slice()
    layer.paint((z, 2, 2), 1)
    press(qtbot, two, Qt.Key.Key_Q)
    assert two.session.mask[z, 2, 2]
    tile_mask(two, SECOND).paint((z, 2, 40), 1)
    press(qtbot, two, Qt.Key.Key_Q)
    assert two.session.mask[z, 2, 40]


def test_ticks_say_what_is_shown(side, qtbot):
    def tiles():
        return {tag_of(layer).analysis for layer in layers_of(side, "tile")}

    zoom = side.viewer.scene.camera.zoom
    run(qtbot, side, score="squared")
    qtbot.waitUntil(lambda: tiles() == {FIRST, SECOND, THIRD})
    settle(qtbot, side)
    click_tick(qtbot, side.form.comparison.view, 1)
    qtbot.waitUntil(lambda: tiles() == {FIRST, THIRD})
    settle(qtbot, side)
    assert_tiles(side, FIRST, THIRD)
    qtbot.waitUntil(lambda: side.viewer.scene.camera.zoom == pytest.approx(zoom))
    click_tick(qtbot, side.form.comparison.view, 0)
    settle(qtbot, side)
    qtbot.waitUntil(lambda: not side.form.comparison.side_by_side.isChecked())
    qtbot.waitUntil(lambda: not side.viewer.canvas.grid.enabled)
    assert not side.form.comparison.side_by_side.isEnabled()
    click_tick(qtbot, side.form.comparison.view, 0)
    qtbot.waitUntil(side.form.comparison.side_by_side.isEnabled)


@pytest.mark.slow
def test_one_without_a_tick_can_be_looked_at_and_goes_again(side, qtbot):
    run(qtbot, side, score="squared")
    click_cell(qtbot, side.form.comparison.view, 0, 3)
    click_tick(qtbot, side.form.comparison.view, 1)
    settle(qtbot, side)
    click_cell(qtbot, side.form.comparison.view, 1, 3)
    settle(qtbot, side)
    assert side.session.analysis.key == SECOND
    assert {tag_of(layer).analysis for layer in layers_of(side, "tile")} == {FIRST, SECOND, THIRD}
    click_cell(qtbot, side.form.comparison.view, 0, 3)
    settle(qtbot, side)
    assert_tiles(side, FIRST, THIRD)


@pytest.mark.slow
def test_forgetting_takes_row_and_tile_away(side, qtbot):
    run(qtbot, side, score="squared")
    view = side.form.comparison.view
    click_cell(qtbot, view, 1, 3)
    settle(qtbot, side)
    assert side.session.analysis.key == SECOND
    click(qtbot, side.form.comparison.forget)
    settle(qtbot, side)
    assert len(side.session.analyses) == 2, "a click on Forget always does something"
    assert SECOND not in [one.key for one in side.session.analyses]
    keys = [one.key for one in side.session.analyses]
    assert_tiles(side, *keys)
    click(qtbot, side.form.comparison.forget)
    settle(qtbot, side)
    assert len(rows(side)) == 1
    assert not side.viewer.canvas.grid.enabled
    assert not side.form.comparison.forget.isEnabled()
    (mask,) = layers_of(side, "detected mask")
    np.testing.assert_array_equal(shown_mask(mask), side.session.mask)


@pytest.mark.slow
def test_a_new_run_joins_the_others(side, qtbot):
    before = side.session.analyses
    click(qtbot, side.run.native)  # the same again
    settle(qtbot, side)
    assert_tiles(side, FIRST, SECOND)
    assert side.session.analyses[0] is before[0]
    run(qtbot, side, score="squared")
    assert {tag_of(layer).analysis for layer in layers_of(side, "tile")} == {FIRST, SECOND, THIRD}
    assert side.viewer.canvas.grid.stride == 4
    drag(qtbot, side.threshold, 0.5, steps=3)
    settle(qtbot, side)
    np.testing.assert_array_equal(shown_mask(tile_mask(side, THIRD)), expected_mask(side))


def test_a_new_patient_ends_it(side, patient_folder, tmp_path, qtbot):
    second = shutil.copytree(patient_folder, tmp_path / "Mets_002")
    side.patient.value = second
    qtbot.waitUntil(lambda: side.session.patient.name == "Mets_002")
    settle(qtbot, side)
    assert not side.viewer.canvas.grid.enabled
    assert not side.form.comparison.side_by_side.isChecked()
    assert rows(side) == []
    assert sorted(visible(side)) == ["flair", "lesion mask"]
    assert len(side.viewer.layers) == 3
    run(qtbot, side)
    (mask,) = layers_of(side, "detected mask")
    np.testing.assert_array_equal(shown_mask(mask), side.session.mask)


@pytest.mark.parametrize("which", [0, *(pytest.param(layer, marks=pytest.mark.slow) for layer in (1, 2, 6))])
def test_a_deleted_layer_ends_it_and_nothing_is_lost(side, qtbot, which):
    side.viewer.layers.remove(side.viewer.layers[which])
    qtbot.waitUntil(lambda: not side.viewer.canvas.grid.enabled)
    assert layers_of(side, "tile") == []
    drag(qtbot, side.threshold, 0.8, steps=3)
    settle(qtbot, side)
    (mask,) = layers_of(side, "detected mask")
    np.testing.assert_array_equal(shown_mask(mask), expected_mask(side))
    assert len(side.session.analyses) == 2
    click(qtbot, side.form.comparison.side_by_side)
    assert_tiles(side, FIRST, SECOND)


@pytest.mark.slow  # options are tested with one analysis, tiles above
def test_options_change_the_map_of_one_tile(side, qtbot):
    before = side.session.analyses[0]
    side.form.option_rows["smoothing_mm"].slider.value = 1.5
    settle(qtbot, side)
    assert side.session.analyses[0] is before
    assert side.session.analyses[1].options.smoothing_mm == 1.5
    assert_tiles(side, FIRST, SECOND)
    side.form.undo.native.click()
    settle(qtbot, side)
    assert side.form.option_rows["smoothing_mm"].slider.value == 0
    assert_tiles(side, FIRST, SECOND)
