"""Named rules that choose the settings of the post-processing.

- `healthy-quantile`: the threshold that lets through ``1 - quantile`` of the brain voxels of healthy slices of
  validation patients, with the paper's morphology. It needs to know which slices are healthy, but no lesion masks.
- `validation`: the threshold and morphology with the best ``dice_patient`` of validation patients, after
  post-processing.
- `oracle`: the same search on the reported patients themselves, which also tries the choices of every other rule.
  Optimistic: a bound on the ``dice_patient`` of the other rules, not a result.

The same rules and the same candidates (`candidates`) serve models, their cards and the baselines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..detection import PostprocessParams
from ..detection.thresholds import ScoreHistograms
from ..errors import Cancelled, ParameterError
from ..zoo import ModelCard
from .candidates import (
    MORPHOLOGIES,
    Edge,
    Spread,
    coarse_grid,
    coarse_thresholds,
    edge_of,
    fine_thresholds,
    merged,
)
from .cases import BINS, Case

Rule = Literal["healthy-quantile", "validation", "oracle"]

RULES: tuple[Rule, ...] = get_args(Rule)

QUANTILE = 0.99
"""Share of the healthy brain voxels that rule `healthy-quantile` keeps below the threshold."""

QUANTILE_OF_DENOISERS = 0.997
"""The same for models that repair corrupted slices: they leave most of a healthy brain alone, and 1 % of it would be
larger than most lesions."""

FEW = 10
"""Smallest number of patients that should choose by their lesion masks: with fewer, chance decides much."""

Progress = Callable[[int, int], None]
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Choice:
    """Settings found by a search.

    Attributes:
        params: The settings.
        dice_patient: Mean over the searched patients of the Dice of the volume, at these settings.
        edge: The end of the thresholds tried at which its threshold lies; empty inside.
    """

    params: PostprocessParams
    dice_patient: float
    edge: Edge = ""


def rule_order(choosers: int) -> tuple[Rule, ...]:
    """Return the rules, the one for comparing models first: `validation` if enough patients chose by their masks.

    Args:
        choosers: Patients that chose by their lesion masks; they did not choose the settings on a card.
    """
    first: tuple[Rule, Rule] = ("validation", "healthy-quantile")
    return (*(first if choosers >= FEW else reversed(first)), "oracle")


def quantile_of(card: ModelCard) -> float:
    """Return the share of the healthy brain voxels that rule `healthy-quantile` keeps below a model's threshold.

    It is the share that chose the thresholds on its card, so the rule means the same for a model everywhere; for a
    model without calibration it is the usual one.
    """
    calibration = card.training.get("calibration")
    recorded = calibration.get("healthy_quantile") if isinstance(calibration, dict) else None
    if isinstance(recorded, int | float):
        return float(recorded)
    return QUANTILE_OF_DENOISERS if card.spec.denoising else QUANTILE


def choose(
    rule: Rule,
    cases: Sequence[Case],
    *,
    quantile: float = QUANTILE,
    also: Sequence[PostprocessParams] = (),
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> PostprocessParams | None:
    """Return the settings that a rule chooses.

    Args:
        rule: One of `RULES`.
        cases: Validation patients; for `oracle` the reported patients.
        quantile: Share of the healthy brain voxels below the threshold of `healthy-quantile`.
        also: Additional settings for a search; for `oracle` the choices of the other rules.
        on_progress: Called with (patients done, total patients) during a search.
        should_stop: Called between patients of a search.

    Returns:
        The settings; None if the rule has no data: no healthy slice, or no patient with lesions.

    Raises:
        ParameterError: If the rule is unknown or the quantile not in [0, 1].
        Cancelled: If ``should_stop`` returned true.
    """
    if rule not in RULES:
        raise ParameterError(f"unknown threshold rule {rule!r}", mend=f"use one of {', '.join(RULES)}")
    if rule == "healthy-quantile":
        return healthy_settings(cases, quantile)
    found = search(cases, also=also, on_progress=on_progress, should_stop=should_stop)
    return None if found is None else found.params


def healthy_settings(cases: Sequence[Case], quantile: float = QUANTILE) -> PostprocessParams | None:
    """Return the settings of rule `healthy-quantile`; None without a healthy voxel.

    The threshold is a multiple of 1 / 1024, at most 1.

    Args:
        cases: Validation patients, labelled or not.
        quantile: Share of the healthy brain voxels below the threshold.

    Raises:
        ParameterError: If the quantile is not in [0, 1].
    """
    return threshold_of_healthy(
        sum((case.healthy for case in cases), start=ScoreHistograms.empty(BINS)), quantile
    )


def threshold_of_healthy(healthy: ScoreHistograms, quantile: float = QUANTILE) -> PostprocessParams | None:
    """Return the settings of rule `healthy-quantile` for a histogram; None without a healthy voxel.

    Args:
        healthy: Histogram of the anomaly map over healthy brain voxels.
        quantile: Share of them below the threshold.

    Raises:
        ParameterError: If the quantile is not in [0, 1].
    """
    if not healthy.healthy.any():
        return None
    return PostprocessParams(threshold=healthy.healthy_quantile(quantile))


def search(
    cases: Sequence[Case],
    *,
    also: Sequence[PostprocessParams] = (),
    morphologies: Sequence[PostprocessParams] = MORPHOLOGIES,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Choice | None:
    """Return the settings with the highest ``dice_patient`` after post-processing; None without a lesion.

    It first tries the thresholds of `coarse_thresholds` with each of the morphologies, and the choices of other rules;
    then the thresholds between the neighbours of the best. Of several best settings the first wins: the paper's
    morphology, then the lowest threshold.

    Args:
        cases: Patients; unlabelled ones are skipped. As many are unpacked at a time as there are processors.
        also: Additional settings: with the choices of other rules, none of them is better.
        morphologies: Radii and areas to try.
        on_progress: Called with (patients done, total patients), which counts each patient once.
        should_stop: Called between patients.

    Raises:
        Cancelled: If ``should_stop`` returned true.
    """
    if not any(case.has_lesion for case in cases):
        if on_progress is not None:
            on_progress(len(cases), len(cases))
        return None
    spread = Spread.together(case.spread for case in cases)
    thresholds = coarse_thresholds(spread)
    coarse = coarse_grid(thresholds, also, morphologies)
    dice = _measured(cases, coarse, on_progress, should_stop)
    fine = fine_grid(spread, thresholds, best_of(coarse, dice))
    more = _measured(cases, fine, None, should_stop)
    return best_of(*joined(coarse, dice, fine, more), thresholds=thresholds)


def fine_grid(spread: Spread, thresholds: Sequence[float], found: Choice) -> list[PostprocessParams]:
    """Return the settings of the second pass, around the best of the first."""
    near = fine_thresholds(spread, thresholds, found.params.threshold)
    return [found.params.replace(threshold=value) for value in near]


def joined(
    coarse: Sequence[PostprocessParams],
    dice: Sequence[NDArray[np.float64]],
    fine: Sequence[PostprocessParams],
    more: Sequence[NDArray[np.float64]],
) -> tuple[list[PostprocessParams], list[NDArray[np.float64]]]:
    """Return the settings of both passes in order of priority, with the Dice of each patient with them."""
    place = {params: index for index, params in reversed(list(enumerate([*coarse, *fine])))}
    grid = merged(coarse, fine)
    order = [place[params] for params in grid]
    return grid, [np.concatenate(pair)[order] for pair in zip(dice, more, strict=True)]


def best_of(
    grid: Sequence[PostprocessParams],
    dice: Sequence[NDArray[np.float64]],
    *,
    thresholds: Sequence[float] = (),
) -> Choice:
    """Return the first of the settings with the highest ``dice_patient``.

    Args:
        grid: The settings.
        dice: For each labelled patient, its Dice with each of the settings; at least one of them has a lesion.
        thresholds: Those of the first pass, to see whether the choice lies at an end of them.
    """
    means = means_over(grid, dice)
    best = int(np.argmax(np.nan_to_num(means, nan=-1.0)))
    edge = edge_of(grid[best].threshold, thresholds) if thresholds else ""
    return Choice(grid[best], float(means[best]), edge)


def means_over(grid: Sequence[PostprocessParams], dice: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return ``dice_patient`` with each of the settings; NaN if both masks are empty in all patients."""
    total, defined = np.zeros(len(grid)), np.zeros(len(grid))
    for values in dice:  # in the order of the patients: the last bits of a sum depend on it
        total += np.nan_to_num(values)
        defined += ~np.isnan(values)
    means = np.full(len(grid), np.nan)
    np.divide(total, defined, out=means, where=defined > 0)
    return means


def _measured(
    cases: Sequence[Case],
    grid: Sequence[PostprocessParams],
    on_progress: Progress | None,
    should_stop: Stop | None,
) -> list[NDArray[np.float64]]:
    """Return the Dice of each labelled case with each of the settings."""

    def measured(case: Case) -> NDArray[np.float64] | None:
        return None if case.reference is None else case.dice(grid)

    found = []
    # OpenCV releases the interpreter's lock; as many maps are unpacked as there are processors.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for done, dice in enumerate(pool.map(measured, cases), start=1):
                if should_stop is not None and should_stop():
                    raise Cancelled
                if dice is not None:
                    found.append(dice)
                if on_progress is not None:
                    on_progress(done, len(cases))
        finally:
            pool.shutdown(cancel_futures=True)
    return found
