"""Opening a napari window with the Explore dock, for the command line."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import napari
from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QApplication

from ...atomic import atomic_path
from ...contributions.layers import LayerData, to_layer_data
from ...errors import ModelNotFoundError
from ...patients import Patient, load_patient
from ...zoo import find_model, find_models
from .dock import ExploreWidget

WAIT_MS = 50
"""Interval of looking whether everything is imported."""


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
    if patients:
        widget.form.say_loading(patients[0].name)
    if model is not None:
        widget.model.value = model
    QApplication.processEvents()  # the window is drawn, and says what it loads
    opening = _Opening(viewer, widget, patients, run)
    if screenshot is None:
        napari.run()
        return widget
    wait_until(lambda: not opening.steps, timeout)
    wait_until(lambda: not run or (widget.session.analysis is not None and not widget.busy), timeout)
    texts = [widget.dice_label.native, widget.volume_label.native]
    wait_until(lambda: all(text.width() >= text.sizeHint().width() for text in texts), 10.0)
    wait_until(lambda: False, 1.0)  # let the last redraw happen
    with atomic_path(screenshot) as temporary:
        viewer.window.screenshot(str(temporary), flash=False, canvas_only=False)
    viewer.close()
    return widget


class _Opening(QObject):
    """Opens patients from the event loop, a layer at a time, the first scan first: in between the window takes keys.

    Attributes:
        steps: What is left to do.

    Args:
        viewer: The napari viewer.
        widget: The dock.
        patients: The patients; the first one is explored.
        run: Whether to run the model then.
    """

    def __init__(
        self, viewer: napari.Viewer, widget: ExploreWidget, patients: Sequence[Patient], run: bool
    ) -> None:
        super().__init__(widget)
        self._viewer, self._widget = viewer, widget
        self.steps: deque[Callable[[], object]] = deque()
        if patients:
            parts = to_layer_data(patients[0])
            scan = parts.pop(len(patients[0].sequences) - 1)
            self.steps.append(lambda: self._open(scan, *patients))
            self.steps += [partial(widget.layers.add_part, patients[0], part) for part in parts]
        if run:
            self.steps.append(widget.run.native.click)
        self._turns = QTimer(self, singleShot=True)
        self._turns.timeout.connect(self._take)
        self._turns.start(0)

    def _take(self) -> None:
        if self._widget.session.patient is not None and self._widget.warming.running:
            self._turns.start(WAIT_MS)  # the first labels layer, and a run, would wait for what is imported
        elif self.steps:
            try:
                self.steps.popleft()()
            finally:
                self._turns.start(0)

    def _open(self, scan: LayerData, first: Patient, *others: Patient) -> None:
        for patient in others:
            for made in to_layer_data(patient):
                self._viewer.add_layer(Layer.create(*made))
        if others:
            QApplication.processEvents()  # the dock takes the newest patient; then the first one is chosen
        self._widget.preparing.judge(first)
        self._viewer.add_layer(Layer.create(*scan))
        self._widget.use_patient(first)


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Run the event loop until a condition holds; returns whether it does."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        QApplication.processEvents()
        time.sleep(0.01)
    return True
