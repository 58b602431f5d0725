"""Named rules that choose the settings of the post-processing.

- `healthy-quantile`: the threshold that lets ``1 - quantile`` of the brain voxels of healthy slices of validation
  patients through, with the paper's morphology. It needs to know which slices are healthy, and no lesion masks.
- `validation`: the threshold and morphology with the best ``dice_patient`` of validation patients, after
  post-processing.
- `oracle`: the same search on the very patients that are then reported. Optimistic: a bound, not a result.

The same rules serve models and the baseline of raw intensity.
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
from .cases import BETWEEN, BINS, THRESHOLDS, Case

Rule = Literal["healthy-quantile", "validation", "oracle"]

RULES: tuple[Rule, ...] = get_args(Rule)

QUANTILE = 0.99
"""Share of the healthy brain voxels that rule `healthy-quantile` keeps below the threshold."""

QUANTILE_OF_DENOISERS = 0.997
"""The same for models that repair what was corrupted: they leave most of a healthy brain alone, and 1 % of it would be
more than most lesions have."""

MORPHOLOGIES: tuple[PostprocessParams, ...] = (
    PostprocessParams(closing_radius=2, area_fraction=0.6, dilation_radius=1),
    PostprocessParams(closing_radius=1, area_fraction=0.6, dilation_radius=0),
)
"""What a search tries beside thresholds: the paper's defaults, and a tighter one for small lesions."""

MORPHOLOGIES_OF_DENOISERS = (
    *MORPHOLOGIES,
    PostprocessParams(closing_radius=1, area_fraction=0.2, dilation_radius=0),
)
"""What the card of a denoiser tries: its map is calm where nothing is, so that smaller lesions beside a large one may
stay, which an area opening of 60 % drops."""

Progress = Callable[[int, int], None]
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Choice:
    """Settings found by a search.

    Attributes:
        params: The settings.
        dice_patient: Mean over the searched patients of the Dice of the volume, at these settings.
    """

    params: PostprocessParams
    dice_patient: float


def quantile_of(card: ModelCard) -> float:
    """Return the share of the healthy brain voxels that rule `healthy-quantile` keeps below a model's threshold."""
    return QUANTILE_OF_DENOISERS if card.spec.denoising else QUANTILE


def recorded_quantile(card: ModelCard) -> float:
    """Return the share that the thresholds on a card were chosen with, which may be that of another version."""
    calibration = card.training.get("calibration")
    recorded = calibration.get("healthy_quantile") if isinstance(calibration, dict) else None
    return float(recorded) if isinstance(recorded, int | float) else quantile_of(card)


