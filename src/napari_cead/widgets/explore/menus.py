"""Commands in napari's own menus."""

# No ``from __future__ import annotations``: napari injects the viewer by the evaluated annotation.
from pathlib import Path

import napari.viewer


def explore(viewer: napari.viewer.Viewer) -> None:
    """Open the Explore dock; with an image layer selected, explore that layer."""
    from .dock import ExploreWidget

    _, widget = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    active = viewer.layers.selection.active
    if isinstance(widget, ExploreWidget) and active is not None:
        widget.use_layer(active)


def open_patient_folder(viewer: napari.viewer.Viewer) -> None:
    """Ask for a patient folder and open it."""
    from qtpy.QtWidgets import QFileDialog

    folder = QFileDialog.getExistingDirectory(viewer.window._qt_window, "Open a patient folder")
    if folder:
        viewer.open(Path(folder), plugin="napari-cead")
