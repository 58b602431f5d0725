"""The effect of context encoding: every context-encoding model beside its twin, the same network trained without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..metrics import averages, bootstrap_difference
from .results import Row, Twins

TWIN_AVERAGES = ("dice_pooled", "dice_patient", "dice_lesion_slices", "dice_all_slices")
"""The averages for comparing twins."""

_PREFIX = "ce-"


def compare_twins(
    rows: Sequence[Row], architectures: Mapping[str, str], resamples: int = 1000, seed: int = 0
) -> tuple[Twins, ...]:
    """Return the differences between context-encoding models and their twins, with paired intervals.

    A model of architecture ``ce-X`` is compared with every model of architecture ``X``, in the rows of the same
    score, rule and sequence. Each has its own settings under that rule.

    Policy: both are averaged over the patients that both have, matched by name. Each average follows its own policy for
    empty masks (see :mod:`~napari_cead.metrics.averages`): `dice_patient` leaves out the patients that are both-empty
    under that model. The difference is NaN if an average is undefined, and its interval None; so is the interval with
    fewer than two patients.

    Args:
        rows: Figures by model, score and rule.
        architectures: Name of the architecture by name of the model; rows of other models are skipped.
        resamples: Resamples of the bootstrap.
        seed: Seed of the bootstrap.

    Returns:
        By row of a context-encoding model, then by twin, one entry for each of `TWIN_AVERAGES`; none if the two
        share no patient.
    """
    found: list[Twins] = []
    for row in rows:
        architecture = architectures.get(row.model, "")
        if not architecture.startswith(_PREFIX) or row.averages is None:
            continue
        for other in rows:
            same = (other.score, other.rule, other.sequence) == (row.score, row.rule, row.sequence)
            is_twin = architectures.get(other.model) == architecture.removeprefix(_PREFIX)
            if same and is_twin and other.averages is not None:
                found += _compared(row, other, resamples, seed)
    return tuple(found)


def _compared(row: Row, twin: Row, resamples: int, seed: int) -> list[Twins]:
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
        )
        for name in TWIN_AVERAGES
    ]
