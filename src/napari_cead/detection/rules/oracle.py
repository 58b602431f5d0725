"""The settings with the highest mean Dice of the reported patients themselves."""

from __future__ import annotations

from ._rule import Rule

OFFERED = (
    Rule(
        "oracle",
        title="best on the reported patients",
        about="Optimistic: the settings were chosen on the very patients that are reported, among all that were tried "
        "and all that the other rules chose. A bound on their dice_patient (and on no other figure), not a result.",
        nothing="no reported patient has a lesion",
        choose=lambda candidates: candidates.first_best(candidates.means()),
        by_lesions=True,
        optimistic=True,
        symbol="star",
        character="★",
        marker="o",
        place=3,
    ),
)
