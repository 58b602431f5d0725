"""Make the pictures of the documentation from the running program (synthetic patient, bundled model).

python tools/screenshots.py docs/images
"""

from __future__ import annotations

import sys
from pathlib import Path

import napari

from napari_cead import resources
from napari_cead.atomic import atomic_path
from napari_cead.patients import load_patient
from napari_cead.widgets.launch import wait_until


def save(viewer: napari.Viewer, path: Path) -> None:
    wait_until(lambda: False, 1.0)
    with atomic_path(path) as temporary:
        viewer.window.screenshot(str(temporary), flash=False, canvas_only=False)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="napari-cead")
    viewer.window.resize(1500, 940)
    _, widget = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    widget.session.use(load_patient(resources.sample_patient()))
    viewer.camera.zoom *= 1.35
    widget.run.native.click()
    wait_until(lambda: widget.session.analysis is not None and not widget._job.running, 300)
    save(viewer, folder / "explore.png")
    viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
