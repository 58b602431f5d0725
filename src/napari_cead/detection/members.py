"""The members of an ensemble: its anomaly map is the median of the maps that each of them gives.

What a pass gives stands in ingredients, by name: of an ensemble the median of its members under the plain names, and
what each member gave under names of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..zoo import Detector, ModelCard
from ..zoo.storage import joined
from .scores import LESION, RECONSTRUCTION, Ingredient, score_of

if TYPE_CHECKING:
    from torch import Tensor

Values = NDArray[np.float32]

OF_PASS = (RECONSTRUCTION, LESION)
"""What one pass gives, in the order of ``Detector.repair``."""

_MEMBER = " of member "
_AT_ONCE = 1 << 15  # voxels of a median that stay in the processor's cache


def given_by(card: ModelCard) -> tuple[Ingredient, ...]:
    """Return all that one pass of a model gives."""
    members = range(card.spec.voices if card.spec.voices > 1 else 0)
    given = [one for one in OF_PASS if one.had_by(card)]
    return tuple(replace(one, name=_name(one, member)) for member in (None, *members) for one in given)


def one_pass(detector: Detector, batch: Tensor) -> dict[str, Tensor]:
    """Return all that one pass gives of slices (N, 1, S, S), by name."""
    each = detector.repair_each(batch) if detector.card.spec.voices > 1 else []
    made = [(None, joined(each) if each else detector.repair(batch)), *enumerate(each)]
    return {
        _name(one, member): values
        for member, both in made
        for one, values in zip(OF_PASS, both, strict=True)
        if values is not None
    }


def members(
    reconstruction: Values, ingredients: Mapping[str, Values]
) -> list[tuple[Values, Mapping[str, Values]]]:
    """Return the reconstruction and the ingredients of each member, as if it were alone; of one network its own.

    What is not of a single pass, the members share.
    """
    shared = {name: values for name, values in ingredients.items() if _MEMBER not in name}
    found: list[tuple[Values, Mapping[str, Values]]] = []
    while (made := ingredients.get(_name(RECONSTRUCTION, len(found)))) is not None:
        lesion = ingredients.get(_name(LESION, len(found)))
        found.append((made, shared if lesion is None else {**shared, LESION.name: lesion}))
    return found or [(reconstruction, ingredients)]


def differs(score: str) -> bool:
    """Whether the members of an ensemble may have different maps under a score.

    Raises:
        ParameterError: If the score is unknown.
    """
    return any(one in score_of(score).ingredients for one in OF_PASS)


def median(maps: Sequence[Values]) -> Values:
    """Return the median of maps of one shape, voxel by voxel; of an even number the mean of the two in the middle."""
    if len(maps) == 1:
        return maps[0]
    flat = [each.ravel() for each in maps]
    parts = (slice(start, start + _AT_ONCE) for start in range(0, flat[0].size, _AT_ONCE))
    found = [np.median([each[part] for each in flat], axis=0) for part in parts]
    return np.concatenate(found or flat[:1]).reshape(maps[0].shape)


def _name(ingredient: Ingredient, member: int | None) -> str:
    return ingredient.name if member is None else f"{ingredient.name}{_MEMBER}{member}"
