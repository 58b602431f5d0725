"""The actions of the keyboard shortcuts of the Explore dock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .shortcuts import BIG_STEP, SMALL_STEP

if TYPE_CHECKING:
    from ..contributions.layers import Role
    from .explore import ExploreWidget


def actions(dock: ExploreWidget) -> dict[str, Callable[[], object]]:
    """Return the function of every shortcut.

    Args:
        dock: The dock.
    """

    def step(by: float) -> Callable[[], None]:
        def move() -> None:
            slider = dock.threshold
            slider.value = min(max(slider.value + by, slider.min), slider.max)

        return move

    def toggle(role: Role) -> Callable[[], None]:
        def switch() -> None:
            layer = dock.layers.layer(role)
            if layer is not None:
                layer.visible = not layer.visible

        return switch

    return {
        "next_lesion": dock.lesions.next,
        "previous_lesion": dock.lesions.previous,
        "threshold_up": step(SMALL_STEP),
        "threshold_down": step(-SMALL_STEP),
        "threshold_up_more": step(BIG_STEP),
        "threshold_down_more": step(-BIG_STEP),
        "toggle_map": toggle("anomaly map"),
        "toggle_mask": toggle("detected mask"),
        "toggle_reconstruction": dock.layers.swap_reconstruction,
        "side_by_side": dock.compare.toggle,
        "three_views": dock.three_views.toggle,
        "undo": dock.undo.native.click,
        "redo": dock.redo.native.click,
        "run": dock.run.native.click,
        "cancel": dock.cancel.native.click,
        "help": dock.show_help,
    }
