"""Showing a patient the right way round in napari, with the letters of the directions at the edges.

The data never change: only napari's camera is told in which way each axis grows on the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components.overlays import TextOverlay
from qtpy.QtWidgets import QWidget

from ...contributions.layers import tag_of
from ..common.anatomy import CUTS, Convention, Cut, Marks, marks, order_of, orientation
from ..common.dock_lifetime import when_gone

_POSITIONS = {"top": "top_center", "bottom": "bottom_center", "left": "middle_left", "right": "middle_right"}


class Orientation:
    """Turns the display of a viewer to the convention and marks the edges of its canvas, while its owner lives.

    Acts only while a patient of known orientation is on show; other pictures stay as napari shows them. The
    marks are overlays of the canvas: they are in its screenshots, and follow every flip, whoever makes it.
    Where two of these share a viewer, the older one acts until it goes.

    Attributes:
        marks: The letters on show, None if the orientation is unknown or the view is 3-D.
        on_cut: Called with the name of the cut, None for 3-D and for views that lie on their side.

    Args:
        viewer: The napari viewer.
        owner: The dock's widget. When its dock is closed, the viewer is given back as it was.
        convention: Which side of the picture is the patient's right.
    """

    def __init__(self, viewer: Any, owner: QWidget, convention: Convention = "radiological") -> None:
        self.viewer = viewer
        self.marks: Marks | None = None
        self.on_cut: Callable[[Cut | None], None] = lambda cut: None
        self._convention = convention
        self._cut: Cut | None = None
        self._overlays: dict[str, TextOverlay] = {}
        self._before: tuple[Any, ...] | None = None
        self._wanted: tuple[str, str, str] | None = None
        self._turning = False
        self._watched: list[Any] = []
        dims, layers = viewer.dims.events, viewer.layers.events
        look = self._refreshed
        self._connected = [
            *((emitter, look) for emitter in (dims.order, dims.ndisplay, dims.ndim)),
            *((emitter, look) for emitter in (layers.inserted, layers.removed)),
            (viewer.scene.camera.events.orientation, self._turned),
            (viewer.canvas.grid.events.enabled, look),
        ]
        for emitter, callback in self._connected:
            emitter.connect(callback)
        when_gone(owner, self.stop)
        self.refresh()

    @property
    def convention(self) -> Convention:
        """Which side of the picture is the patient's right; set it to turn the display."""
        return self._convention

    @convention.setter
    def convention(self, convention: Convention) -> None:
        self._convention = convention
        self.refresh()

    @property
    def known(self) -> bool:
        """Whether the orientation of everything of ours that is on show is known."""
        shown = [layer for layer in self.viewer.layers if layer.visible and tag_of(layer) is not None]
        return bool(shown) and all(_upright(layer) for layer in shown)

    @property
    def cut(self) -> Cut | None:
        """The cut on show; None in 3-D, for cuts that lie on their side, and where it is unknown."""
        axes = self._axes() if self.viewer.dims.ndisplay == 2 and self.known else None
        return next((cut for cut in CUTS if order_of(cut) == axes), None)

    def show_cut(self, cut: Cut) -> None:
        """Show a cut in 2-D, upright."""
        dims = self.viewer.dims
        if dims.ndim < 3:
            return
        first = dims.ndim - 3
        dims.ndisplay = 2
        dims.order = (*range(first), *(axis + first for axis in order_of(cut)))
        self.viewer.reset_view()

    def refresh(self) -> None:
        """Turn the display if something else is on show than before, and set the marks."""
        self._watch_layers()
        known = self.known
        axes = self._axes()
        if axes is not None and known:
            self._turn(orientation(axes, self._convention))
        elif self._wanted is not None:
            self._turn_back()
        camera = self.viewer.scene.camera
        if axes is None or not known or self.viewer.dims.ndisplay != 2:
            self.marks = None
        else:
            vertical, horizontal = (str(way) for way in camera.orientation2d)
            self.marks = marks(axes[1], axes[2], vertical, horizontal)
        self._write()
        if (cut := self.cut) != self._cut:
            self._cut = cut
            self.on_cut(cut)

    def stop(self) -> None:
        """Give the viewer back as it was: no marks, and the camera turned as before."""
        for emitter, callback in self._connected:
            emitter.disconnect(callback)
        self._connected = []
        self._forget_layers()
        self.on_cut = lambda cut: None
        self.marks = None
        for edge in self._overlays:
            self.viewer.canvas.overlays.pop(_key(edge), None)
        self._overlays = {}
        if self._wanted is not None:
            self._turn_back()

    # -- the camera ----------------------------------------------------------------------------------------

    def _axes(self) -> tuple[int, int, int] | None:
        """Return which of z, y and x are depth, vertical and horizontal; None for other axes of the viewer."""
        dims = self.viewer.dims
        axes = tuple(axis - (dims.ndim - 3) for axis in dims.order[-3:])
        return axes if len(axes) == 3 and min(axes) >= 0 else None

    def _turn(self, wanted: tuple[str, str, str]) -> None:
        if wanted == self._wanted or self._idle():
            return
        if self._wanted is None:
            self._before = tuple(self.viewer.scene.camera.orientation)
        self._wanted = wanted
        self._set(wanted)

    def _turn_back(self) -> None:
        before, self._before, self._wanted = self._before, None, None
        if before is not None:
            self._set(before)

    def _set(self, ways: tuple[Any, ...]) -> None:
        self._turning = True
        try:
            self.viewer.scene.camera.orientation = ways
        finally:
            self._turning = False

    def _turned(self, event: Any = None) -> None:
        if self._turning:
            return
        # Somebody else turned the camera: that stays until another cut is on show, and is what we go back to.
        now = tuple(self.viewer.scene.camera.orientation)
        if self._wanted is not None and tuple(str(way) for way in now) != self._wanted:
            self._before = now
        self.refresh()

    # -- the marks -----------------------------------------------------------------------------------------

    def _idle(self) -> bool:
        """Whether another one of these has its marks on the canvas."""
        return not self._overlays and any(_key(edge) in self.viewer.canvas.overlays for edge in _POSITIONS)

    def _write(self) -> None:
        if self._idle() or (self.marks is None and not self._overlays):
            return
        for edge, position in _POSITIONS.items():
            if edge not in self._overlays:
                # White on black is legible on every picture and in every theme.
                self._overlays[edge] = TextOverlay(
                    position=position,
                    color="white",
                    box=True,
                    box_color=(0, 0, 0, 0.7),
                    font_size=13,
                    gridded=True,  # side by side, every tile says where it looks
                )
                self.viewer.canvas.overlays[_key(edge)] = self._overlays[edge]
            if self.marks is not None:
                self._overlays[edge].text = getattr(self.marks, edge)
            # Tiles have their names at the top: there left and right are enough.
            fits = edge in ("left", "right") or not self.viewer.canvas.grid.enabled
            self._overlays[edge].visible = self.marks is not None and fits

    # -- the layers ----------------------------------------------------------------------------------------

    def _watch_layers(self) -> None:
        ours = [layer for layer in self.viewer.layers if tag_of(layer) is not None]
        if ours == self._watched:
            return
        self._forget_layers()
        for layer in ours:
            for name in _PLACING:
                getattr(layer.events, name).connect(self._refreshed)
        self._watched = ours

    def _forget_layers(self) -> None:
        for layer in self._watched:
            for name in _PLACING:
                getattr(layer.events, name).disconnect(self._refreshed)
        self._watched = []

    def _refreshed(self, event: Any = None) -> None:
        self.refresh()


_PLACING = ("visible", "scale", "rotate", "shear", "affine")
"""Events of a layer that change where it lies or whether it is on show."""


def _key(edge: str) -> str:
    return f"direction_{edge}"


def _upright(layer: Any) -> bool:
    """Whether a layer of ours lies in the world as its patient's canonical volume does."""
    tag = tag_of(layer)
    if tag is None or layer.ndim != 3 or not tag.patient.grid.has_orientation:
        return False
    corner = np.asarray(layer.data_to_world((0, 0, 0)))
    ways = np.array([np.asarray(layer.data_to_world(step)) - corner for step in np.eye(3)])
    sizes = np.diag(ways)
    return bool((sizes > 0).all() and np.allclose(ways, np.diag(sizes), atol=1e-6 * sizes.max()))
