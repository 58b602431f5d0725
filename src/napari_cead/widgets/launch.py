"""Opening a napari window with the Explore dock, for the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import napari
from napari.layers import Layer
from qtpy.QtWidgets import QApplication

from ..atomic import atomic_path
from ..contributions.layers import to_layer_data
from ..errors import ModelNotFoundError
from ..patients import load_patient
from ..zoo import find_model, find_models
from .explore import ExploreWidget


def explore(
    paths: Sequence[Path],
    model: str | None = None,
    *,
    run: bool = False,
    screenshot: Path | None = None,
    timeout: float = 600.0,
) -> ExploreWidget:
    """Open patients in a new napari window with the Explore dock; returns when the window is closed.

    Args:
        paths: Patients; the first one is explored, the others are open beside it.
        model: Model to choose; the default one if None.
        run: Run the model at once.
        screenshot: Save a picture of the complete window, and close it.
        timeout: Longest wait for the run in seconds, with ``screenshot``.

    Raises:
        CeadError: If a patient or model cannot be used.
    """
    if model is not None and model not in find_models():
        find_model(model)  # says what to install if it is one of the paper's
        names = ", ".join(find_models())
        raise ModelNotFoundError("there is no model of this name", file=model, hint=f"choose one of {names}")
    patients = [load_patient(path) for path in paths]
    viewer = napari.Viewer(title="napari-cead", show=True)
    room = QApplication.primaryScreen().availableSize()
    viewer.window.resize(min(1500, room.width()), min(940, room.height()))
    _, widget = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    if patients:  # their layers take seconds, during which the window takes no keys
        widget.say_loading(patients[0].name)
    if model is not None:
        widget.model.value = model
    for patient in patients[1:]:
        for data, keywords, kind in to_layer_data(patient):
            viewer.add_layer(Layer.create(data, keywords, kind))
    QApplication.processEvents()  # the dock takes the newest patient; then the first one is chosen
    if patients:
        widget.preparing.judge(patients[0])
        widget.use_patient(patients[0])
    if run:
        widget.run.native.click()
    if screenshot is None:
        napari.run()
        return widget
    wait_until(lambda: not run or (widget.session.analysis is not None and not widget.busy), timeout)
    texts = [widget.dice_label.native, widget.volume_label.native]
    wait_until(lambda: all(text.width() >= text.sizeHint().width() for text in texts), 10.0)
    wait_until(lambda: False, 1.0)  # let the last redraw happen
    with atomic_path(screenshot) as temporary:
        viewer.window.screenshot(str(temporary), flash=False, canvas_only=False)
    viewer.close()
    return widget


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Run the event loop until a condition holds; returns whether it does."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        QApplication.processEvents()
        time.sleep(0.01)
    return True
