"""The actions of the keyboard shortcuts of the Explore dock."""

from __future__ import annotations

from collections.abc import Callable

from ...contributions.layers import Role
from ..canvas.layer_view import LayerView
from .comparison import Comparison
from .explore_form import ExploreForm
from .shortcuts import BIG_STEP, SMALL_STEP


def actions(
    form: ExploreForm,
    layers: LayerView,
    compare: Comparison,
    go_to_and_fro: Callable[[], object],
    show_help: Callable[[], object],
) -> dict[str, Callable[[], object]]:
    """Return the function of every shortcut.

    Args:
        form: The controls.
        layers: The layers.
        compare: Side by side.
        go_to_and_fro: Moves the focus between canvas and dock.
        show_help: Shows the help.
    """

    def step(by: float) -> Callable[[], None]:
        def move() -> None:
            slider = form.threshold
            slider.value = min(max(slider.value + by, slider.min), slider.max)

        return move

    def toggle(role: Role) -> Callable[[], None]:
        def switch() -> None:
            layer = layers.layer(role)
            if layer is not None:
                layer.visible = not layer.visible

        return switch

    return {
        "next_lesion": form.lesions.next,
        "previous_lesion": form.lesions.previous,
        "threshold_up": step(SMALL_STEP),
        "threshold_down": step(-SMALL_STEP),
        "threshold_up_more": step(BIG_STEP),
        "threshold_down_more": step(-BIG_STEP),
        "toggle_map": toggle("anomaly map"),
        "toggle_mask": toggle("detected mask"),
        "toggle_reconstruction": layers.swap_reconstruction,
        "side_by_side": compare.toggle,
        "three_views": form.three_views.toggle,
        "undo": form.undo.native.click,
        "redo": form.redo.native.click,
        "run": form.run.native.click,
        "cancel": form.cancel.native.click,
        "go_to_and_fro": go_to_and_fro,
        "help": show_help,
    }
