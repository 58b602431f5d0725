"""Comparing models on a cohort: measuring, choosing settings, folds, before and after a fine-tuning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..calibration.calibration import calibrate
    from ..calibration.rules import choose
    from ..detection.rules import RULES
    from .comparison import evaluate

__all__ = ["RULES", "calibrate", "choose", "evaluate"]

# These need torch or OpenCV, which the table of verbs must not import.
_HOMES = {
    "RULES": ".detection.rules",
    "calibrate": ".calibration.calibration",
    "choose": ".calibration.rules",
    "evaluate": "comparison",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
