"""A threshold rule: the settings that serve a typical patient best."""

import numpy as np

from napari_cead.detection.rules import Candidates, Choice, Rule


def choose(candidates: Candidates) -> Choice | None:
    """Return the settings with the highest median Dice of the patients; a few hard ones do not matter."""
    if not candidates.dice:
        return None
    return candidates.first_best(np.median(np.nan_to_num(candidates.dice), axis=0))


TYPICAL = Rule(
    name="example-typical",
    title="best for a typical patient",
    about="Threshold and morphology with the highest median Dice of the validation patients.",
    nothing="no validation patients with lesions",
    choose=choose,
    by_lesions=True,
)
