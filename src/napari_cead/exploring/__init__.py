"""Exploring: immutable analyses by patient, model and score, and the session that changes them."""

from ..detection.corrections import Corrections
from ..zoo import DEFAULT_MODEL
from .analysis import Analysis, Key
from .curves import MapHistogram
from .figures import Figures
from .lesions import LesionTable
from .session import Session
from .streaming import Streaming

__all__ = [
    "DEFAULT_MODEL",
    "Analysis",
    "Corrections",
    "Figures",
    "Key",
    "LesionTable",
    "MapHistogram",
    "Session",
    "Streaming",
]
