"""Axial, coronal and sagittal cuts through one point, below the canvas and linked with it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QPushButton, QWidget

from ...contributions.layers import ANOMALY_RGB, DETECTED_COLOR, LESION_COLOR
from ...patients import Patient
from ..canvas.layer_view import LayerView
from ..canvas.orientation import Orientation
from ..common.anatomy import CUTS, Cut, marks, order_of, orientation
from ..common.dock_lifetime import when_gone

_LOOK_AFTER_MS = 40
_HEIGHT = 170
_AROUND = 1.04  # room around the largest cut


class Overlay(NamedTuple):
    """An overlay of the scan: a volume (Z, Y, X), transparent up to ``low``, with ``opacity`` from ``high`` on."""

    volume: Any
    low: float
    high: float
    opacity: float
    color: tuple[float, ...]
    outlined: bool = False

    def share(self, index: int, axis: int) -> NDArray[np.float32]:
        """Return the opacity of each pixel of a slice."""
        part: NDArray[np.float32] = np.take(np.asarray(self.volume), index, axis=axis).astype(np.float32)
        if self.outlined:
            at = np.pad(part, 1) > 0
            part = part * ~(at[:-2, 1:-1] & at[2:, 1:-1] & at[1:-1, :-2] & at[1:-1, 2:])
        return np.clip((part - self.low) / (self.high - self.low), 0, 1) * np.float32(self.opacity)


class ThreeViews:
    """Switches a dock with the three cuts on and off.

    A press or a drag in one of them moves the other two and the canvas; sliders, painting and the canvas's own slider
    move all of them. They show the scan, and the map, detected mask and reference if their layers are visible.

    Attributes:
        cuts: The cuts in the dock; None while it is off.

    Args:
        button: Switches them; it comes up when their dock is closed.
        layers: The session's layers.
        orientation: Which side of the picture is the patient's right.
        owner: The dock's widget. When its dock is closed, the cuts go too.
    """

    def __init__(
        self, button: QPushButton, layers: LayerView, orientation: Orientation, owner: QWidget
    ) -> None:
        self._button, self._layers, self._orientation = button, layers, orientation
        self._viewer = layers.viewer
        self.cuts: Cuts | None = None
        self._frame: QWidget | None = None
        self._timer = QTimer(owner, singleShot=True, interval=_LOOK_AFTER_MS)
        self._timer.timeout.connect(self._draw)
        self._viewer.dims.events.point.connect(self.refresh)
        when_gone(owner, self._stop)

    def toggle(self, on: bool) -> None:
        """Show or hide the cuts."""
        if on and self.cuts is None:
            self.cuts = Cuts()
            self.cuts.chosen.connect(self._go_to)
            self._frame = self._viewer.window.add_dock_widget(self.cuts, name="Three views", area="bottom")
            when_gone(self.cuts, self._closed)
            self._draw()
        elif not on and self._frame is not None:
            frame, self._frame, self.cuts = self._frame, None, None
            self._viewer.window.remove_dock_widget(frame)

    def refresh(self, event: Any = None) -> None:
        """Redraw soon."""
        if self.cuts is not None and not self._timer.isActive():
            self._timer.start()

    def _closed(self) -> None:
        """The user has closed the dock of the cuts."""
        self.cuts = self._frame = None
        self._button.setChecked(False)

    def _stop(self) -> None:
        self._viewer.dims.events.point.disconnect(self.refresh)
        self._timer.stop()
        self.toggle(False)

    def _draw(self) -> None:
        layers, patient = self._layers, self._layers.session.patient
        point = layers.point()
        if self.cuts is None or patient is None or point is None:
            return
        overlays = []
        anomaly, detected = layers.layer("anomaly map"), layers.layer("detected mask")
        reference = layers.find("lesion mask", patient)
        if anomaly is not None and anomaly.visible:
            color = tuple(255 * part for part in ANOMALY_RGB)
            low, high = anomaly.contrast_limits
            overlays.append(Overlay(anomaly.data, low, high, anomaly.opacity, color))
        for layer, name in ((detected, DETECTED_COLOR), (reference, LESION_COLOR)):
            if layer is not None and layer.visible:
                color, outlined = QColor(name).getRgb()[:3], layer is reference
                overlays.append(Overlay(layer.data, 0, 1, layer.opacity, color, outlined))
        self.cuts.show_patient(patient, point, overlays, layers.limits(), self._orientation.convention)

    def _go_to(self, axes: tuple[int, int], where: tuple[float, float]) -> None:
        point = self._layers.point()
        if point is not None:
            moved = dict(enumerate(point)) | {axes[0]: round(where[0]), axes[1]: round(where[1])}
            self._layers.point_to((moved[0], moved[1], moved[2]))
            self.refresh()


class Cuts(pg.GraphicsLayoutWidget):
    """The three cuts beside each other.

    Signals:
        chosen: (vertical axis, horizontal axis), (position on each in voxels) of a place under the mouse.
    """

    chosen = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self.setBackground("black")
        self.setMinimumHeight(_HEIGHT)
        self.setAccessibleName("Axial, coronal and sagittal cuts")
        self._parts = [_Cut(cut, self.addViewBox(row=0, col=column)) for column, cut in enumerate(CUTS)]

    def show_patient(
        self,
        patient: Patient,
        point: tuple[int, int, int],
        overlays: list[Overlay],
        limits: tuple[float, float],
        convention: Any,
    ) -> None:
        """Show the cuts through a voxel.

        Args:
            patient: The patient.
            point: z, y and x of the voxel.
            overlays: The overlays of the scan, bottom to top.
            limits: Intensities of black and white.
            convention: Which side of the picture is the patient's right.
        """
        for part in self._parts:
            part.show(patient, point, overlays, limits, convention)
        self._fit()

    def resizeEvent(self, event: Any) -> None:
        """Fit the cuts to the new size."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Show all cuts at one scale, the largest at which each fits into its box."""
        shown = [part for part in getattr(self, "_parts", ()) if part.extent is not None]
        if not shown:
            return
        self.ci.layout.activate()
        scale = max(
            max(own / room for own, room in zip(part.extent, part.room, strict=True)) for part in shown
        )
        for part in shown:
            part.fit(scale * _AROUND)

    def mousePressEvent(self, event: Any) -> None:
        """Go to the place under the mouse."""
        self._choose(event)

    def mouseMoveEvent(self, event: Any) -> None:
        """Follow the mouse while the button is down."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._choose(event)

    def mouseReleaseEvent(self, event: Any) -> None:
        """Do nothing: the place was chosen."""

    def wheelEvent(self, event: Any) -> None:
        """Neither zoom nor scroll."""
        event.ignore()

    def _choose(self, event: Any) -> None:
        scene = self.mapToScene(event.position().toPoint())
        for part in self._parts:
            if part.box.sceneBoundingRect().contains(scene):
                found = part.voxel_at(scene)
                if found is not None:
                    self.chosen.emit(part.axes[1:], found)


class _Cut:
    """One cut in a view box of its own."""

    def __init__(self, cut: Cut, box: pg.ViewBox) -> None:
        self.axes, self.box = order_of(cut), box
        box.setAspectLocked(True)
        box.setMouseEnabled(x=False, y=False)
        box.setMenuEnabled(False)
        self._image = pg.ImageItem(axisOrder="row-major")
        self._lines = tuple(pg.InfiniteLine(angle=angle, pen=pg.mkPen("#ffffff80")) for angle in (0, 90))
        self._letters = [pg.TextItem(color="w", anchor=anchor) for anchor in _ANCHORS]
        for item in (self._image, *self._lines, *self._letters):
            box.addItem(item, ignoreBounds=True)
        self._sizes = 1.0, 1.0
        self._shape: tuple[int, int] | None = None
        self.extent: tuple[float, float] | None = None  # width and height in mm

    def show(
        self,
        patient: Patient,
        point: tuple[int, int, int],
        overlays: list[Overlay],
        limits: tuple[float, float],
        convention: Any,
    ) -> None:
        depth, vertical, horizontal = self.axes
        scan = np.asarray(np.take(patient.volume(), point[depth], axis=depth), dtype=np.float32)
        rows, columns = scan.shape
        grey = np.clip((scan - limits[0]) / max(limits[1] - limits[0], 1e-6), 0, 1) * 255
        picture = np.repeat(grey[..., None], 3, axis=2)
        for overlay in overlays:
            share = overlay.share(point[depth], depth)[..., None]
            picture = picture * (1 - share) + np.asarray(overlay.color, dtype=np.float32) * share
        _, down, right = orientation(self.axes, convention)
        sizes = patient.spacing[vertical], patient.spacing[horizontal]
        height, width = rows * sizes[0], columns * sizes[1]
        self._image.setImage(picture.astype(np.uint8), levels=(0, 255))
        self._image.setRect(QRectF(0, 0, width, height))
        self.box.invertY(down == "down")
        self.box.invertX(right == "left")
        self._shape, self._sizes, self.extent = (rows, columns), sizes, (width, height)
        self._lines[0].setValue((point[vertical] + 0.5) * sizes[0])
        self._lines[1].setValue((point[horizontal] + 0.5) * sizes[1])
        known = patient.grid.has_orientation
        letters = marks(vertical, horizontal, down, right)
        top, bottom = (0.0, height) if down == "down" else (height, 0.0)
        left, far = (0.0, width) if right == "right" else (width, 0.0)
        middle = width / 2, height / 2
        places = ((middle[0], top), (middle[0], bottom), (left, middle[1]), (far, middle[1]))
        texts = letters.top, letters.bottom, letters.left, letters.right
        for item, place, text in zip(self._letters, places, texts, strict=True):
            item.setText(text if known else "")
            item.setPos(*place)

    @property
    def room(self) -> tuple[float, float]:
        """Width and height of its box in pixels."""
        rect = self.box.rect()
        return max(rect.width(), 1.0), max(rect.height(), 1.0)

    def fit(self, scale: float) -> None:
        """Show the middle of the cut, at so many mm a pixel."""
        if self.extent is None:
            return
        (width, height), (across, down) = self.extent, (scale * side for side in self.room)
        self.box.setRange(
            QRectF((width - across) / 2, (height - down) / 2, across, down), padding=0, disableAutoRange=True
        )

    def voxel_at(self, scene: QPointF) -> tuple[float, float] | None:
        """Return the position of a point on the vertical and horizontal axis, in voxels; None outside."""
        if self._shape is None:
            return None
        where = self.box.mapSceneToView(scene)
        found = where.y() / self._sizes[0] - 0.5, where.x() / self._sizes[1] - 0.5
        inside = all(-0.5 <= at <= size - 0.5 for at, size in zip(found, self._shape, strict=True))
        return found if inside else None


_ANCHORS = ((0.5, 0.0), (0.5, 1.0), (0.0, 0.5), (1.0, 0.5))
"""Of the letters at top, bottom, left and right, so that they lie inside."""
