"""Exploring: an immutable analysis per patient, model and score, and the session that changes it."""

from .analysis import Analysis, Corrections
from .session import DEFAULT_MODEL, Session

__all__ = ["DEFAULT_MODEL", "Analysis", "Corrections", "Session"]
