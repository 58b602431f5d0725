"""A network of another package in the Train dock."""

from __future__ import annotations


def test_it_is_offered_and_comes_with_its_recipe(plugin, viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
    dock.form.base.value, dock.form.design.value = "from scratch", "shallow"
    assert suggested(dock) == ("0.003", 8, "one-cycle")
    assert not dock.form.context.enabled and not dock.form.rows.controls["max_squares"].enabled
    assert "napari-cead train shallow " in dock.form.command.text()
    dock.form.design.value = "vae1"
    assert suggested(dock) == ("0.002", 32, "one-cycle")
    assert dock.form.context.enabled


def suggested(dock):
    return tuple(dock.form.rows.controls[name].value for name in ("lr", "batch_size", "schedule"))
