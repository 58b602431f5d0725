"""A step of another package has a slider in the Explore dock like the others."""

from __future__ import annotations

import numpy as np
import pytest

from dock_driving import click, drag, layers_of, run, settle, shown_mask
from napari_cead.detection import postprocess


@pytest.mark.usefixtures("plugin")
def test_its_slider_changes_the_mask_and_is_undone(installed_vae, widget, patient_folder, qtbot):
    widget.patient.value = patient_folder
    settle(qtbot, widget)
    run(qtbot, widget, "tiny-vae", "residual")
    row = widget.form.rows["example_opening"]
    assert row.title.text() == "Opening radius"
    assert "drops what is thinner" in row.box.toolTip()
    click(qtbot, widget.form.reset.native)
    drag(qtbot, widget.threshold, 0.2, steps=4)
    settle(qtbot, widget)
    before = shown_mask(layers_of(widget, "detected mask")[0]).copy()
    assert before.any()

    drag(qtbot, row.slider, 0.95, steps=6)
    settle(qtbot, widget)
    radius = row.slider.value
    assert radius > 0
    assert row.box.value() == radius
    session = widget.session
    assert session.params.example_opening == radius
    found = shown_mask(layers_of(widget, "detected mask")[0])
    expected = postprocess(
        session.anomaly_map,
        session.params,
        session.patient.spacing,
        session.analysis.reconstruction.stack.brain,
    )
    np.testing.assert_array_equal(found, expected)
    assert (found != before).any()

    click(qtbot, widget.form.undo.native)
    settle(qtbot, widget)
    assert (row.slider.value, session.params.example_opening) == (0, 0)
    np.testing.assert_array_equal(shown_mask(layers_of(widget, "detected mask")[0]), before)
