"""Paint and Erase of the Explore dock: napari's brush and eraser for the detected mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magicgui.widgets import PushButton
from napari.layers import Labels

from ..canvas.layer_view import LayerView
from ..common.docks import bare


class Tools:
    """Takes a tool to the detected mask, and shows which one is in hand, whoever took it.

    Args:
        buttons: The buttons by the modes of a labels layer.
        viewer: The napari viewer.
        layers: The layers of the session.
    """

    def __init__(self, buttons: Mapping[str, PushButton], viewer: Any, layers: LayerView) -> None:
        self._buttons = {mode: button.native for mode, button in buttons.items()}
        self._viewer, self._layers = bare(viewer), layers
        self._watched: Labels | None = None
        for mode, button in self._buttons.items():
            button.setCheckable(True)
            button.clicked.connect(lambda *_, mode=mode: self._take(mode))
        self._viewer.layers.selection.events.active.connect(self._active_changed)
        self._active_changed()

    def show(self, event: Any = None) -> None:
        """Show which tool is in hand."""
        in_hand = self._in_hand()
        for mode, button in self._buttons.items():
            button.setChecked(mode == in_hand)

    def stop(self) -> None:
        """Stop watching the viewer."""
        self._viewer.layers.selection.events.active.disconnect(self._active_changed)
        self._watch(None)

    def _in_hand(self) -> str | None:
        """Return the mode of the detected mask if the mouse acts on it."""
        layer = self._layers.layer("detected mask")
        if layer is None or self._viewer.layers.selection.active is not bare(layer):
            return None
        return str(layer.mode)

    def _take(self, mode: str) -> None:
        """Take a tool, or put it down if it is the one in hand."""
        layer = self._layers.layer("detected mask")
        if layer is not None:
            wanted = "pan_zoom" if self._in_hand() == mode else mode
            self._viewer.layers.selection.active = bare(layer)
            layer.visible = True
            layer.mode = wanted
        self.show()  # also if nothing came of it: Qt has checked the button that was clicked

    def _active_changed(self, event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        self._watch(active if isinstance(active, Labels) else None)
        self.show()

    def _watch(self, layer: Labels | None) -> None:
        if self._watched is not None:
            self._watched.events.mode.disconnect(self.show)
        self._watched = layer
        if layer is not None:
            layer.events.mode.connect(self.show)
