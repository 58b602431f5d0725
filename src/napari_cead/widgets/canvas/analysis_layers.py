"""The layers of one analysis: created when needed, written in place, and watched for painting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from ...contributions.layers import KEY, Role, Tag, image_style, labels_style
from ...detection import PostprocessParams
from ...exploring import Analysis, Key, Session, Streaming
from ...patients import Patient
from .batches import batched
from .canvas_notes import show_color_bar

LOOK_AFTER_MS = 60
"""Pause of a brush stroke after which the figures follow."""


class AnalysisLayers:
    """Reconstruction, anomaly map and detected mask of one analysis in a viewer.

    Args:
        viewer: The napari viewer.
        session: The session of the layers.
        patient: The patient of the analysis.
        placement: Keywords that place the layers like the scan's own layer.
        flat: Whether the scan's layer has two dimensions.
        insert: Puts a new layer into the viewer, given its role.
        on_painted: Called when the user changed the detected mask by hand.
        suffix: What to append to the names of the layers.

    Attributes:
        gesture: Another object for every press of the mouse on the detected mask; None before the first.
    """

    def __init__(
        self,
        viewer: Any,
        session: Session,
        patient: Patient,
        placement: dict[str, Any],
        flat: bool,
        insert: Callable[[Layer, Role], None],
        on_painted: Callable[[], None],
        suffix: str = "",
    ) -> None:
        self.viewer, self.session, self.patient, self.suffix = viewer, session, patient, suffix
        self._placement, self._flat, self._insert = placement, flat, insert
        self._on_painted = on_painted
        self._layers: dict[Role, Layer] = {}
        self._without_bar: Image | None = None
        self._key: Key | None = None
        self._streaming: Streaming | None = None
        self._writing = False
        self.gesture: object = None
        # One buffer, written in place: replacing a layer's data costs more than drawing it.
        self._buffer: NDArray[np.uint8] = np.zeros(patient.shape, np.uint8)
        self._data = self._buffer[0] if flat else self._buffer
        self._shown = self._buffer.copy()
        # A brush stroke comes in many pieces: look once it rests.
        self._compare_timer = QTimer(singleShot=True, interval=LOOK_AFTER_MS)
        self._compare_timer.timeout.connect(self._compare)
        # A new layer takes napari a tenth of a second: of a run they come one by one, and the window draws in between.
        self._to_come: deque[Callable[[], object]] = deque()
        self._come_timer = QTimer(singleShot=True, interval=0)
        self._come_timer.timeout.connect(self._come)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are in the viewer."""
        return tuple(layer for layer in self._layers.values() if layer in self.viewer.layers)

    @property
    def made(self) -> tuple[Layer, ...]:
        """The created layers, whether still in the viewer or not."""
        return tuple(self._layers.values())

    @property
    def painted(self) -> NDArray[np.uint8]:
        """The detected mask in the viewer, (Z, Y, X)."""
        return self._buffer

    def show(self, analysis: Analysis, *, reconstruction: bool = True) -> None:
        """Show an analysis.

        Args:
            analysis: The analysis.
            reconstruction: Whether to show the reconstruction as well.
        """
        self._key, self._streaming = analysis.key, None
        self._to_come.clear()
        brain = analysis.reconstruction.stack.brain
        self._image("anomaly map", analysis.anomaly_map, _limits(analysis.anomaly_map, brain))
        self._show_bar()
        self.write_volume(analysis.mask)
        if reconstruction:  # last: it is hidden
            self._image("reconstruction", analysis.reconstructed)

    def show_arrived(
        self, streaming: Streaming, indices: NDArray[np.int64], params: PostprocessParams, z: int | None
    ) -> None:
        """Show slices that a run has just finished.

        Args:
            streaming: The run.
            indices: The slices that are new.
            params: Settings of the mask.
            z: The visible slice; None if the screen shows something else.
        """
        if self._streaming is not streaming:
            self._streaming, self._key = streaming, (streaming.model, streaming.score)
            self._compare_timer.stop()
            self._buffer[:] = self._shown[:] = 0
            limits = _limits(streaming.anomaly_map, streaming.brain)
            self._to_come.clear()
            self._to_come += (
                lambda: self._image("anomaly map", streaming.anomaly_map, limits),
                lambda: self._refresh(self._mask_layer(), settled=False),
                self._show_bar,
                lambda: self._image("reconstruction", streaming.reconstruction),
            )
            self._come_timer.start()
        cut = indices[
            streaming.scored[indices] | (indices == z)
        ]  # the window computes the visible slice at most
        self._buffer[cut] = self._shown[cut] = streaming.masks(cut, params)
        if self._to_come:  # each shows what there is when it comes
            return
        if z is not None and z in indices:
            for layer in self.layers:
                self._refresh(layer, settled=False)

    def _come(self) -> None:
        """Create the next layer of a run."""
        if self._to_come:
            self._to_come.popleft()()
        if self._to_come:
            self._come_timer.start()

    def write_volume(self, mask: NDArray[np.bool_]) -> None:
        """Show the mask (Z, Y, X) of the whole volume."""
        layer = self._mask_layer()
        np.copyto(self._buffer, mask)
        np.copyto(self._shown, self._buffer)
        self._refresh(layer, settled=True)

    def write_slice(self, z: int, mask: NDArray[np.bool_]) -> None:
        """Show the mask (Y, X) of one slice while a slider moves."""
        layer = self._mask_layer()
        self._buffer[z] = mask
        self._shown[z] = mask
        self._refresh(layer, settled=False)

    def flush_painting(self) -> None:
        """Take a pending brush stroke into account before anything is written over it."""
        if self._compare_timer.isActive():
            self._compare_timer.stop()
            self._compare()

    def leave(self) -> None:
        """Leave the layers to the viewer as they are, and stop watching them."""
        self._compare_timer.stop()
        self._to_come.clear()
        layer = self._layers.get("detected mask")
        if layer is not None:
            for emitter in _touches(layer):
                emitter.disconnect(self._touched)
            if self._pressed in layer.mouse_drag_callbacks:  # or it was left before
                layer.mouse_drag_callbacks.remove(self._pressed)

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        self.leave()
        with batched(self.viewer):
            for layer in self.layers:
                self.viewer.layers.remove(layer)
        self._layers = {}

    def _image(
        self, role: Role, volume: NDArray[np.float32], limits: tuple[float, float] | None = None
    ) -> None:
        data = volume[0] if self._flat else volume
        layer = self._layers.get(role)
        if isinstance(layer, Image) and layer in self.viewer.layers:
            if layer.data is data:
                self._refresh(layer, settled=True)
            else:
                layer.data = data
            layer.metadata[KEY] = self._tag(role)
            if limits is not None:
                layer.contrast_limits = limits
            return
        style = dict(image_style(role))
        style["name"] = f"{style['name']}{self.suffix}"
        if limits is not None:  # given, napari need not look for them in the whole volume
            style["contrast_limits"] = limits
        layer = Image(data, **style, **self._placement, metadata={KEY: self._tag(role)})
        if role == "anomaly map":
            layer.contrast_limits_range = (0.0, max(1.0, layer.contrast_limits[1]))
            self._without_bar = layer
        self._layers[role] = layer
        self._insert(layer, role)

    def _show_bar(self) -> None:
        """Show the colour bar of a new anomaly map: it takes napari as long as the layer itself."""
        if self._without_bar is not None:
            show_color_bar(self._without_bar)
        self._without_bar = None

    def _mask_layer(self) -> Labels:
        role: Role = "detected mask"
        layer = self._layers.get(role)
        if isinstance(layer, Labels) and layer in self.viewer.layers:
            layer.metadata[KEY] = self._tag(role)
            if layer.data is not self._data:
                self._take_back(layer)
            return layer
        style = labels_style(role)
        style["name"] = f"{style['name']}{self.suffix}"
        layer = Labels(
            self._data,
            **style,
            **self._placement,
            metadata={KEY: self._tag(role)},
        )
        layer.brush_size = 3
        for emitter in _touches(layer):
            emitter.connect(self._touched)
        layer.mouse_drag_callbacks.append(self._pressed)
        self._layers[role] = layer
        self._insert(layer, role)
        return layer

    def _tag(self, role: Role) -> Tag:
        return Tag(role, self.patient, analysis=self._key, session=self.session)

    def _refresh(self, layer: Layer, settled: bool) -> None:
        self._writing = True
        try:
            layer.refresh(extent=False, thumbnail=settled, highlight=False)
        finally:
            self._writing = False

    def _pressed(self, layer: Layer, event: Any) -> None:
        self.flush_painting()  # the stroke before is a step of its own
        self.gesture = object()

    def _touched(self, event: Any) -> None:
        if not self._writing:
            self._compare_timer.start()

    def _take_back(self, layer: Labels) -> None:
        """Use the buffer again after the layer was given other data; fitting data count as painted."""
        data = np.asarray(layer.data)
        if data.shape == self._data.shape:
            np.copyto(self._data, data > 0)
        self._writing = True
        try:
            layer.data = self._data
        finally:
            self._writing = False

    def _compare(self) -> None:
        layer = self._layers.get("detected mask")
        if isinstance(layer, Labels) and layer in self.viewer.layers and layer.data is not self._data:
            self._take_back(layer)
        if self._streaming is not None or np.array_equal(self._buffer, self._shown):
            return
        np.copyto(self._shown, self._buffer)
        self._on_painted()


def _touches(layer: Layer) -> tuple[Any, ...]:
    """Strokes announce themselves; undo and redo change the data silently, but they redraw."""
    return layer.events.paint, layer.events.labels_update, layer.events.set_data


def _limits(anomaly_map: NDArray[np.float32], inside: NDArray[np.bool_]) -> tuple[float, float]:
    """Colour only high values: half of the brain is below its median, and would tint the scan.

    A ninth of the voxels is enough: the window waits for this.
    """
    values = anomaly_map[:, ::3, ::3][inside[:, ::3, ::3]]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (75, 99.9))
    return float(low), max(float(high), float(low) + 1e-3)
