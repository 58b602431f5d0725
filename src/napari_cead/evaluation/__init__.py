"""Comparing models on a cohort, the threshold rules, and the calibration of a newly trained model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..detection.rules import RULES
    from .calibration import calibrate
    from .comparison import evaluate
    from .rules import choose

__all__ = ["RULES", "calibrate", "choose", "evaluate"]

# These need torch or OpenCV, which the table of verbs must not import.
_HOMES = {
    "RULES": ".detection.rules",
    "calibrate": "calibration",
    "choose": "rules",
    "evaluate": "comparison",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
