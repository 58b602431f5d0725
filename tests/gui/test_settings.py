"""Settings of the dock: undo, reset, map options, scores, export and restore, keys."""

from __future__ import annotations

import json
import shutil
import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt

import napari_cead as cead
from dock_driving import click, drag, expected_mask, layers_of, press, run, settle, shown_mask
from napari_cead.detection import MapOptions, available_scores
from napari_cead.zoo import find_model, load_card
from patience import PATIENCE
from scans import brain_of

SHARES_DOCK = True


def assert_follows(widget):
    (mask,) = layers_of(widget, "detected mask")
    np.testing.assert_array_equal(shown_mask(mask), expected_mask(widget))
    assert widget.threshold.value == pytest.approx(widget.session.params.threshold, abs=5e-4)
    options = MapOptions(**{name: row.slider.value for name, row in widget.form.option_rows.items()})
    assert options == widget.session.options == widget.session.analysis.options
    analysis = widget.session.analysis
    (layer,) = layers_of(widget, "anomaly map")
    expected = analysis.reconstruction.anomaly_map(analysis.score, options)
    np.testing.assert_array_equal(layer.data, expected)


def test_a_drag_is_undone_in_one_step_by_button_and_by_key(ready, qtbot):
    assert not ready.form.undo.enabled
    assert not ready.form.redo.enabled
    drag(qtbot, ready.threshold, 0.5, steps=30)
    settle(qtbot, ready)
    chosen = ready.threshold.value
    drag(qtbot, ready.dilation_radius, 0.2, steps=5)
    settle(qtbot, ready)
    radius = ready.dilation_radius.value
    assert radius > 1

    click(qtbot, ready.form.undo.native)
    settle(qtbot, ready)
    assert (ready.dilation_radius.value, ready.threshold.value) == (1, pytest.approx(chosen, abs=1e-5))
    assert_follows(ready)
    press(qtbot, ready, Qt.Key.Key_U)
    settle(qtbot, ready)
    assert ready.threshold.value == pytest.approx(0.7)
    assert not ready.form.undo.enabled
    assert_follows(ready)
    assert ready.form.rule.text() == "Suggested: best on validation patients"

    press(qtbot, ready, Qt.Key.Key_U, shift=True)
    settle(qtbot, ready)
    click(qtbot, ready.form.redo.native)
    settle(qtbot, ready)
    # The slider shows a value that is set to its finest step; one that is dragged is finer.
    assert (ready.dilation_radius.value, ready.threshold.value) == (radius, pytest.approx(chosen, abs=1e-5))
    assert not ready.form.redo.enabled
    assert_follows(ready)


def test_undo_right_after_a_move_takes_back_that_move(ready, qtbot):
    ready.threshold.value = 0.9
    press(qtbot, ready, Qt.Key.Key_U)  # nothing to undo as far as the button knows
    settle(qtbot, ready)
    ready.form.undo.native.click()
    settle(qtbot, ready)
    assert ready.session.params.threshold == 0.7
    assert_follows(ready)
    for value in (0.5, 0.6):
        ready.threshold.value = value
        qtbot.wait(900)  # two gestures
    settle(qtbot, ready)
    ready.threshold.value = 0.8
    click(qtbot, ready.form.undo.native)
    settle(qtbot, ready)
    assert ready.session.params.threshold == pytest.approx(0.6)
    assert_follows(ready)


def test_reset_is_a_step_too(ready, qtbot):
    drag(qtbot, ready.threshold, 0.4, steps=5)
    chosen = ready.threshold.value
    click(qtbot, ready.form.reset.native)
    settle(qtbot, ready)
    assert ready.session.params.threshold == 0.7
    click(qtbot, ready.form.undo.native)
    settle(qtbot, ready)
    assert ready.threshold.value == pytest.approx(chosen)


def test_before_a_run_reset_is_what_the_chosen_model_starts_with(installed_vae, widget, qtbot):
    widget.model.value = "tiny-vae"
    drag(qtbot, widget.threshold, 0.3, steps=3)
    click(qtbot, widget.form.reset.native)
    assert widget.threshold.value == pytest.approx(0.7)
    assert "Threshold 0.700, Closing radius 2 px" in widget.form.use_suggested.native.toolTip()
    assert widget.form.rule.text() == "Suggested: best on validation patients"
    widget.score.value = "kl-gradient"
    click(qtbot, widget.form.reset.native)
    assert (widget.threshold.value, widget.closing_radius.value) == (pytest.approx(0.5), 2)
    assert widget.form.rule.text() == "Default settings, suggested threshold: best on validation patients"
    told = widget.form.use_suggested.native.toolTip()
    assert "Threshold 0.500, Closing radius 3 px, Area opening 60%, Dilation radius 1 px" in told
    click(qtbot, widget.form.use_suggested.native)
    assert (widget.threshold.value, widget.closing_radius.value) == (pytest.approx(0.5), 3)
    assert widget.form.rule.text() == "Suggested: best on validation patients"


