"""The measurements of a patient as files, from which an interrupted evaluation continues."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import atomic_path, write_text
from ..detection.thresholds import ScoreHistograms
from ..metrics import Candidates, ImageQuality, PatientCounts
from ..report.results import LesionRecord, PatientFigures
from .measuring import Measured
from .ranking import RankCounts


def write_record(file: Path, measured: Measured) -> None:
    """Write everything but the cases, atomically; large arrays go into a file beside it.

    Raises:
        OutputError: If it cannot be written.
    """
    marks = {score: (measured.ranks[score], measured.candidates[score]) for score in measured.ranks}
    with atomic_path(_marks(file)) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            **{
                f"{score}/{name}": values
                for score, parts in marks.items()
                for part in parts
                for name, values in vars(part).items()
            },
        )
    write_text(
        file,
        json.dumps(
            {
                "figures": {
                    score: {rule: _figures(found) for rule, found in by_rule.items()}
                    for score, by_rule in measured.figures.items()
                },
                "nothing": None if measured.nothing is None else _figures(measured.nothing),
                "histograms": {
                    score: [found.lesion.tolist(), found.healthy.tolist()]
                    for score, found in measured.histograms.items()
                },
                "quality": [values.tolist() for values in vars(measured.quality).values()],
                "warnings": list(measured.warnings),
                "trained_on": measured.trained_on,
            }
        ),
    )


def read_record(file: Path) -> Measured:
    """Read the output of :func:`write_record`; it has no cases and no ranks."""
    stored = json.loads(file.read_text(encoding="utf-8"))  # includes NaN: only we write these files
    nothing = stored["nothing"]
    return Measured(
        figures={
            score: {rule: _read(found) for rule, found in by_rule.items()}
            for score, by_rule in stored["figures"].items()
        },
        nothing=None if nothing is None else _read(nothing),
        histograms={
            score: ScoreHistograms(*(np.array(counts, dtype=np.int64) for counts in pair))
            for score, pair in stored["histograms"].items()
        },
        cases={},
        quality=ImageQuality(*(np.array(values, dtype=np.float64) for values in stored["quality"])),
        warnings=tuple(stored["warnings"]),
        trained_on=stored["trained_on"],
    )


def read_marks(file: Path, score: str) -> tuple[RankCounts, Candidates]:
    """Read the ranks and candidates of a reported patient's map from the file beside its record."""
    with np.load(_marks(file), allow_pickle=False) as stored:
        parts = [
            {field.name: stored[f"{score}/{field.name}"] for field in fields(kind)}
            for kind in (RankCounts, Candidates)
        ]
    return RankCounts(**parts[0]), Candidates(**parts[1])


def _marks(file: Path) -> Path:
    return file.with_suffix(".marks")


def _figures(figures: PatientFigures) -> dict[str, Any]:
    values = asdict(figures)
    counts = figures.counts
    values["counts"] = [column.tolist() for column in (counts.tp, counts.fp, counts.fn, counts.brain)]
    return values


def _read(values: dict[str, Any]) -> PatientFigures:
    tp, fp, fn = (np.array(column, dtype=np.int64) for column in values["counts"][:3])
    counts = PatientCounts(tp, fp, fn, np.array(values["counts"][3], dtype=np.bool_))
    lesions = tuple(LesionRecord(**lesion) for lesion in values["lesion_records"])
    return PatientFigures(**values | {"counts": counts, "lesion_records": lesions})
