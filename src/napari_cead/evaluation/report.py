"""Write the results of an evaluation: ``results.json``, ``results.csv``, ``per_patient.csv`` and ``table.md``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..atomic import make_folder, strict, to_json, write_text
from ..detection import PostprocessParams
from ..metrics import FALSE_POSITIVES, INTERVALS
from .paper import PAPER_DICE, PAPER_NOTE
from .results import SCHEMA_VERSION, Evaluation, PatientFigures, Row
from .strata import SIZES
from .table import table

COLUMNS: tuple[str, ...] = (
    "model",
    "rule",
    "score",
    *INTERVALS,
    "patients",
    "lesion_patients",
    "lesion_sensitivity",
    "false_positives_per_patient",
    "detected_ml",
    "auroc",
    "average_precision",
    "auprc",
    *PostprocessParams.names(),
    "chosen_on",
    "optimistic",
    *(f"{name}_{side}" for name in INTERVALS for side in ("low", "high")),
    "both_empty_patients",
    "lesion_slices",
    "brain_slices",
    "both_empty_slices",
    "psnr",
    "psnr_brain",
    "ssim",
    "note",
    "sequence",
    "hd95",
    "hd95_patients",
    "lesion_precision",
    *(f"{figure}_{size.column}" for size in SIZES for figure in ("sensitivity", "lesions")),
    "chosen_by",
    "edge",
    "fold_thresholds",
    "lesion_f1",
    *(f"froc_{number:g}" for number in FALSE_POSITIVES),
    "froc_mean",
    "healthy_patients",
    "healthy_ml",
    "method",
    "trained_on_patients",
    "dice_ceiling",
    "aupro",
    "lesionwise_dice",
    "lesionwise_hd95",
    "healthy_above",
)
"""Columns of ``results.csv``: the averages by their exact names, then their intervals and the rest."""


def write_report(evaluation: Evaluation, out: str | Path) -> tuple[Path, ...]:
    """Write all files of an evaluation, each atomically.

    Args:
        evaluation: From ``evaluate``.
        out: Folder, created if it does not exist.

    Returns:
        ``results.json``, ``results.csv``, ``per_patient.csv``, ``table.md``.

    Raises:
        OutputError: If they cannot be written.
    """
    folder = make_folder(out)
    texts = {
        "results.csv": results_csv(evaluation),
        "per_patient.csv": per_patient_csv(evaluation),
        "table.md": table(evaluation),
        "results.json": to_json(described(evaluation)),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in sorted(texts, key=("results.json", *texts).index))


def described(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation, without its pictures, as strict JSON values (NaN and infinity are None)."""
    values: dict[str, Any] = strict(
        {
            "schema_version": SCHEMA_VERSION,
            "cohort": evaluation.cohort,
            "sequence": evaluation.sequence,
            "sequences": evaluation.sequences or (evaluation.sequence,),
            "preparation": dict(evaluation.preparation),
            "split": evaluation.split,
            "seed": evaluation.seed,
            "resamples": evaluation.resamples,
            "quantile": evaluation.quantile,
            "parts": dict(evaluation.parts),
            "folds": evaluation.folds,
            "models": [asdict(model) for model in evaluation.models],
            "rows": [
                {**_row_values(evaluation, row), "per_patient": [_patient(item) for item in row.patients]}
                for row in evaluation.rows
            ],
            "twins": [asdict(pair) for pair in evaluation.twins],
            "curves": [asdict(curve) for curve in evaluation.curves],
            "paper": {"dice": dict(PAPER_DICE), "note": PAPER_NOTE},
            "skipped": [asdict(patient) for patient in evaluation.skipped],
            "warnings": evaluation.warnings,
            "versions": dict(evaluation.versions),
        }
    )
    return values


def results_csv(evaluation: Evaluation) -> str:
    """Return one line per model, score and rule; undefined figures are empty."""
    rows = []
    for row in evaluation.rows:
        values = _row_values(evaluation, row)
        values |= values.pop("params") or {}
        del values["trained_on"]  # a list
        for name, interval in values.pop("intervals").items():
            values[f"{name}_low"], values[f"{name}_high"] = interval or (None, None)
        for point in values.pop("froc"):
            values[f"froc_{point['false_positives_per_patient']:g}"] = point["sensitivity"]
        columns = {size.label: size.column for size in SIZES}
        for stratum in values.pop("strata"):
            values[f"sensitivity_{columns[stratum['label']]}"] = stratum["sensitivity"]
            values[f"lesions_{columns[stratum['label']]}"] = stratum["lesions"]
        values["fold_thresholds"] = (
            " ".join(str(params["threshold"]) for params in values.pop("folds")) or None
        )
        rows.append(values)
    return _csv(COLUMNS, rows)


def per_patient_csv(evaluation: Evaluation) -> str:
    """Return one line per patient, model, score and rule; undefined figures are empty."""
    rows = [
        {
            "model": row.model,
            "rule": row.rule,
            "score": row.score,
            **patient.as_dict(),
            "sequence": row.sequence,
        }
        for row in evaluation.rows
        for patient in row.patients
    ]
    return _csv(list(rows[0]) if rows else ["model", "rule", "score", "patient"], rows)


def _row_values(evaluation: Evaluation, row: Row) -> dict[str, Any]:
    # Summaries of models describe only the first sequence.
    quality = next(
        (
            model.quality
            for model in evaluation.models
            if model.name == row.model and row.sequence == evaluation.sequence
        ),
        {},
    )
    averages: dict[str, Any] = (
        dict.fromkeys(INTERVALS) | {"patients": 0} if row.averages is None else row.averages.as_dict()
    )
    return {
        "model": row.model,
        "rule": row.rule,
        "score": row.score,
        **averages,
        "lesion_patients": row.lesion_patients,
        "lesion_sensitivity": row.lesion_sensitivity,
        "false_positives_per_patient": row.false_positives_per_patient,
        "detected_ml": row.detected_ml,
        "auroc": row.auroc,
        "average_precision": row.average_precision,
        "auprc": row.average_precision,
        "params": None if row.params is None else row.params.model_dump(mode="json"),
        "chosen_on": row.chosen_on or None,
        "optimistic": row.optimistic,
        "intervals": dict(row.intervals),
        **{name: quality.get(name) for name in ("psnr", "psnr_brain", "ssim")},
        "note": row.note or None,
        "sequence": row.sequence,
        "hd95": row.hd95,
        "hd95_patients": row.hd95_patients,
        "lesion_precision": row.lesion_precision,
        "lesion_f1": row.lesion_f1,
        "froc": [
            {"false_positives_per_patient": number, "sensitivity": sensitivity}
            for number, sensitivity in zip(FALSE_POSITIVES, row.froc, strict=False)
        ],
        "froc_mean": row.froc_mean,
        "healthy_patients": row.healthy_patients,
        "healthy_ml": row.healthy_ml,
        "method": row.method or None,
        "strata": [asdict(stratum) for stratum in row.strata],
        "chosen_by": row.chosen_by,
        "edge": row.edge or None,
        "folds": [params.model_dump(mode="json") for params in row.folds],
        "trained_on": row.trained_on,
        **{name: getattr(row, name) for name in COLUMNS[-5:]},
        "trained_on_patients": None if row.trained_on is None else len(row.trained_on),
    }


def _patient(figures: PatientFigures) -> dict[str, Any]:
    return {
        **figures.as_dict(),
        "lesion_records": [asdict(lesion) for lesion in figures.lesion_records],
    }


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: strict(row.get(name)) for name in columns})
    return stream.getvalue()
