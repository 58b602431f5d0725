"""What was measured of a patient, as a file: an evaluation that was interrupted goes on from these."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import write_text
from ..detection.thresholds import ScoreHistograms
from ..metrics import ImageQuality, PatientCounts
from .measuring import Measured
from .results import LesionRecord, PatientFigures


def write_record(file: Path, measured: Measured) -> None:
    """Write everything but the cases, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    quality = measured.quality
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
                "quality": [quality.psnr.tolist(), quality.psnr_brain.tolist(), quality.ssim.tolist()],
                "warnings": list(measured.warnings),
                "trained_on": measured.trained_on,
            }
        ),
    )


def read_record(file: Path) -> Measured:
    """Read what :func:`write_record` wrote; there are no cases in it."""
    stored = json.loads(file.read_text(encoding="utf-8"))  # NaN and all: nobody else writes these
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
