"""The layers of a patient and its analysis in a napari viewer: created, found again, and updated in place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from ...contributions.layers import (
    KEY,
    LayerData,
    Role,
    Tag,
    labels_style,
    place,
    tag_of,
    to_layer_data,
)
from ...detection import PostprocessParams
from ...errors import UnsupportedError
from ...exploring import Analysis, Key, Session, Streaming
from ...patients import Patient
from ...preparing import GIVEN
from ...slices import fullest_slice
from ..common.docks import bare
from .analysis_layers import AnalysisLayers
from .batches import active_kept, batched
from .tiles import Tiles

DERIVED: tuple[Role, ...] = ("reconstruction", "anomaly map", "detected mask", "corrections", "tile")
"""Roles of layers that belong to an analysis and are removed with it."""

_TRANSFORM = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class LayerView:
    """Shows one patient and one analysis in a viewer.

    Args:
        viewer: The napari viewer.
        session: The session; the layers carry it, so that another dock finds it.

    Attributes:
        on_painted: Called when the user changed the detected mask by hand.
        on_untiled: Called when the user deleted a layer of the analyses side by side.
        tiles: Analyses side by side; None while one is shown at a time.
    """

    def __init__(self, viewer: Any, session: Session) -> None:
        self.viewer, self.session = viewer, session
        self.on_painted: Callable[[], None] = lambda: None
        self.on_untiled: Callable[[], None] = lambda: None
        self.tiles: Tiles | None = None
        self._single: AnalysisLayers | None = None
        self._base: Image | None = None
        self._made: list[Layer] = []
        self._moved_mask: NDArray[Any] | None = None
        self._shown: list[Patient] = []
        self._replaced: list[Layer] = []
        self._view: tuple[Patient, _View] | None = None  # of the patient before

    # -- finding -------------------------------------------------------------------------------------------

    def find(self, role: Role, patient: Patient, sequence: str | None = None) -> Layer | None:
        """Return the patient's layer with this role, or None."""
        for layer in self.viewer.layers:
            tag = tag_of(layer)
            if tag is None or tag.role != role or not same(tag.patient, patient):
                continue
            if sequence is None or tag.sequence == sequence:
                return layer
        return None

    def patients(self) -> list[Patient]:
        """Return the patients whose sequences are open in the viewer, newest last."""
        return patients_in(self.viewer)

    # -- patient -------------------------------------------------------------------------------------------

    def show_patient(self, patient: Patient) -> None:
        """Create the patient's layers, or take existing ones.

        The layers of the previous patient are removed, and restored as they were if it is shown next, with slice and
        camera. Layers that the user opened in napari and that were not shown here, or have no file, are hidden.
        """
        new = not any(same(patient, one) for one in self._shown[-1:])
        before, left = self._view, _View.of(self.viewer)
        with batched(self.viewer):
            self.one_by_one(None)
            self.drop_derived()
            back = [layer for layer in self._replaced if same(_tag(layer).patient, patient)] if new else []
            self._drop_others(patient)
        self._made = [layer for layer in self._made if layer in self.viewer.layers]
        if not any(self.find("sequence", patient, name) for name in patient.sequences):
            for layer in back or [Layer.create(*made) for made in to_layer_data(patient)]:
                self._made.append(self.viewer.add_layer(bare(layer)))
        elif self.find("sequence", patient, patient.sequence) is None:
            self._bring_back(patient)
        self._base = self.find("sequence", patient, patient.sequence)
        if new and (self._base is None or _tag(self._base).session is not self.session):
            self.viewer.reset_view()
            self._go_to_lesion(patient)
        elif new and before is not None and same(before[0], patient):
            before[1].restore(self.viewer)
        if new:
            self._view = (self._shown[-1], left) if self._shown else None
        self._shown = [*(one for one in self._shown if not same(one, patient)), patient]
        for name in patient.sequences:
            layer = self.find("sequence", patient, name)
            if layer is not None:
                layer.visible = name == patient.sequence
                self._place(layer, patient, name)
        self._claim(patient)
        self._show_brain(patient)
        if self._base is not None:
            self.viewer.layers.selection.active = self._base

    def add_part(self, patient: Patient, made: LayerData) -> None:
        """Add a layer to the patient on show, who lacks it: a sequence below the scan, the lesion mask on top."""
        base, layers = self._base, self.viewer.layers
        if base is None or base not in layers or not same(_tag(base).patient, patient):
            return  # another patient has come meanwhile
        sequence = made[1]["metadata"][KEY].role == "sequence"
        layer = Layer.create(*made)
        with active_kept(self.viewer):
            layers.insert(layers.index(base) if sequence else len(layers), layer)
        self._made.append(layer)
        self._claim(patient)

    def _claim(self, patient: Patient) -> None:
        """Make what is in the viewer of a patient that of the session."""
        for layer in self.viewer.layers:
            tag = tag_of(layer)
            if tag is not None and same(tag.patient, patient):
                layer.metadata[KEY] = replace(tag, session=self.session)
                plain = tag.sequence or tag.role
                if re.fullmatch(rf"{re.escape(plain)} \[\d+\]", layer.name):
                    layer.name = plain  # napari numbered it beside the old patient's, which has gone
        reference = self.find("lesion mask", patient)
        if isinstance(reference, Labels):
            self._place_mask(reference, patient)
            reference.contour = 1  # an outline leaves room for the fill of the detected mask

    def brain_layer(self) -> Layer | None:
        """Return the layer of the brain mask that the session's patient was stripped with, or None."""
        patient = self.session.patient
        if patient is None:
            return None
        for layer in self.viewer.layers:
            tag = tag_of(layer)
            if tag is not None and tag.role == "brain mask" and tag.session is self.session:
                return layer if same(tag.patient, patient) else None
        return None

    def _show_brain(self, patient: Patient) -> None:
        """Show the outline of the brain for correction; the layer of another mask is removed."""
        made = patient.prepared
        mask = None if made is None else made.brain_mask
        for layer in list(self.viewer.layers):
            tag = tag_of(layer)
            if tag is None or tag.role != "brain mask" or tag.session is None:
                continue
            old = tag.patient.prepared
            if mask is not None and same(tag.patient, patient) and old is not None and old.brain_mask is mask:
                return  # the user's strokes stay
            self.viewer.layers.remove(layer)
        if made is None or mask is None:
            return
        z = self.current_slice()
        if z is not None and not mask[z].any() and made.stripper != GIVEN:
            self._go_to_lesion(patient)
        shown = Labels(
            mask[0].astype(np.uint8) if self._flat else mask.astype(np.uint8),
            **labels_style("brain mask"),
            **self._placement(patient),
            metadata={KEY: Tag("brain mask", patient, session=self.session)},
        )
        shown.contour = 2
        self._insert(shown, "brain mask")
        self._made.append(shown)

    @staticmethod
    def _place(layer: Layer, patient: Patient, sequence: str) -> None:
        """Show a registered sequence in its new place, with its skull."""
        made = patient.prepared
        if made is None or sequence == patient.sequence:
            return
        data = made.placed.get(sequence, made.raw[sequence])
        if data.shape == np.shape(layer.data) and not np.array_equal(layer.data, data):
            layer.data = data

    def _place_mask(self, layer: Labels, patient: Patient) -> None:
        """Show the registered lesion mask in its new place; otherwise painted changes stay."""
        made = patient.prepared
        moved = None if made is None or made.lesion_masks is None else made.lesion_masks[1]
        before, self._moved_mask = self._moved_mask, moved
        shown = np.asarray(layer.data)
        back = before is not None and before.shape == shown.shape and np.array_equal(shown > 0, before)
        wanted = patient.lesion_mask if moved is not None or back else None
        if wanted is not None and wanted.shape == shown.shape and not np.array_equal(shown > 0, wanted):
            layer.data = wanted.astype(shown.dtype)

    def _drop_others(self, patient: Patient) -> None:
        replaced = []
        for layer in list(self.viewer.layers):
            tag = tag_of(layer)
            if tag is None:
                continue
            known = any(same(tag.patient, one) for one in self._shown)
            if tag.role in DERIVED and tag.session is not None:  # not a result that was opened from its file
                self.viewer.layers.remove(layer)
            elif same(tag.patient, patient):
                continue
            elif layer in self._made or (known and tag.patient.files):
                self.viewer.layers.remove(layer)
                replaced.append(layer)
            else:
                layer.visible = False
        if replaced:
            self._replaced = replaced
            self._shown = self._shown[-1:]  # the one before the last cannot come back

    def _bring_back(self, patient: Patient) -> None:
        """Create the deleted layer of the patient's sequence again."""
        beside = next(layer for name in patient.sequences if (layer := self.find("sequence", patient, name)))
        for data, keywords, kind in to_layer_data(patient):
            tag = keywords["metadata"][KEY]
            if (tag.role, tag.sequence) == ("sequence", patient.sequence):
                lies = {name: getattr(beside, name) for name in _TRANSFORM}
                layer = Layer.create(data, keywords | lies, kind)
                self.viewer.layers.insert(self.viewer.layers.index(beside), layer)
                self._made.append(layer)

    def adopt(self, image: Layer, reference: Labels | None, sequence: str | None = None) -> Patient:
        """Make a patient from open layers of napari, and tag them.

        Args:
            image: An image layer, (Z, Y, X) or (Y, X).
            reference: Labels of the same shape, or None.
            sequence: The sequence of the image; None: as its name says.

        Raises:
            PatientError: If the layer is not a scan.
            MaskError: If the reference does not fit.
        """
        patient = patient_of(image, sequence)
        if tag_of(image) is None or (sequence is not None and not patient.files):
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
        """Go to the slice with the most lesion, else to the one with most of the head but for the neck."""
        lesion = patient.lesion_mask
        if lesion is not None and lesion.any():
            self._go_to_slice(_fullest(lesion))
        else:
            self._go_to_slice(fullest_slice(patient.volume(), patient.spacing))

    def _go_to_slice(self, z: int) -> None:
        base = self._base
        if base is not None and base.ndim == 3:
            axis = self.viewer.dims.ndim - 3
            middle = (np.array(base.data.shape) - 1) / 2
            self.viewer.dims.set_point(axis, base.data_to_world((z, *middle[1:]))[0])

    def leave_empty_slice(self, analysis: Analysis) -> None:
        """Go to the slice with most of a detection if that on screen holds no brain, and the patient no lesion mask."""
        made, z = analysis.reconstruction, self.current_slice()
        if z is None or made.patient.lesion_mask is not None or made.stack.brain[z].any():
            return
        self._go_to_slice(_fullest(analysis.mask if analysis.mask.any() else made.stack.brain))

    # -- analysis ------------------------------------------------------------------------------------------

    def show_analysis(self, analysis: Analysis) -> None:
        """Show reconstruction, anomaly map and detected mask of an analysis."""
        if self.tiles is not None:
            self.tiles.show_current(analysis)
            return
        self._derived(analysis.reconstruction.patient).show(analysis)

    def show_arrived(
        self, streaming: Streaming, indices: NDArray[np.int64], params: PostprocessParams
    ) -> None:
        """Show slices that a run has just finished."""
        layers = self._derived(streaming.patient)
        layers.show_arrived(streaming, indices, params, self.current_slice())

    def write_volume(self, analysis: Analysis) -> None:
        """Show the mask of the whole volume."""
        self._of(analysis).write_volume(analysis.mask)

    def write_slice(self, analysis: Analysis, z: int, mask: NDArray[np.bool_]) -> None:
        """Show the mask (Y, X) of one slice while a slider moves."""
        self._of(analysis).write_slice(z, mask)

    def flush_painting(self) -> None:
        """Take a pending brush stroke into account before anything is written over it."""
        current = self._current_layers()
        if current is not None:
            current.flush_painting()

    def painted(self) -> NDArray[np.uint8] | None:
        """Return the detected mask in the viewer, (Z, Y, X)."""
        current = self._current_layers()
        return None if current is None else current.painted

    @property
    def gesture(self) -> object:
        """What the strokes of one press of the mouse have in common."""
        current = self._current_layers()
        return None if current is None else current.gesture

    def layer(self, role: Role) -> Layer | None:
        """Return the layer of the current analysis with this role, or None."""
        current = self._current_layers()
        found = () if current is None else current.layers
        return next((layer for layer in found if _role(layer) == role), None)

    def side_by_side(self, analyses: Sequence[Analysis], current: Key) -> None:
        """Show analyses beside each other, each over the scan, in napari's grid.

        Args:
            analyses: The analyses.
            current: The one that the sliders belong to.
        """
        if self._base is None:
            return
        if self.tiles is None:
            self.tiles = Tiles(self.viewer, self._make_layers, self._untiled)
        patient = analyses[0].reconstruction.patient
        self.tiles.show(analyses, current, self._base, self.find("lesion mask", patient))

    def one_by_one(self, analysis: Analysis | None) -> None:
        """Show one analysis at a time again."""
        if self.tiles is None:
            return
        tiles, self.tiles = self.tiles, None
        tiles.remove()
        if self._base is not None and self._base in self.viewer.layers:
            self.viewer.layers.selection.active = self._base
        if analysis is not None:
            self.show_analysis(analysis)

    def _of(self, analysis: Analysis) -> AnalysisLayers:
        if self.tiles is not None:
            return self.tiles.of(analysis)
        return self._derived(analysis.reconstruction.patient)

    def _current_layers(self) -> AnalysisLayers | None:
        return self._single if self.tiles is None else self.tiles.current

    def _derived(self, patient: Patient) -> AnalysisLayers:
        if self._single is None:
            self._single = self._make_layers(patient, self._insert, "")
        return self._single

    def _make_layers(
        self, patient: Patient, insert: Callable[[Layer, Role], None], suffix: str
    ) -> AnalysisLayers:
        return AnalysisLayers(
            self.viewer,
            self.session,
            patient,
            self._placement(patient),
            self._flat,
            insert,
            self._painted,
            suffix,
        )

    def _painted(self) -> None:
        self.on_painted()

    def _untiled(self) -> None:
        self.on_untiled()

    def drop_derived(self) -> None:
        """Take the layers of an analysis out of the viewer."""
        if self._single is not None:
            self._single.remove()
        self._single = None

    def leave(self) -> None:
        """Leave the layers to the viewer, one analysis at a time, and stop watching them."""
        self.one_by_one(self.session.analysis)
        if self._single is not None:
            self._single.leave()

    def painted_meanwhile(self) -> NDArray[Any] | None:
        """Return the mask (Z, Y, X) of the session's analysis that an earlier dock left, or None."""
        analysis = self.session.analysis
        if analysis is None:
            return None
        for layer in self.viewer.layers:
            tag = tag_of(layer)
            if tag is None or (tag.role, tag.analysis) != ("detected mask", analysis.key):
                continue
            left = np.asarray(layer.data)
            left = left[None] if left.ndim == 2 else left
            if tag.session is self.session and left.shape == analysis.mask.shape:
                return left
        return None

    def swap_reconstruction(self) -> None:
        """Show the reconstruction instead of the scan, or the scan again."""
        layer = self.layer("reconstruction")
        if layer is None or self._base is None:
            return
        layer.visible = not layer.visible
        self._base.visible = not layer.visible

    def go_to(self, z: int, y: int, x: int) -> None:
        """Show a voxel of the patient: its slice, and the voxel in the middle of the canvas."""
        base = self._base
        if base is None:
            return
        world = base.data_to_world((z, y, x) if base.ndim == 3 else (y, x))
        dims = self.viewer.dims
        for axis, value in zip(range(dims.ndim - len(world), dims.ndim), world, strict=True):
            if axis not in dims.displayed:
                dims.set_point(axis, value)
        shown = [world[axis - dims.ndim] for axis in dims.displayed]
        self.viewer.scene.camera.center = tuple(shown)

    def point(self) -> tuple[int, int, int] | None:
        """Return the voxel (z, y, x) at the viewer's sliders; None without a scan of three axes of the patient."""
        base = self._base
        if base is None or base.ndim != 3 or not self._shows_patient:
            return None
        found = np.round(np.asarray(base.world_to_data(self.viewer.dims.point[-3:]))).astype(int)
        z, y, x = np.clip(found, 0, np.array(base.data.shape) - 1).tolist()
        return z, y, x

    def point_to(self, voxel: tuple[int, int, int]) -> None:
        """Move the viewer's sliders to a voxel (z, y, x), hidden ones included."""
        if self._base is not None:
            dims = self.viewer.dims
            world = self._base.data_to_world(voxel)
            dims.set_point(tuple(range(dims.ndim - 3, dims.ndim)), tuple(world))

    def limits(self) -> tuple[float, float]:
        """Return the intensities of the scan that are black and white."""
        return (0.0, 1.0) if self._base is None else tuple(self._base.contrast_limits)

    def current_slice(self) -> int | None:
        """Return the axial slice on screen.

        None in 3-D, when the view cuts along another axis, and while the scan on screen is not the patient's yet.
        """
        base = self._base  # tells where slices lie even if the user has deleted it
        if not self._shows_patient:
            return None
        if base is None or base.ndim == 2:
            return 0 if base is not None and self.viewer.dims.ndisplay == 2 else None
        dims = self.viewer.dims
        axis = dims.ndim - 3
        if axis in dims.displayed:
            return None
        z = round(float(np.asarray(base.world_to_data(dims.point[-3:]))[0]))
        return z if 0 <= z < base.data.shape[0] else None

    @property
    def _shows_patient(self) -> bool:
        """Whether the scan is that of the session's patient, which may be a new one whose layers are to come."""
        tag = None if self._base is None else tag_of(self._base)
        patient = self.session.patient
        return tag is not None and patient is not None and same(tag.patient, patient)

    def _insert(self, layer: Layer, role: Role) -> None:
        """Put a derived layer above this patient's scans and, where that stands above them, below its reference.

        The reconstruction, which comes last, goes below the anomaly map.
        """
        above = self.layer("anomaly map") if role == "reconstruction" else None
        position = self._above_scans() if above is None else self.viewer.layers.index(above)
        with active_kept(self.viewer):
            self.viewer.layers.insert(position, layer)

    def _above_scans(self) -> int:
        """Return the position of a derived layer. Layers of other patients may lie anywhere in between."""
        layers, patient = list(self.viewer.layers), self.session.patient
        reference = None if patient is None else self.find("lesion mask", patient)
        if reference is None:
            return len(layers)
        place = layers.index(reference)
        hidden_below = any(layer is self._base or self._is_scan(layer) for layer in layers[place:])
        return len(layers) if hidden_below else place

    def _is_scan(self, layer: Layer) -> bool:
        tag, patient = tag_of(layer), self.session.patient
        return (
            tag is not None and patient is not None and tag.role == "sequence" and same(tag.patient, patient)
        )

    @property
    def _flat(self) -> bool:
        return self._base is not None and self._base.ndim == 2

    def _placement(self, patient: Patient) -> dict[str, Any]:
        """The placement of derived layers: that of the scan's own layer, also after its deletion."""
        if self._base is None:
            return place(patient)
        return {name: getattr(self._base, name) for name in _TRANSFORM}


