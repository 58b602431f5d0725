"""Models that differ only by the seed of their training: their mean, its spread, and an interval over both."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ..metrics import INTERVALS, averages, bootstrap_seeds
from .results import OverSeeds, Row

_NAME = re.compile(r"(?P<base>.+)\.seed\d+")


def over_seeds(rows: Sequence[Row], resamples: int = 1000, seed: int = 0) -> tuple[OverSeeds, ...]:
    """Return the averages over the seeds of each training, in the order of the rows.

    Args:
        rows: Figures by model, score and rule. Those of models called ``NAME.seedN`` belong together.
        resamples: Resamples of the bootstrap.
        seed: Seed of the bootstrap.
    """
    groups: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found = _NAME.fullmatch(row.model)
        if found is not None and row.averages is not None:
            groups[found["base"], row.score or "", row.rule, row.sequence].append(row)
    return tuple(
        each for key, group in groups.items() if len(group) > 1 for each in _of(key, group, resamples, seed)
    )


def _of(key: tuple[str, str, str, str], rows: Sequence[Row], resamples: int, seed: int) -> list[OverSeeds]:
    counts = [{patient.name: patient.counts for patient in row.patients} for row in rows]
    shared = [name for name in counts[0] if all(name in own for own in counts)]
    cohorts = [[own[name] for name in shared] for own in counts]
    values = [averages(cohort).as_dict() for cohort in cohorts]
    intervals = bootstrap_seeds(cohorts, resamples, seed)
    return [
        OverSeeds(
            *key,
            average=name,
            mean=float(np.mean([each[name] for each in values])),
            deviation=float(np.std([each[name] for each in values], ddof=1)),  # NaN where a seed has none
            interval=intervals[name],
            seeds=len(rows),
            patients=len(shared),
        )
        for name in INTERVALS
    ]


def seeds_csv(found: Sequence[OverSeeds]) -> str:
    """Return one line per average, model, score and rule; undefined figures are empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["model", "score", "rule", "sequence", "average", "mean", "sd", "low", "high", "seeds", "patients"]
    )
    for each in found:
        low, high = each.interval or ("", "")
        table.writerow(
            [each.model, each.score, each.rule, each.sequence, each.average]
            + ["" if value != value else value for value in (each.mean, each.deviation)]
            + [low, high, each.seeds, each.patients]
        )
    return text.getvalue()
