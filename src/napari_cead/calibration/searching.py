"""The search of settings by lesion masks, in two passes: thresholds over all values of the maps, then around the best.

A search says which settings to try and takes the Dice of each patient with them; who measures it, here or on the
workers of a cluster, is left to the caller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..detection import PostprocessParams
from ..detection.rules import VALIDATION as BY_DICE
from ..detection.rules import Candidates, Choice, Rule
from ..detection.thresholds import ScoreHistograms
from .candidates import (
    MORPHOLOGIES,
    Spread,
    coarse_grid,
    coarse_thresholds,
    fine_thresholds,
    merged,
)
from .cases import BINS

Measured = Sequence[tuple[str, bool, NDArray[np.float64]]]
"""For each labelled patient its name, whether it has a lesion, and its Dice with each of the settings."""


@dataclass(frozen=True)
class Searched:
    """The result of a search for a model and score.

    Attributes:
        choices: By rule, the settings for each group of patients; None without a lesion.
        patients: Labelled patients of each group.
        curve: Threshold and ``dice_patient`` of all patients, with the paper's morphology.
    """

    choices: Mapping[str, tuple[Choice | None, ...]]
    patients: tuple[int, ...]
    curve: tuple[tuple[float, float], ...] = field(default=(), repr=False)

    @property
    def best(self) -> tuple[Choice | None, ...]:
        """The settings with the highest ``dice_patient`` of each group."""
        return self.choices[BY_DICE]


class Search:
    """One search: `coarse` are the settings of the first pass.

    It first tries the thresholds of `coarse_thresholds` with each of the morphologies, and the choices of other rules;
    then the thresholds between the neighbours of the best. Of several best settings the first wins: the paper's
    morphology, then the lowest threshold. All groups and rules have one set of candidates, which lie where the maps of
    all patients have their values: each patient's Dice is measured once, and no lesion mask of others takes part in
    what a group chooses.

    Args:
        spread: Of the maps of all patients.
        groups: Names of the patients that choose together.
        rules: The rules that choose.
        also: Additional settings to try.
        morphologies: Radii and areas to try.
    """

    def __init__(
        self,
        spread: Spread,
        groups: Sequence[Collection[str]],
        rules: Sequence[Rule],
        also: Iterable[PostprocessParams] = (),
        morphologies: Sequence[PostprocessParams] = MORPHOLOGIES,
    ) -> None:
        self._spread, self._groups, self._rules = spread, groups, rules
        self._thresholds = coarse_thresholds(spread)
        self.coarse = coarse_grid(self._thresholds, also, morphologies)

    def fine(self, first: Measured) -> list[PostprocessParams]:
        """Return the settings of the second pass, around what each rule would choose; none is tried again."""
        tried = {*self.coarse}
        found: dict[PostprocessParams, None] = {}
        for group in self._groups:
            if dice := _of(first, group):
                for rule in self._rules:
                    choice = rule.choose(self._candidates(self.coarse, dice))
                    if choice is not None:
                        near = fine_thresholds(self._spread, self._thresholds, choice.params.threshold)
                        found |= {choice.params.replace(threshold=value): None for value in near}
        return [params for params in found if params not in tried]

    def result(self, first: Measured, fine: Sequence[PostprocessParams], second: Measured) -> Searched:
        """Return what the rules choose from both passes."""
        choices: dict[str, list[Choice | None]] = {rule.name: [] for rule in self._rules}
        # In order of priority.
        grid = merged(self.coarse, fine)
        place = {params: index for index, params in reversed(list(enumerate([*self.coarse, *fine])))}
        order = [place[params] for params in grid]
        for group in self._groups:
            own = _of(first, group)
            more = _of(second, group) if fine else [np.zeros(0)] * len(own)
            dice = [np.concatenate(pair)[order] for pair in zip(own, more, strict=True)]
            for rule in self._rules:
                choices[rule.name].append(rule.choose(self._candidates(grid, dice)) if dice else None)
        means = self._candidates(self.coarse, [dice for *_, dice in first]).means()
        curve = {
            params.threshold: float(value)
            for params, value in zip(self.coarse, means, strict=True)
            if params.replace(threshold=MORPHOLOGIES[0].threshold) == MORPHOLOGIES[0]
        }
        return Searched(
            {name: tuple(found) for name, found in choices.items()},
            tuple(sum(name in group for name, *_ in first) for group in self._groups),
            tuple(sorted(curve.items())) if any(lesion for _, lesion, _ in first) else (),
        )

    def _candidates(
        self, grid: Sequence[PostprocessParams], dice: Sequence[NDArray[np.float64]]
    ) -> Candidates:
        nothing = ScoreHistograms.empty(BINS)
        return Candidates(nothing, grid=grid, dice=dice, thresholds=self._thresholds)


def _of(measured: Measured, group: Collection[str]) -> list[NDArray[np.float64]]:
    """Return the Dice of the patients of a group; empty if none of them has a lesion."""
    found = [(lesion, dice) for name, lesion, dice in measured if name in group]
    return [dice for _, dice in found] if any(lesion for lesion, _ in found) else []
