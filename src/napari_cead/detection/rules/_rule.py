"""Threshold rules and the candidates that they choose from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..params import PostprocessParams
from ..thresholds import ScoreHistograms

Edge = Literal["", "lowest", "highest"]
"""Position of a chosen threshold among those tried: inside, or at an end, beyond which a better one may lie."""

NAN = float("nan")


@dataclass(frozen=True)
class Choice:
    """Settings that a rule has chosen.

    Attributes:
        params: The settings.
        dice_patient: Mean over the searched patients of the Dice of the volume, with these settings; NaN if no lesion
            mask took part.
        edge: The end of the thresholds tried at which its threshold lies; empty inside.
    """

    params: PostprocessParams
    dice_patient: float = NAN
    edge: Edge = ""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The data that a rule chooses from: healthy slices for one rule, tried settings for another.

    Attributes:
        healthy: Histogram of the anomaly over the healthy brain voxels of the patients that choose.
        quantile: Share of them that the user, or the model's card, wants below the threshold.
        grid: Settings that were tried on lesion masks.
        dice: For each patient with a lesion mask, its Dice with each of them; NaN if both masks are empty.
        thresholds: Those of the first pass of the search.
    """

    healthy: ScoreHistograms
    quantile: float = 0.99
    grid: Sequence[PostprocessParams] = ()
    dice: Sequence[NDArray[np.float64]] = ()
    thresholds: Sequence[float] = field(default=(), repr=False)

    def means(self) -> NDArray[np.float64]:
        """Return ``dice_patient`` with each of the settings; NaN if both masks are empty in all patients."""
        total, defined = np.zeros(len(self.grid)), np.zeros(len(self.grid))
        for values in self.dice:  # in the order of the patients: the last bits of a sum depend on it
            total += np.nan_to_num(values)
            defined += ~np.isnan(values)
        means = np.full(len(self.grid), np.nan)
        np.divide(total, defined, out=means, where=defined > 0)
        return means

    def first_best(self, values: NDArray[np.float64]) -> Choice | None:
        """Return the first of the settings with the highest value.

        Args:
            values: One per setting; NaN is lower than all others.
        """
        if not self.grid:
            return None
        best = int(np.argmax(np.nan_to_num(values, nan=-1.0)))
        edge = edge_of(self.grid[best].threshold, self.thresholds) if self.thresholds else ""
        return Choice(self.grid[best], float(self.means()[best]), edge)


def edge_of(threshold: float, thresholds: Sequence[float]) -> Edge:
    """Return the end of the thresholds tried at which a chosen one lies."""
    if threshold >= max(thresholds):
        return "highest"
    return "lowest" if threshold <= min(thresholds) else ""


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule that chooses the settings of the post-processing.

    Attributes:
        name: Its name in commands, tables and on cards.
        title: Its description in a few words: ``"best on validation patients"``.
        about: Sentences for a report; ``{share}`` stands for the share of the healthy voxels above a threshold.
        nothing: The reason why it chooses nothing if it lacks data, in a few words.
        choose: From the candidates to a choice; None if it lacks data.
        by_lesions: Whether it needs lesion masks: then it chooses from the grid, else from the healthy voxels.
        optimistic: Whether it chooses on the reported patients themselves.
        symbol: Its mark in a plot of pyqtgraph.
        character: The same mark in a text.
        marker: The same mark in a figure of matplotlib.
        place: Its position in lists of this package's rules.
    """

    name: str
    title: str
    about: str
    nothing: str
    choose: Callable[[Candidates], Choice | None]
    by_lesions: bool = False
    optimistic: bool = False
    symbol: str = "s"
    character: str = "■"
    marker: str = "P"
    place: int = 0