def choose(
    rule: Rule,
    cases: Sequence[Case],
    *,
    quantile: float = QUANTILE,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> PostprocessParams | None:
    """Return the settings that a rule chooses.

    Args:
        rule: One of `RULES`.
        cases: Validation patients; for `oracle` the patients that are reported.
        quantile: Share of the healthy brain voxels that lie below the threshold of `healthy-quantile`.
        on_progress: Called with (patients done, patients in all) during a search.
        should_stop: Asked between patients of a search.

    Returns:
        The settings; None where the rule has nothing to go by: no healthy slice, or no patient with lesions.

    Raises:
        ParameterError: If the rule is unknown or the quantile not in [0, 1].
        Cancelled: If ``should_stop`` returned true.
    """
    if rule not in RULES:
        raise ParameterError(f"unknown threshold rule {rule!r}", mend=f"use one of {', '.join(RULES)}")
    if rule == "healthy-quantile":
        return healthy_settings(cases, quantile)
    found = search(cases, on_progress=on_progress, should_stop=should_stop)
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
    morphologies: Sequence[PostprocessParams] = MORPHOLOGIES,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Choice | None:
    """Return the settings with the highest ``dice_patient`` after post-processing; None without a lesion.

    First every sixth of `THRESHOLDS` with each of the morphologies, then all thresholds between the neighbours of the
    best. Of several best settings the first wins: the paper's morphology, then the lowest threshold.

    Args:
        cases: Patients; unlabelled ones are passed over. One is in memory for each processor.
        morphologies: Radii and areas to try.
        on_progress: Called with (patients done, patients in all), which counts each patient once.
        should_stop: Asked between patients.

    Raises:
        Cancelled: If ``should_stop`` returned true.
    """
    found = best_of(*_measured(cases, coarse_grid(morphologies), on_progress, should_stop))
    return None if found is None else best_of(*_measured(cases, fine_grid(found), None, should_stop))


def coarse_grid(morphologies: Sequence[PostprocessParams] = MORPHOLOGIES) -> list[PostprocessParams]:
    """Return the settings of the first pass of a search: those of the first morphology first."""
    return [shape.replace(threshold=value) for shape in morphologies for value in THRESHOLDS[:: BETWEEN + 1]]


def fine_grid(found: Choice) -> list[PostprocessParams]:
    """Return the settings of the second pass, around the best of the first."""
    middle = THRESHOLDS.index(found.params.threshold)
    near = THRESHOLDS[max(middle - BETWEEN, 0) : middle + BETWEEN + 1]
    return [found.params.replace(threshold=value) for value in near]


def best_of(
    grid: Sequence[PostprocessParams], dice: Sequence[NDArray[np.float64]], lesions: bool
) -> Choice | None:
    """Return the first of the settings with the highest ``dice_patient``; None without a lesion.

    Args:
        grid: The settings.
        dice: Of each labelled patient, its Dice at each of the settings, from :func:`dice_over`.
        lesions: Whether any of the patients has a lesion.
    """
    if not lesions:
        return None
    means = means_over(grid, dice)
    best = int(np.argmax(np.nan_to_num(means, nan=-1.0)))
    return Choice(grid[best], float(means[best]))


def means_over(grid: Sequence[PostprocessParams], dice: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return ``dice_patient`` at each of the settings; NaN where both masks are empty in all patients."""
    total, defined = np.zeros(len(grid)), np.zeros(len(grid))
    for values in dice:  # in the order of the patients: the last bits of a sum depend on it
        total += np.nan_to_num(values)
        defined += ~np.isnan(values)
    means = np.full(len(grid), np.nan)
    np.divide(total, defined, out=means, where=defined > 0)
    return means


def _measured(
    cases: Sequence[Case],
    grid: list[PostprocessParams],
    on_progress: Progress | None,
    should_stop: Stop | None,
) -> tuple[list[PostprocessParams], list[NDArray[np.float64]], bool]:
    """Return the settings, the Dice of each labelled case at each of them, and whether any has a lesion."""

    def measured(number: int) -> tuple[bool, NDArray[np.float64] | None]:
        case = cases[number]
        return case.has_lesion, None if case.reference is None else dice_over(case, grid)

    found, lesions = [], False
    # OpenCV works without the interpreter's lock; as many patients are in memory as there are processors.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for done, (lesion, dice) in enumerate(pool.map(measured, range(len(cases))), start=1):
                if should_stop is not None and should_stop():
                    raise Cancelled
                if dice is not None:
                    lesions = lesions or lesion
                    found.append(dice)
                if on_progress is not None:
                    on_progress(done, len(cases))
        finally:
            pool.shutdown(cancel_futures=True)
    return grid, found, lesions


def dice_over(case: Case, grid: Sequence[PostprocessParams]) -> NDArray[np.float64]:
    """Return the Dice of the volume at each of the settings (NaN where both masks are empty).

    Args:
        case: A labelled patient.
        grid: Settings whose thresholds are among `THRESHOLDS`.

    Raises:
        ValueError: If the patient is unlabelled.
    """
    if case.reference is None:
        raise ValueError(f"{case.name} has no lesion mask")
    stages, lesion = case.stages(), int(np.count_nonzero(case.reference))
    dice = np.full(len(grid), np.nan)
    peak = int(case.levels.max(initial=0))
    for index, params in enumerate(grid):
        if THRESHOLDS.index(params.threshold) >= peak:  # nothing is above it
            dice[index] = 0.0 if lesion else np.nan
            continue
        mask = stages.volume(params)
        detected = int(np.count_nonzero(mask))
        found = int(np.count_nonzero(mask & case.reference))
        dice[index] = 2 * found / (detected + lesion) if detected + lesion else np.nan
    return dice
