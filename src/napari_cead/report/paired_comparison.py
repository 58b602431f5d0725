"""Two models side by side: a context-encoding model and its twin without it, a fine-tuned model and its base."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..metrics import Interval, averages, bootstrap_difference, bootstrap_ratio
from .results import Row, TwinKind, Twins

TWIN_AVERAGES = ("dice_pooled", "dice_patient", "dice_lesion_slices", "dice_all_slices")
"""The averages for comparing twins."""

_PREFIX = "ce-"


def compare_twins(
    rows: Sequence[Row],
    architectures: Mapping[str, str],
    resamples: int = 1000,
    seed: int = 0,
    *,
    parents: Mapping[str, Collection[str]] | None = None,
) -> tuple[Twins, ...]:
    """Return the differences between models and their twins, with paired intervals.

    A model of architecture ``ce-X`` is compared with every model of architecture ``X``, and a fine-tuned model with
    every model that it comes from, in the rows of the same score, rule and sequence. Each has its own settings under
    that rule.

    Policy: both are averaged over the patients that both have, matched by name. Each average follows its own policy for
    empty masks (see :mod:`~napari_cead.metrics.averages`): `dice_patient` leaves out the patients that are both-empty
    under that model. The difference is NaN if an average is undefined, and its interval None; so is the interval with
    fewer than two patients.

    Args:
        rows: Figures by model, score and rule.
        architectures: Name of the architecture by name of the model; rows of other models are skipped.
        resamples: Resamples of the bootstrap.
        seed: Seed of the bootstrap.
        parents: By name of a fine-tuned model, the names of those that it comes from.

    Returns:
        By row of a model, then by twin, one entry for each of `TWIN_AVERAGES`; none if the two share no patient.
    """
    found: list[Twins] = []
    for row in rows:
        for other in rows:
            same = (other.score, other.rule, other.sequence) == (row.score, row.rule, row.sequence)
            if not same or row.averages is None or other.averages is None:
                continue
            own, others = (architectures.get(one.model) for one in (row, other))
            if other.model in (parents or {}).get(row.model, ()):
                found += _compared(row, other, resamples, seed, "fine-tuning")
            elif others is not None and own == _PREFIX + others:
                found += _compared(row, other, resamples, seed, "context encoding")
    return tuple(found)


def _compared(row: Row, twin: Row, resamples: int, seed: int, kind: TwinKind) -> list[Twins]:
    """Compare two rows over the patients that both have."""
    counts_of_twin = {patient.name: patient.counts for patient in twin.patients}
    shared = [patient for patient in row.patients if patient.name in counts_of_twin]
    if not shared:
        return []
    first = [patient.counts for patient in shared]
    second = [counts_of_twin[patient.name] for patient in shared]
    one, other = averages(first).as_dict(), averages(second).as_dict()
    intervals = bootstrap_difference(first, second, resamples, seed)
    return [
        Twins(
            model=row.model,
            twin=twin.model,
            score=row.score or "",
            rule=row.rule,
            average=name,
            difference=one[name] - other[name],
            interval=intervals[name],
            patients=len(shared),
            sequence=row.sequence,
            kind=kind,
        )
        for name in TWIN_AVERAGES
    ]


@dataclass(frozen=True)
class Paired:
    """One figure of both models over the same slices.

    Slices on which it is not finite for one of them are left out.

    Attributes:
        before: Mean over the slices.
        after: The same of the other model.
        difference: Mean of after - before.
        interval: Percentile bootstrap interval of the difference at 95 %, drawing whole patients; None with fewer than
            two patients.
        more_is_better: Whether a positive difference is an improvement.
    """

    before: float
    after: float
    difference: float
    interval: Interval | None
    more_is_better: bool

    @property
    def verdict(self) -> str:
        """``"better"``, ``"worse"`` or ``"unclear"``: the interval contains 0, or there is none."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return "unclear"
        return "better" if (self.interval[0] > 0) == self.more_is_better else "worse"

    @classmethod
    def of(
        cls,
        before: NDArray[np.float64],
        after: NDArray[np.float64],
        patients: NDArray[np.integer],
        more_is_better: bool,
        resamples: int = 1000,
        seed: int = 0,
    ) -> Paired:
        """Compare a figure of two models over the same slices.

        Patients are drawn as by :func:`~napari_cead.metrics.bootstrap`, and a drawn patient contributes all its slices,
        which are not independent of each other.

        Args:
            before: Values of each slice (N,).
            after: The same of the other model.
            patients: The patient of each slice (N,).
            more_is_better: Whether a positive difference is an improvement.
            resamples: Number of resamples.
            seed: Seed of the draws.
        """
        good = np.isfinite(before) & np.isfinite(after)
        if not good.any():
            return cls(np.nan, np.nan, np.nan, None, more_is_better)
        before, after = before[good], after[good]
        _, place = np.unique(patients[good], return_inverse=True)
        change = np.bincount(place, after - before)
        interval = bootstrap_ratio(change.tolist(), np.bincount(place).tolist(), resamples, seed)
        return cls(
            float(before.mean()),
            float(after.mean()),
            float((after - before).mean()),
            interval,
            more_is_better,
        )
