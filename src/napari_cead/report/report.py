"""Write the results of an evaluation: ``results.json``, tables as CSV, and ``table.md``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..atomic import make_folder, strict, to_json, write_text
from ..metrics.patient_figures import PatientFigures
from .columns import COLUMNS, LESION, columns, lesion_values, row_values
from .groups import by_group
from .leading import leading_rows
from .paper import PAPER_DICE, PAPER_NOTE
from .results import SCHEMA_VERSION, Evaluation
from .seeds import seeds_csv
from .table import table


def write_report(evaluation: Evaluation, out: str | Path, *, every_rule: bool = False) -> tuple[Path, ...]:
    """Write all files of an evaluation, each atomically.

    Args:
        evaluation: From ``evaluate``.
        out: Folder, created if it does not exist.
        every_rule: Whether ``per_lesion.csv`` and ``by_group.csv`` hold all rules, not only the leading one.

    Returns:
        ``results.json``, ``results.csv``, ``per_patient.csv``, ``per_lesion.csv``, ``table.md``; ``by_group.csv`` if
        groups of patients are known, ``seeds.csv`` if models differ only by their seed.

    Raises:
        OutputError: If they cannot be written.
    """
    folder = make_folder(out)
    texts = {
        "results.json": to_json(described(evaluation)),
        "results.csv": results_csv(evaluation),
        "per_patient.csv": per_patient_csv(evaluation),
        "per_lesion.csv": per_lesion_csv(evaluation, every_rule=every_rule),
        "table.md": table(evaluation),
        **({"by_group.csv": by_group_csv(evaluation, every_rule=every_rule)} if evaluation.groups else {}),
        **({"seeds.csv": seeds_csv(evaluation.over_seeds)} if evaluation.over_seeds else {}),
    }
    for name, text in reversed(texts.items()):  # results.json last: with it, all are there
        write_text(folder / name, text)
    return tuple(folder / name for name in texts)


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
            "layout": evaluation.layout or None,
            "mixture": evaluation.mixture,
            "groups": {name: dict(groups) for name, groups in evaluation.groups.items()},
            "models": [asdict(model) for model in evaluation.models],
            "rows": [
                {**row_values(evaluation, row), "per_patient": [_patient(item) for item in row.patients]}
                for row in evaluation.rows
            ],
            "over_seeds": [asdict(each) for each in evaluation.over_seeds],
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
    rows = (row_values(evaluation, row) for row in evaluation.rows)
    return _csv(
        [one.name for one in COLUMNS], ({one.name: one.value(row) for one in COLUMNS} for row in rows)
    )


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


def per_lesion_csv(evaluation: Evaluation, *, every_rule: bool = False) -> str:
    """Return one line per lesion, model and score under the leading rule, or under every rule."""
    return _csv(
        LESION,
        (
            lesion
            for row in leading_rows(evaluation, every_rule=every_rule)
            for patient in row.patients
            for lesion in lesion_values(row, patient)
        ),
    )


GROUP = (
    *(
        "model",
        "rule",
        "score",
        "sequence",
        "patients",
        "lesion_patients",
        "dice_patient",
        "dice_patient_low",
    ),
    *("dice_patient_high", "dice_pooled", "lesion_sensitivity", "lesion_f1", "false_positives_per_patient"),
    *("healthy_patients", "healthy_ml", "lesionwise_dice"),
)
"""The figures of ``by_group.csv``."""


def by_group_csv(evaluation: Evaluation, *, every_rule: bool = False) -> str:
    """Return one line per group of patients, model and score under the leading rule, or under every rule."""
    shown = columns(*GROUP)
    return _csv(
        ["by", "group", *GROUP],
        (
            {"by": what, "group": group, **{one.name: one.value(values) for one in shown}}
            for what, group, row in by_group(evaluation, every_rule=every_rule)
            for values in [row_values(evaluation, row)]
        ),
    )


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
