"""The keyboard shortcuts of the Explore dock: one table that binds them and explains them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from napari.settings import get_settings
from qtpy.QtWidgets import QWidget

from ..common.dock_lifetime import when_gone


@dataclass(frozen=True)
class Shortcut:
    """One row of `SHORTCUTS`.

    Attributes:
        action: Name of its action, for code.
        key: In napari's notation: ``"Shift-N"``.
        text: Its action, for people.
    """

    action: str
    key: str
    text: str

    @property
    def label(self) -> str:
        """The key as people write it: ``"Shift+N"``."""
        return self.key.replace("-", "+")


SHORTCUTS: tuple[Shortcut, ...] = (
    Shortcut("next_lesion", "N", "Next lesion"),
    Shortcut("previous_lesion", "Shift-N", "Previous lesion"),
    Shortcut("threshold_up", "K", "Threshold up, a small step"),
    Shortcut("threshold_down", "J", "Threshold down, a small step"),
    Shortcut("threshold_up_more", "Shift-K", "Threshold up, a big step"),
    Shortcut("threshold_down_more", "Shift-J", "Threshold down, a big step"),
    Shortcut("toggle_map", "H", "Show or hide the anomaly map"),
    Shortcut("toggle_mask", "G", "Show or hide the detected mask"),
    Shortcut("toggle_reconstruction", "W", "Swap scan and reconstruction"),
    Shortcut("side_by_side", "Q", "Side by side, on or off"),
    Shortcut("three_views", "Shift-O", "Axial, coronal and sagittal at once, on or off"),
    Shortcut("undo", "U", "Undo a change of settings or a stroke"),
    Shortcut("redo", "Shift-U", "Redo it"),
    Shortcut("run", "Shift-R", "Run the model"),
    Shortcut("cancel", "Shift-C", "Cancel the run"),
    Shortcut("go_to_and_fro", "F6", "Go from the picture to this dock, and back"),
    Shortcut("help", "F1", "Show this help"),
)
"""All shortcuts. napari gives a layer's own keys precedence, so none of these is a key that napari uses."""

NAPARI_SHORTCUTS: tuple[Shortcut, ...] = (
    Shortcut("napari:increment_dims_left", "Left", "Previous slice"),
    Shortcut("napari:increment_dims_right", "Right", "Next slice"),
    Shortcut("napari:toggle_ndisplay", "Ctrl-Y", "2-D or 3-D"),
    Shortcut("napari:reset_view", "Ctrl-R", "Fit the view"),
)
"""napari's own most useful shortcuts, for the help; the keys are napari's defaults."""

SMALL_STEP, BIG_STEP = 0.005, 0.05
"""Steps of the threshold keys."""


class Shortcuts:
    """Binds the shortcuts in a viewer while their owner lives.

    The keys work on the canvas and wherever in napari's window a widget has no use for them: what is typed into a
    box stays there. Of several docks in a viewer the newest one gets the keys, and leaves them to the one before.

    Attributes:
        bound: The bound shortcuts, in the order of the table. A key that the user gave to something of napari's is
            left alone.

    Args:
        viewer: The napari viewer.
        owner: The dock's widget. When its dock is closed, the keys are freed.
        actions: The functions by the names in `SHORTCUTS`; omitted names are not bound.

    Raises:
        KeyError: If there is no shortcut for an action.
    """

    def __init__(self, viewer: Any, owner: QWidget, actions: Mapping[str, Callable[[], object]]) -> None:
        unknown = set(actions) - {shortcut.action for shortcut in SHORTCUTS}
        if unknown:
            raise KeyError(f"no shortcut for {', '.join(sorted(unknown))}")
        self._viewer = viewer
        self._bindings: dict[str, _Binding] = {}
        taken = _taken_by_napari()
        bound = []
        for shortcut in SHORTCUTS:
            if shortcut.action not in actions or shortcut.key.lower() in taken:
                continue
            binding = _Binding(shortcut.action, actions[shortcut.action])
            binding.below = viewer.bind_key(shortcut.key, binding, overwrite=True)
            self._bindings[shortcut.key] = binding
            bound.append(shortcut)
        self.bound = tuple(bound)
        when_gone(owner, self.stop)

    def stop(self) -> None:
        """Free the keys."""
        bindings, self._bindings = self._bindings, {}
        for key, binding in bindings.items():
            binding.run = None
            top = self._viewer.bind_key(key, None)
            # What was bound over ours stays on top; what lay below ours comes back.
            while isinstance(top, _Binding) and top.run is None:
                top = top.below
            if top is not None:
                self._viewer.bind_key(key, top)


class _Binding:
    """The function that napari calls when a key is pressed.

    Attributes:
        run: Its action, None once its dock is gone.
        below: The earlier action of the key.
    """

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        self.__name__ = name  # napari lists the bound keys by the names of their functions
        self.run: Callable[[], object] | None = run
        self.below: Any = None

    def __call__(self, viewer: Any) -> None:
        if self.run is not None:
            self.run()


def _taken_by_napari() -> set[str]:
    """Return every key that napari itself uses, as set by the user, in lower case."""
    used = get_settings().shortcuts.shortcuts
    return {str(key).replace("+", "-").lower() for keys in used.values() for key in keys}
