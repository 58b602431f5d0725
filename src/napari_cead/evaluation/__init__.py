"""Comparing models on a cohort, the threshold rules, and the calibration of a newly trained model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..detection.rules import RULES, Rule
    from .calibration import Calibration, calibrate
    from .cases import Case
    from .comparison import evaluate
    from .results import Evaluation, Row
    from .rules import choose

__all__ = ["RULES", "Calibration", "Case", "Evaluation", "Row", "Rule", "calibrate", "choose", "evaluate"]

# These need torch or OpenCV, which the table of verbs must not import.
_HOMES = {
    **dict.fromkeys(("Calibration", "calibrate"), "calibration"),
    "Case": "cases",
    "evaluate": "comparison",
    **dict.fromkeys(("Evaluation", "Row"), "results"),
    **dict.fromkeys(("RULES", "Rule"), ".detection.rules"),
    "choose": "rules",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