class _View(NamedTuple):
    """Where a viewer looks."""

    dims: tuple[int, tuple[int, ...]]
    point: tuple[float, ...]
    center: tuple[float, ...]
    zoom: float

    @classmethod
    def of(cls, viewer: Any) -> _View:
        """Return where a viewer looks now."""
        dims, camera = viewer.dims, viewer.scene.camera
        return cls((dims.ndisplay, dims.order), dims.point, camera.center, camera.zoom)

    def restore(self, viewer: Any) -> None:
        """Look there again, as far as the cut is the same."""
        dims, camera = viewer.dims, viewer.scene.camera
        if len(self.point) == dims.ndim:
            dims.set_point(range(dims.ndim), self.point)
        if self.dims == (dims.ndisplay, dims.order):
            camera.center, camera.zoom = self.center, self.zoom


def _fullest(mask: NDArray[np.bool_]) -> int:
    """Return the slice with most of a mask."""
    return int(np.count_nonzero(mask, axis=(1, 2)).argmax())


def same(one: Patient, other: Patient) -> bool:
    """Whether two states (other sequence chosen, other reference) are of the same patient as loaded."""
    return one.grid is other.grid


def patients_in(viewer: Any) -> list[Patient]:
    """Return the patients whose sequences are open in a viewer, newest last."""
    found: list[Patient] = []
    for layer in viewer.layers:
        tag = tag_of(layer)
        if tag is not None and tag.role == "sequence" and not any(same(tag.patient, p) for p in found):
            found.append(tag.patient)
    return found


