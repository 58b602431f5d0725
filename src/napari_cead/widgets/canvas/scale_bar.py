"""napari's scale bar, on while there is something to measure."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QWidget

from ...contributions.layers import tag_of
from ..common.dock_lifetime import when_gone


class ScaleBar:
    """Switches napari's scale bar on when a patient comes into a viewer, and back when the last one goes.

    In between it is the user's: napari's View menu switches it off and on. Its unit is the layers' own, mm.

    Args:
        viewer: The napari viewer.
        owner: The dock's widget. When its dock is closed, the scale bar is given back as it was.
    """

    def __init__(self, viewer: Any, owner: QWidget) -> None:
        self._viewer = viewer
        self._before: bool | None = None
        self._events = [viewer.layers.events.inserted, viewer.layers.events.removed]
        for emitter in self._events:
            emitter.connect(self._layers_changed)
        when_gone(owner, self.stop)
        self._layers_changed()

    def stop(self) -> None:
        """Give the scale bar back as it was."""
        for emitter in self._events:
            emitter.disconnect(self._layers_changed)
        self._events = []
        self._give_back()

    def _layers_changed(self, event: Any = None) -> None:
        if not any(tag_of(layer) is not None for layer in self._viewer.layers):
            self._give_back()
        elif self._before is None:
            bar = self._viewer.canvas.overlays.scale_bar
            self._before = bool(bar.visible)
            bar.visible = True

    def _give_back(self) -> None:
        if self._before is not None:
            self._viewer.canvas.overlays.scale_bar.visible = self._before
            self._before = None
