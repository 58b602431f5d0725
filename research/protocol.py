"""The parts of the shared pack that choose, and those that are trained on: fixed before anything was trained."""

from __future__ import annotations

HELD_BACK = ("Subj03", "Subj09", "Subj10", "Subj13", "Subj17", "sample1")
"""The third of ``nichart`` whose automatic masks choose (9 and 10 are the same person): never trained on."""

SCALP_LEFT = ("Subj02", "Subj11", "Subj12", "Subj15", "Subj16", "Subj18", "Subj19")
"""Volumes of ``nichart`` whose top three slices show scalp."""

CALIBRATING = ("Subj07",)
"""Volumes of ``nichart`` that are not trained on but measure what healthy tissue gives, outside the masks."""
