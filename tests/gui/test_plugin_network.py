"""A network of another package in the Train dock."""

from __future__ import annotations


def test_it_is_offered_and_comes_with_its_recipe(plugin, viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
    dock.base.value, dock.design.value = "from scratch", "shallow"
    assert suggested(dock) == ("0.003", 8, "one-cycle")
    assert not dock.context.enabled and not dock.rows.controls["max_squares"].enabled
    assert "napari-cead train shallow " in dock.command.text()
    dock.design.value = "vae1"
    assert suggested(dock) == ("0.002", 32, "one-cycle")
    assert dock.context.enabled


def suggested(dock):
    return tuple(dock.rows.controls[name].value for name in ("lr", "batch_size", "schedule"))
