"""The settings with the highest mean Dice of validation patients."""

from __future__ import annotations

from ._rule import Rule

OFFERED = (
    Rule(
        "validation",
        title="best on validation patients",
        about="Threshold and morphology with the best dice_patient of the validation patients, after post-processing.",
        nothing="no validation patients with lesions",
        choose=lambda candidates: candidates.first_best(candidates.means()),
        by_lesions=True,
        symbol="t1",
        character="▲",
        marker="^",
        place=2,
    ),
)
