"""The network's own probability of a lesion."""

from __future__ import annotations

from ._score import LESION, RECONSTRUCTION, Score

OFFERED = (
    Score(
        "lesion-probability",
        "the network's own probability of a lesion, learnt from simulated ones",
        lambda of: of.ingredients[LESION.name],
        (RECONSTRUCTION, LESION),
        place=9,
    ),
)