def test_all_that_the_model_suggests_is_one_click_away_and_is_kept_by_a_run(ready, qtbot):
    ready.score.value = "kl-gradient"
    settle(qtbot, ready)
    assert ready.area_fraction.value == pytest.approx(0.6)
    assert (ready.threshold.value, ready.closing_radius.value) == (pytest.approx(0.5), 2)
    assert ready.form.rule.text() == "Default settings, suggested threshold: best on validation patients"
    click(qtbot, ready.form.use_suggested.native)
    settle(qtbot, ready)
    assert ready.session.params == ready.session.analysis.suggestion
    assert ready.form.rule.text() == "Suggested: best on validation patients"
    assert_follows(ready)
    run(qtbot, ready, "tiny-vae", "kl-gradient")
    assert ready.closing_radius.value == 3
    click(qtbot, ready.form.undo.native)
    settle(qtbot, ready)
    click(qtbot, ready.form.reset.native)
    settle(qtbot, ready)
    assert ready.session.params == ready.session.analysis.start
    assert_follows(ready)


def test_the_mask_may_leave_the_brain_if_told_to(ready, qtbot):
    drag(qtbot, ready.dilation_radius, 0.2, steps=3)
    drag(qtbot, ready.threshold, 0.1, steps=3)
    settle(qtbot, ready)
    brain = ready.session.analysis.reconstruction.stack.brain
    assert not (ready.session.mask & ~brain).any()
    switch = ready.form.switches["inside_brain"].slider
    switch.value = False
    settle(qtbot, ready)
    assert not ready.session.params.inside_brain
    assert (ready.session.mask & ~brain).any()
    assert_follows(ready)
    click(qtbot, ready.form.undo.native)
    settle(qtbot, ready)
    assert switch.value and not (ready.session.mask & ~brain).any()


@pytest.mark.parametrize("name", ["smoothing_mm", pytest.param("erosion_radius", marks=pytest.mark.slow)])
def test_map_options_move_map_and_mask_and_can_be_undone(ready, qtbot, name):
    plain = layers_of(ready, "anomaly map")[0].data.copy()
    ready.form.option_rows[name].slider.value = 2
    settle(qtbot, ready)
    assert getattr(ready.session.options, name) == 2
    assert not np.array_equal(layers_of(ready, "anomaly map")[0].data, plain)
    assert_follows(ready)
    drag(qtbot, ready.threshold, 0.5, steps=3)
    settle(qtbot, ready)
    assert_follows(ready)
    for _ in range(2):
        click(qtbot, ready.form.undo.native)
        settle(qtbot, ready)
    np.testing.assert_array_equal(layers_of(ready, "anomaly map")[0].data, plain)
    assert_follows(ready)


def test_an_option_moved_right_before_something_else_still_counts(ready, qtbot, tmp_path):
    smoothing = ready.form.option_rows["smoothing_mm"].slider
    smoothing.value = 1.5
    ready.score.value = "squared"
    settle(qtbot, ready)
    assert [one.options.smoothing_mm for one in ready.session.analyses] == [1.5, 1.5]
    assert_follows(ready)
    smoothing.value = 0.5
    click(qtbot, ready.run.native)
    settle(qtbot, ready)
    assert ready.session.options.smoothing_mm == 0.5
    assert_follows(ready)
    smoothing.value = 2.5
    ready.export_to(tmp_path / "out")
    settle(qtbot, ready)
    settings = json.loads((tmp_path / "out" / "Mets_001_tiny-vae_settings.json").read_text())
    assert settings["options"]["smoothing_mm"] == 2.5
    assert_follows(ready)


def test_what_is_moved_during_a_run_is_in_the_result(ready, qtbot, monkeypatch):
    from napari_cead.exploring import session as module

    run_network, started, go_on = module.run, threading.Event(), threading.Event()

    def slow(*arguments, **keywords):
        started.set()
        assert go_on.wait(20 * PATIENCE)
        return run_network(*arguments, **keywords)

    monkeypatch.setattr(module, "run", slow)
    click(qtbot, ready.run.native)
    qtbot.waitUntil(started.is_set)
    ready.form.option_rows["erosion_radius"].slider.value = 3
    drag(qtbot, ready.threshold, 0.6, steps=3)
    chosen = ready.threshold.value
    qtbot.wait(300)
    go_on.set()
    settle(qtbot, ready)
    assert ready.session.params.threshold == pytest.approx(chosen)
    assert ready.session.options.erosion_radius == 3
    assert_follows(ready)


