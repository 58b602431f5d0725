"""Exploring: immutable analyses by patient, model and score, and the session that changes them."""

from ..detection.choosing import Suggested
from ..detection.corrections import Corrections
from ..zoo import DEFAULT_MODEL
from .analysis import Analysis, Key
from .curves import DiceCurve, MapHistogram, Mark
from .figures import Figures
from .lesions import LesionTable
from .session import Session
from .streaming import Streaming

__all__ = [
    "DEFAULT_MODEL",
    "Analysis",
    "Corrections",
    "DiceCurve",
    "Figures",
    "Key",
    "LesionTable",
    "MapHistogram",
    "Mark",
    "Session",
    "Streaming",
    "Suggested",
]
