"""From slices to an anomaly map, a mask and Dice."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .cache import ReconstructionCache
from .options import MAP_OPTIONS, MapOptions
from .params import PostprocessParams
from .postprocessing import postprocess
from .scores import SCORES, Score, anomaly_score, available_scores, check_score

if TYPE_CHECKING:
    from .choosing import settle, suggested
    from .pipeline import Detection, Reconstruction, detect, run
    from .saving import check_output, save_detection

__all__ = [
    "MAP_OPTIONS",
    "SCORES",
    "Detection",
    "MapOptions",
    "PostprocessParams",
    "Reconstruction",
    "ReconstructionCache",
    "Score",
    "anomaly_score",
    "available_scores",
    "check_output",
    "check_score",
    "detect",
    "postprocess",
    "run",
    "save_detection",
    "settle",
    "suggested",
]

# These need torch; post-processing and the table of scores (command line help, sliders) must not pay for it.
_LAZY = {
    **dict.fromkeys(("settle", "suggested"), "choosing"),
    **dict.fromkeys(("Detection", "Reconstruction", "detect", "run"), "pipeline"),
    **dict.fromkeys(("check_output", "save_detection"), "saving"),
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