def test_a_slider_dragged_while_the_map_is_made_anew_stays_where_it_is(ready, qtbot, monkeypatch):
    make, started, go_on = MapOptions.apply, threading.Event(), threading.Event()

    def slow(self, *arguments):
        if threading.current_thread() is not threading.main_thread():
            started.set()
            assert go_on.wait(20 * PATIENCE)
        return make(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(MapOptions, "apply", slow)
        ready.form.option_rows["smoothing_mm"].slider.value = 1.0
        qtbot.waitUntil(started.is_set)
        drag(qtbot, ready.threshold, 0.4, steps=5)
        chosen = ready.threshold.value
        go_on.set()
        settle(qtbot, ready)
    assert ready.threshold.value == pytest.approx(chosen)
    assert ready.session.params.threshold == pytest.approx(chosen)
    assert ready.session.options.smoothing_mm == 1.0
    assert_follows(ready)


def test_the_scores_are_those_that_the_model_can_give(ready, qtbot):
    assert set(ready.score.choices) == set(available_scores(load_card(find_model("tiny-vae"))))
    assert {"kl-gradient", "combined", "residual-z"} <= set(ready.score.choices)
    ready.model.value = "tiny"
    assert "kl-gradient" not in ready.score.choices
    assert ready.score.value == "residual"
    ready.score.value = "squared"  # for the other model, which was not run yet
    assert ready.session.score == "residual"
    ready.model.value = "tiny-vae"
    assert ready.score.value == "residual", "what is shown"


def test_a_score_that_needs_the_gradient_runs_and_comes_with_its_threshold(ready, qtbot):
    drag(qtbot, ready.dilation_radius, 0.2, steps=3)
    radius = ready.dilation_radius.value
    ready.score.value = "kl-gradient"
    settle(qtbot, ready)
    assert ready.session.score == "kl-gradient"
    assert (ready.threshold.value, ready.closing_radius.value) == (pytest.approx(0.5), 2)
    assert ready.dilation_radius.value == radius
    assert_follows(ready)
    ready.score.value = "residual"
    settle(qtbot, ready)
    assert ready.threshold.value == pytest.approx(0.7)
    assert_follows(ready)


def test_an_export_comes_back_through_the_dock(ready, qtbot, tmp_path, notified):
    ready.score.value = "kl-gradient"
    settle(qtbot, ready)
    ready.form.option_rows["smoothing_mm"].slider.value = 0.8
    settle(qtbot, ready)
    drag(qtbot, ready.threshold, 0.4, steps=3)
    (layer,) = layers_of(ready, "detected mask")
    z = ready.layers.current_slice()
    layer.paint((z, 2, 2), 1)
    ready.export_to(tmp_path / "out")
    settle(qtbot, ready)
    wanted, params, options = ready.session.mask.copy(), ready.session.params, ready.session.options
    assert wanted[z, 2, 2], "the stroke was not looked at yet when Export was pressed"

    click(qtbot, ready.form.discard.native)
    ready.score.value = "squared"
    settle(qtbot, ready)
    drag(qtbot, ready.closing_radius, 0.5, steps=3)
    settle(qtbot, ready)
    ready.restore_from(tmp_path / "out" / "Mets_001_tiny-vae_settings.json")
    settle(qtbot, ready)
    assert notified[-1] == ("info", "The settings are as they were saved.")
    assert (ready.model.value, ready.score.value) == ("tiny-vae", "kl-gradient")
    assert (ready.session.params, ready.session.options) == (params, options)
    (layer,) = layers_of(ready, "detected mask")
    np.testing.assert_array_equal(shown_mask(layer), wanted)
    np.testing.assert_array_equal(ready.session.mask, wanted)
    assert ready.threshold.value == pytest.approx(params.threshold)
    assert ready.form.option_rows["smoothing_mm"].slider.value == pytest.approx(0.8)
    assert ready.form.discard.enabled


def test_restoring_takes_back_a_model_that_was_chosen_and_not_run(ready, installed_model, qtbot, tmp_path):
    key = ready.session.analysis.key
    ready.export_to(tmp_path / "out")
    settle(qtbot, ready)
    ready.model.value = installed_model
    assert ready.model.value != key[0]
    ready.restore_from(tmp_path / "out" / "Mets_001_tiny-vae_settings.json")
    settle(qtbot, ready)
    assert (ready.model.value, ready.score.value) == key


def test_restoring_for_another_scan_is_told_and_nonsense_is_refused(
    ready, qtbot, tmp_path, notified, patient_folder
):
    ready.export_to(tmp_path / "out")
    settle(qtbot, ready)
    before = ready.session.analysis
    (tmp_path / "settings.json").write_text("{")
    ready.restore_from(tmp_path / "settings.json")
    settle(qtbot, ready)
    assert notified[-1][0] == "error"
    assert "settings.json" in notified[-1][1]
    assert ready.session.analysis is before
    ready.session.use(
        cead.Patient.from_arrays(
            {"flair": before.reconstruction.patient.volume() ** 1.2}, spacing=(1.5, 0.95, 0.9), name="other"
        )
    )
    ready.restore_from(tmp_path / "out")
    settle(qtbot, ready)
    assert notified[-1][0] == "warning"
    assert "another scan" in notified[-1][1]
    assert ready.session.params == before.params


def test_keys_show_hide_and_swap(ready, qtbot):
    (anomaly,), (mask,) = layers_of(ready, "anomaly map"), layers_of(ready, "detected mask")
    (scan,) = [layer for layer in layers_of(ready, "sequence") if layer.visible]
    (made,) = layers_of(ready, "reconstruction")
    for key, layer in ((Qt.Key.Key_H, anomaly), (Qt.Key.Key_G, mask)):
        press(qtbot, ready, key)
        assert not layer.visible
        press(qtbot, ready, key)
        assert layer.visible
    press(qtbot, ready, Qt.Key.Key_W)
    assert (scan.visible, made.visible) == (False, True)
    press(qtbot, ready, Qt.Key.Key_W)
    assert (scan.visible, made.visible) == (True, False)
    before = ready.threshold.value
    press(qtbot, ready, Qt.Key.Key_K)
    press(qtbot, ready, Qt.Key.Key_K, shift=True)
    assert ready.threshold.value == pytest.approx(before + 0.055)
    settle(qtbot, ready)
    assert_follows(ready)
    press(qtbot, ready, Qt.Key.Key_R, shift=True)
    assert ready.running
    settle(qtbot, ready)


def test_cancelling_the_first_run_leaves_no_layers(installed_vae, widget, patient_folder, qtbot, monkeypatch):
    from napari_cead.exploring import session as module

    run_network, arrived = module.run, threading.Event()

    def slow(*arguments, on_slices, should_stop, **keywords):
        def some(made, indices):
            on_slices(made, indices)
            arrived.set()
            stopped.wait(20 * PATIENCE)

        return run_network(
            *arguments, on_slices=some, should_stop=should_stop, **(keywords | {"batch_size": 2})
        )

    stopped = threading.Event()
    monkeypatch.setattr(module, "run", slow)
    widget.patient.value = patient_folder
    settle(qtbot, widget)
    widget.model.value = "tiny-vae"
    click(qtbot, widget.run.native)
    qtbot.waitUntil(lambda: bool(layers_of(widget, "detected mask")))
    assert arrived.is_set()
    z = widget.layers.current_slice()
    assert widget.session.streaming.arrived[z], "the slice on screen comes first"
    drag(qtbot, widget.threshold, 0.5, steps=3)
    streaming, (mask,) = widget.session.streaming, layers_of(widget, "detected mask")
    session, patient = widget.session, widget.session.patient
    cut = cead.postprocess(streaming.anomaly_map, session.params, patient.spacing, brain_of(patient))
    np.testing.assert_array_equal(shown_mask(mask)[z], cut[z])
    beside = next(int(i) for i in np.flatnonzero(streaming.arrived) if i != z)
    widget.viewer.dims.set_point(0, beside * 1.5)
    np.testing.assert_array_equal(shown_mask(mask)[beside], cut[beside], "cut as the sliders are now")
    click(qtbot, widget.cancel.native)
    stopped.set()
    settle(qtbot, widget)
    assert widget.session.analysis is None
    assert [layers_of(widget, role) for role in ("reconstruction", "anomaly map", "detected mask")] == [
        []
    ] * 3
    monkeypatch.undo()


def test_a_model_that_goes_is_a_sentence(ready, qtbot, notified):
    from napari_cead.zoo import models_folder

    shutil.rmtree(models_folder() / "tiny-vae")
    click(qtbot, ready.run.native)
    settle(qtbot, ready)
    assert notified[-1][0] == "error"
    assert ready.session.analysis is not None
    assert ready.run.enabled
