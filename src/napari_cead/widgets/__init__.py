"""Qt widgets: thin views over ``exploring.Session``, over training runs and over evaluations."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluate.dock import EvaluateWidget
    from .explore.dock import ExploreWidget
    from .train.dock import TrainWidget

__all__ = ["EvaluateWidget", "ExploreWidget", "TrainWidget"]

# napari opens one dock at a time, and the window waits for its imports: none pays for the others'.
_MODULES = {"EvaluateWidget": "evaluate.dock", "ExploreWidget": "explore.dock", "TrainWidget": "train.dock"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from .common.behind import import_behind

        import_behind("napari_cead.exploring", "napari_cead.exploring.queue")
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
