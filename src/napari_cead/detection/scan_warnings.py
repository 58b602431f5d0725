"""What speaks against running a model on a scan: another sequence or contrast than it was trained on, a bias field."""

from __future__ import annotations

from ..patients import Patient
from ..slices import FAMILY, ContrastFigures, SliceStack
from ..zoo import ModelCard
from ..zoo.card import ContrastRange

SKEWNESS_MARGIN, RIM_MARGIN = 0.5, 0.05
"""Beyond the range of the training patients; or half of that range, if it is more."""


def evenness_doubt(stack: SliceStack) -> str | None:
    """Say in one clause that one side of a scan is brighter, which is taken for an anomaly; None if none is."""
    if not stack.skull.brain_only or not stack.uneven:
        return None
    return (
        f"{stack.uneven}, which may be taken for lesions: take the bias field out first (--bias-field n4; in Python "
        "napari_cead.correct_bias_field)"
    )


def contrast_doubt(patient: Patient, stack: SliceStack, card: ModelCard) -> str | None:
    """Say in one clause why a model's map of a scan may be meaningless; None if nothing speaks against it.

    The name of the sequence counts first. Then the contrast is compared with what the model saw in training, if its
    card says that; else it is guessed from the intensities.

    Args:
        patient: The patient; its default sequence is judged.
        stack: The slices of it.
        card: The model's card.
    """
    wanted = card.preprocessing.sequence
    family = FAMILY.get(wanted)
    if patient.sequence != wanted:
        return f"{card.name} was trained on {wanted}, this is {patient.sequence}"
    if not stack.skull.brain_only:
        return None  # the intensities are those of the scalp, too; that is told by itself
    figures = stack.contrast
    if figures is None or (family is not None and figures.guess == family):
        return None
    known = card.contrast
    if known is not None and not _beyond(figures, known):
        return None
    if figures.guess is not None and family is not None:
        looks = f"the intensities look like {figures.guess.upper()}"
    elif known is not None:
        looks = "the intensities look unlike those of its training"
    else:
        return None
    return f"{looks}, {card.name} was trained on {wanted}: the anomaly map may be meaningless"


def _beyond(figures: ContrastFigures, known: ContrastRange) -> bool:
    pairs = ((figures.skewness, known.skewness, SKEWNESS_MARGIN), (figures.rim, known.rim, RIM_MARGIN))
    for value, limits, least in pairs:
        if value is not None and limits is not None:
            margin = max(least, (limits[1] - limits[0]) / 2)
            if not limits[0] - margin <= value <= limits[1] + margin:
                return True
    return False
