"""Choosing settings by threshold rules.

The same rules (:mod:`~napari_cead.detection.rules`) and the same candidates (`candidates`) serve models, their cards
and the baselines.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..detection import PostprocessParams
from ..detection.rules import HEALTHY, RULES, VALIDATION, Candidates, Choice, Rule
from ..detection.thresholds import ScoreHistograms
from ..errors import Cancelled
from ..progress import Progress, Stop
from ..zoo import ModelCard
from .candidates import MORPHOLOGIES, Spread
from .cases import BINS, Case
from .searching import Measured, Search

QUANTILE = 0.99
"""Share of the healthy brain voxels that rule `healthy-quantile` keeps below the threshold."""

QUANTILE_OF_DENOISERS = 0.997
"""The same for models that repair corrupted slices: they leave most of a healthy brain alone, and 1 % of it would be
larger than most lesions."""

FEW = 10
"""Smallest number of patients that should choose by their lesion masks: with fewer, chance decides much."""


def rule_order(choosers: int) -> tuple[str, ...]:
    """Return the rules, the one to compare models by first: by lesion masks if enough patients chose by theirs.

    Args:
        choosers: Patients that chose by their lesion masks; they did not choose the settings on a card.
    """
    by_masks = choosers >= FEW
    order = sorted(RULES, key=lambda rule: (rule.optimistic, rule.by_lesions != by_masks))
    return tuple(rule.name for rule in order)


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
    rule: str,
    cases: Sequence[Case],
    *,
    quantile: float = QUANTILE,
    also: Sequence[PostprocessParams] = (),
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> PostprocessParams | None:
    """Return the settings that a rule chooses.

    Args:
        rule: Name of one of `RULES`.
        cases: Validation patients; for an optimistic rule the reported patients.
        quantile: Share of the healthy brain voxels below the threshold of `healthy-quantile`.
        also: Additional settings for a search; for an optimistic rule the choices of the other rules.
        on_progress: Called with (patients done, total patients) during a search.
        should_stop: Called between patients of a search.

    Returns:
        The settings; None if the rule has no data: no healthy slice, or no patient with lesions.

    Raises:
        ParameterError: If the rule is unknown or the quantile not in [0, 1].
        Cancelled: If ``should_stop`` returned true.
    """
    wanted = RULES.find(rule)
    if wanted.by_lesions:
        found = search(cases, rule=wanted, also=also, on_progress=on_progress, should_stop=should_stop)
        return None if found is None else found.params
    healthy = sum((case.healthy for case in cases), start=ScoreHistograms.empty(BINS))
    return threshold_of_healthy(healthy, quantile, wanted)


def threshold_of_healthy(
    healthy: ScoreHistograms, quantile: float = QUANTILE, rule: Rule | None = None
) -> PostprocessParams | None:
    """Return the settings that a rule chooses by a histogram; None without a healthy voxel.

    Args:
        healthy: Histogram of the anomaly map over healthy brain voxels.
        quantile: Share of them below the threshold.
        rule: The rule; None: `healthy-quantile`, whose threshold is a multiple of 1 / 1024, at most 1.

    Raises:
        ParameterError: If the quantile is not in [0, 1].
    """
    found = (rule or RULES.find(HEALTHY)).choose(Candidates(healthy, quantile))
    return None if found is None else found.params


def search(
    cases: Sequence[Case],
    *,
    rule: Rule | None = None,
    also: Sequence[PostprocessParams] = (),
    morphologies: Sequence[PostprocessParams] = MORPHOLOGIES,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Choice | None:
    """Return the settings that a rule chooses by lesion masks, after post-processing; None without a lesion.

    See :class:`~napari_cead.calibration.searching.Search`.

    Args:
        cases: Patients; unlabelled ones are skipped. As many are unpacked at a time as there are processors.
        rule: The rule; None: the highest ``dice_patient``.
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
    chooser = rule or RULES.find(VALIDATION)
    spread, everyone = Spread.together(case.spread for case in cases), {case.name for case in cases}
    one = Search(spread, [everyone], [chooser], also, morphologies)
    first = _measured(cases, one.coarse, on_progress, should_stop)
    fine = one.fine(first)
    second = _measured(cases, fine, None, should_stop)
    return one.result(first, fine, second).choices[chooser.name][0]


def _measured(
    cases: Sequence[Case],
    grid: Sequence[PostprocessParams],
    on_progress: Progress | None,
    should_stop: Stop | None,
) -> Measured:
    """Return the Dice of each labelled case with each of the settings."""

    def measured(case: Case) -> NDArray[np.float64] | None:
        return None if case.reference is None else case.dice(grid)

    found: list[tuple[str, bool, NDArray[np.float64]]] = []
    # OpenCV releases the interpreter's lock; as many maps are unpacked as there are processors.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            dices = zip(cases, pool.map(measured, cases), strict=True)
            for done, (case, dice) in enumerate(dices, start=1):
                if should_stop is not None and should_stop():
                    raise Cancelled
                if dice is not None:
                    found.append((case.name, case.has_lesion, dice))
                if on_progress is not None:
                    on_progress(done, len(cases))
        finally:
            pool.shutdown(cancel_futures=True)
    return found
