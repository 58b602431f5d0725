"""The layers of a patient and its analysis in a napari viewer: made, found again, and updated in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from ..contributions.layers import KEY, Role, Tag, image_style, labels_style, place, tag_of, to_layer_data
from ..errors import PatientError
from ..exploring import Analysis
from ..patients import Patient

DERIVED: tuple[Role, ...] = ("reconstruction", "anomaly map", "detected mask")
"""Roles of layers that belong to an analysis and go with it."""

LOOK_AFTER_MS = 60
"""Figures follow a brush stroke this long after it paused."""

_TRANSFORM = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class LayerView:
    """Puts one patient and one analysis into a viewer.

    Args:
        viewer: The napari viewer.

    Attributes:
        on_painted: Called when the user changed the detected mask by hand.
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.on_painted: Callable[[], None] = lambda: None
        self._writing = False
        self._base: Image | None = None
        self._made: list[Layer] = []
        # A brush stroke comes in many pieces: look once it rests.
        self._compare_timer = QTimer(singleShot=True, interval=LOOK_AFTER_MS)
        self._compare_timer.timeout.connect(self._compare)
        self._buffer: NDArray[np.uint8] | None = None
        self._shown: NDArray[np.uint8] | None = None

    # -- finding -------------------------------------------------------------------------------------------

    def find(self, role: Role, patient: Patient, sequence: str | None = None) -> Layer | None:
        """Return the layer that shows this of the patient, or None."""
        for layer in self.viewer.layers:
            tag = tag_of(layer)
            if tag is None or tag.role != role or not same(tag.patient, patient):
                continue
            if sequence is None or tag.sequence == sequence:
                return layer
        return None

    def patients(self) -> list[Patient]:
        """Return the patients whose sequences are open in the viewer, newest last."""
        found: list[Patient] = []
        for layer in self.viewer.layers:
            tag = tag_of(layer)
            if tag is not None and tag.role == "sequence" and not any(same(tag.patient, p) for p in found):
                found.append(tag.patient)
        return found

    # -- patient -------------------------------------------------------------------------------------------

    def show_patient(self, patient: Patient) -> None:
        """Make the patient's layers, or take those that are there already.

        The layers of a patient shown before go if this view made them, and are hidden if the user opened them.
        """
        for layer in list(self.viewer.layers):
            tag = tag_of(layer)
            if tag is None:
                continue
            if tag.role in DERIVED or (layer in self._made and not same(tag.patient, patient)):
                self.viewer.layers.remove(layer)
            elif not same(tag.patient, patient):
                layer.visible = False
        self._made = [layer for layer in self._made if layer in self.viewer.layers]
        self._buffer = self._shown = None
        if not any(self.find("sequence", patient, name) for name in patient.sequences):
            for data, keywords, kind in to_layer_data(patient):
                self._made.append(self.viewer.add_layer(Layer.create(data, keywords, kind)))
            self.viewer.reset_view()
            self._go_to_lesion(patient)
        self._base = self.find("sequence", patient, patient.sequence)
        for name in patient.sequences:
            layer = self.find("sequence", patient, name)
            if layer is not None:
                layer.visible = name == patient.sequence
        reference = self.find("lesion mask", patient)
        if isinstance(reference, Labels):
            reference.contour = 1  # an outline leaves room for the fill of the detected mask
        if self._base is not None:
            self.viewer.layers.selection.active = self._base

    def adopt(self, image: Layer, reference: Labels | None) -> Patient:
        """Make a patient of layers that are open in napari, and tag them.

        Args:
            image: An image layer, (Z, Y, X) or (Y, X).
            reference: Labels of the same shape, or None.

        Raises:
            PatientError: If the layer is not a scan.
            MaskError: If the reference does not fit.
        """
        tag = tag_of(image)
        if tag is not None and tag.role == "sequence" and tag.sequence is not None:
            patient = tag.patient.select(tag.sequence)
        elif tag is not None or not isinstance(image, Image):
            raise PatientError("this layer is not a scan", file=image.name, mend="choose an image layer")
        else:
            patient = _from_image(image)
            image.metadata[KEY] = Tag("sequence", patient, patient.sequence)
        if reference is not None:
            labels = np.asarray(reference.data)
            patient = patient.with_lesion_mask(labels[None] if labels.ndim == 2 else labels)
            old = self.find("lesion mask", patient)
            if old is not None and old is not reference:
                old.metadata.pop(KEY)
                old.visible = False
            reference.metadata[KEY] = Tag("lesion mask", patient)
        return patient

    def _go_to_lesion(self, patient: Patient) -> None:
        """Start where there is something to see: the slice with most lesion, else the middle one."""
        z = patient.shape[0] // 2
        if patient.lesion_mask is not None and patient.lesion_mask.any():
            z = int(patient.lesion_mask.sum(axis=(1, 2)).argmax())
        self.viewer.dims.set_point(self.viewer.dims.ndim - 3, z * patient.spacing[0])

    # -- analysis ------------------------------------------------------------------------------------------

    def show_analysis(self, analysis: Analysis) -> None:
        """Show reconstruction, anomaly map and detected mask of an analysis."""
        made = analysis.reconstruction
        self._image("reconstruction", made.patient, made.volume())
        self._image("anomaly map", made.patient, analysis.anomaly_map)
        anomaly = self.find("anomaly map", made.patient)
        if anomaly is not None:
            # Colour only what stands out: half of the brain is below its median, and would tint the scan.
            low, high = np.percentile(analysis.anomaly_map[made.stack.brain], (75, 99.9))
            anomaly.contrast_limits = (float(low), max(float(high), float(low) + 1e-3))
        self.write_volume(analysis)

    def write_volume(self, analysis: Analysis) -> None:
        """Show the mask of the whole volume."""
        layer = self._mask_layer(analysis)
        if self._buffer is None or self._shown is None:
            return
        np.copyto(self._buffer, analysis.mask)
        np.copyto(self._shown, self._buffer)
        self._refresh(layer, settled=True)

    def write_slice(self, analysis: Analysis, z: int, mask: NDArray[np.bool_]) -> None:
        """Show the mask (Y, X) of one slice while a slider moves."""
        layer = self._mask_layer(analysis)
        if self._buffer is None or self._shown is None:
            return
        self._buffer[z] = mask
        self._shown[z] = mask
        self._refresh(layer, settled=False)

    def flush_painting(self) -> None:
        """Take a brush stroke into account that was not looked at yet, before anything is written over it."""
        if self._compare_timer.isActive():
            self._compare_timer.stop()
            self._compare()

    def painted(self) -> NDArray[np.uint8] | None:
        """Return the detected mask as it stands in the viewer, (Z, Y, X)."""
        return self._buffer

    def current_slice(self) -> int | None:
        """Return the axial slice on screen; None in 3-D or when the view cuts along another axis."""
        base = self._base
        if base is None or base not in self.viewer.layers or base.ndim == 2:
            return 0 if base is not None and base.ndim == 2 and self.viewer.dims.ndisplay == 2 else None
        dims = self.viewer.dims
        axis = dims.ndim - 3
        if axis in dims.displayed:
            return None
        z = round(float(np.asarray(base.world_to_data(dims.point[-3:]))[0]))
        return z if 0 <= z < base.data.shape[0] else None

    def _image(self, role: Role, patient: Patient, volume: NDArray[np.float32]) -> None:
        layer = self.find(role, patient)
        data = volume[0] if self._flat else volume
        if layer is not None:
            layer.data = data
            return
        keywords = {**image_style(role), **self._placement(patient), "metadata": {KEY: Tag(role, patient)}}
        self._insert(Image(data, **keywords))

    def _mask_layer(self, analysis: Analysis) -> Labels:
        patient = analysis.reconstruction.patient
        layer = self.find("detected mask", patient)
        if isinstance(layer, Labels) and self._buffer is not None:
            return layer
        if layer is not None:
            self.viewer.layers.remove(layer)
        # One buffer, written in place: replacing a layer's data costs more than drawing it.
        self._buffer = analysis.mask.astype(np.uint8)
        self._shown = self._buffer.copy()
        layer = Labels(
            self._buffer[0] if self._flat else self._buffer,
            **labels_style("detected mask"),
            **self._placement(patient),
            metadata={KEY: Tag("detected mask", patient)},
        )
        layer.brush_size = 3
        # Strokes announce themselves; undo and redo change the data silently, but they redraw.
        for emitter in (layer.events.paint, layer.events.labels_update, layer.events.set_data):
            emitter.connect(self._touched)
        self._insert(layer)
        return layer

    def _insert(self, layer: Layer) -> None:
        """Put a derived layer above the scan and below the outline of the reference."""
        active = self.viewer.layers.selection.active
        reference = next(
            (i for i, other in enumerate(self.viewer.layers) if _role(other) == "lesion mask"), None
        )
        self.viewer.layers.insert(len(self.viewer.layers) if reference is None else reference, layer)
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def _refresh(self, layer: Labels, settled: bool) -> None:
        self._writing = True
        try:
            layer.refresh(extent=False, thumbnail=settled, highlight=False)
        finally:
            self._writing = False

    def _touched(self, event: Any) -> None:
        if not self._writing:
            self._compare_timer.start()

    def _compare(self) -> None:
        if self._buffer is None or self._shown is None or np.array_equal(self._buffer, self._shown):
            return
        np.copyto(self._shown, self._buffer)
        self.on_painted()

    @property
    def _flat(self) -> bool:
        return self._base is not None and self._base.ndim == 2

    def _placement(self, patient: Patient) -> dict[str, Any]:
        """Where derived layers lie: exactly where the scan's own layer does."""
        if self._base is None or self._base not in self.viewer.layers:
            return place(patient)
        return {name: getattr(self._base, name) for name in _TRANSFORM}


def same(one: Patient, other: Patient) -> bool:
    """Whether two states (other sequence chosen, other reference) are of the same patient as loaded."""
    return one.grid is other.grid


def _role(layer: Layer) -> Role | None:
    tag = tag_of(layer)
    return None if tag is None else tag.role


def _from_image(image: Image) -> Patient:
    if image.rgb:
        raise PatientError("the layer is in colour", file=image.name, mend="choose a grey image layer")
    data = np.asarray(image.data[0] if image.multiscale else image.data)
    while data.ndim > 3 and data.shape[0] == 1:
        data = data[0]
    if data.ndim not in (2, 3) or image.ndim != data.ndim:
        raise PatientError(
            f"the layer has shape {image.data.shape}", file=image.name, mend="choose a (Z, Y, X) image layer"
        )
    scale = [float(abs(size)) for size in image.scale]
    spacing = (1.0, scale[0], scale[1]) if data.ndim == 2 else (scale[0], scale[1], scale[2])
    return Patient.from_arrays({image.name: data}, spacing=spacing, name=image.name)