def patient_of(layer: Layer, sequence: str | None = None) -> Patient:
    """Return the patient of a layer that shows a scan, ours or any other grey image.

    Args:
        layer: The layer.
        sequence: The sequence of a layer without a file; None: as its name says.

    Raises:
        PatientError: If it is not a scan.
    """
    tag = tag_of(layer)
    again = sequence is not None and tag is not None and sequence != tag.sequence and not tag.patient.files
    if tag is not None and tag.role == "sequence" and tag.sequence is not None and not again:
        return tag.patient.select(tag.sequence)
    if (tag is not None and not again) or not isinstance(layer, Image):
        raise UnsupportedError("this layer is not a scan", file=layer.name, hint="choose an image layer")
    return _from_image(layer, sequence)


def _tag(layer: Layer) -> Tag:
    """Return the tag of a layer of ours."""
    tag = tag_of(layer)
    assert tag is not None
    return tag


def _role(layer: Layer) -> Role | None:
    tag = tag_of(layer)
    return None if tag is None else tag.role


def _from_image(image: Image, sequence: str | None) -> Patient:
    if image.rgb:
        raise UnsupportedError("the layer is in colour", file=image.name, hint="choose a grey image layer")
    data = np.asarray(image.data[0] if image.multiscale else image.data)
    while data.ndim > 3 and data.shape[0] == 1:
        data = data[0]
    if data.ndim not in (2, 3) or image.ndim != data.ndim:
        raise UnsupportedError(
            f"the layer has shape {image.data.shape}", file=image.name, hint="choose a (Z, Y, X) image layer"
        )
    scale = [float(abs(size)) for size in image.scale]
    spacing = (1.0, scale[0], scale[1]) if data.ndim == 2 else (scale[0], scale[1], scale[2])
    unsized = all(size == 1 for size in scale)
    notes = ("the layer has no voxel size, 1 mm is assumed",) if unsized else ()
    return Patient.from_arrays(
        {sequence or image.name: data}, spacing=spacing, name=image.name, warnings=notes
    )
