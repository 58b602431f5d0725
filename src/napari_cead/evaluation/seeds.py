"""Models that differ only by the seed of their training: their mean, its spread, and an interval over both."""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..atomic import write_text
from ..metrics import INTERVALS, Interval, averages, bootstrap_seeds
from .results import Row

SEEDS_FILE = "seeds.csv"

_NAME = re.compile(r"(?P<base>.+)\.seed\d+")


@dataclass(frozen=True)
class OverSeeds:
    """One average of the models ``NAME.seedN`` under one score and rule.

    Attributes:
        model: ``NAME``.
        score: Anomaly score.
        rule: The rule that chose the settings of each.
        sequence: The sequence given to them.
        average: Name of the average.
        mean: Mean over the seeds.
        deviation: Standard deviation over the seeds (n - 1).
        interval: 95 % bootstrap interval of the mean over seeds and patients; None if undefined.
        seeds: Number of seeds.
        patients: Patients that all of them have.
    """

    model: str
    score: str
    rule: str
    sequence: str
    average: str
    mean: float
    deviation: float
    interval: Interval | None
    seeds: int
    patients: int


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
            mean=statistics.fmean(each[name] for each in values),
            deviation=statistics.stdev(each[name] for each in values),
            interval=intervals[name],
            seeds=len(rows),
            patients=len(shared),
        )
        for name in INTERVALS
    ]


def write_seeds(found: Sequence[OverSeeds], out: Path) -> None:
    """Write ``seeds.csv``, if there is anything to write.

    Raises:
        OutputError: If it cannot be written.
    """
    if not found:
        return
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
    write_text(out / SEEDS_FILE, text.getvalue())
