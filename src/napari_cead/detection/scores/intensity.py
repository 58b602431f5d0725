"""The image itself."""

from __future__ import annotations

from ._score import Score

OFFERED = (
    Score(
        "intensity", "the image itself: a baseline that uses no network", lambda of: of.image, (), place=16
    ),
)
