"""Writing what an evaluation found: ``results.json``, ``results.csv``, ``per_patient.csv`` and ``table.md``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..atomic import make_folder, strict, to_json, write_text
from ..detection import PostprocessParams
from ..metrics import INTERVALS
from .paper import PAPER_DICE, PAPER_NOTE
from .results import SCHEMA_VERSION, Evaluation, Row

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
    *PostprocessParams.model_fields,
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
)
"""Columns of ``results.csv``: the averages by their exact names, then their intervals and what else there is."""


def write_report(evaluation: Evaluation, out: str | Path) -> tuple[Path, ...]:
    """Write all files of an evaluation, each of them whole or not at all.

    Args:
        evaluation: From ``evaluate``.
        out: Folder, made if it does not exist.

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
    """Return an evaluation as strict JSON values (NaN is None)."""
    values: dict[str, Any] = strict(
        {
            "schema_version": SCHEMA_VERSION,
            "cohort": evaluation.cohort,
            "sequence": evaluation.sequence,
            "split": evaluation.split,
            "seed": evaluation.seed,
            "resamples": evaluation.resamples,
            "quantile": evaluation.quantile,
            "parts": dict(evaluation.parts),
            "models": [asdict(model) for model in evaluation.models],
            "rows": [
                {**_row_values(evaluation, row), "per_patient": [item.as_dict() for item in row.patients]}
                for row in evaluation.rows
            ],
            "paper": {"dice": dict(PAPER_DICE), "note": PAPER_NOTE},
            "skipped": [asdict(patient) for patient in evaluation.skipped],
            "warnings": evaluation.warnings,
            "versions": dict(evaluation.versions),
        }
    )
    return values


def results_csv(evaluation: Evaluation) -> str:
    """Return one line for each model, score and rule; what is undefined is empty."""
    rows = []
    for row in evaluation.rows:
        values = _row_values(evaluation, row)
        values |= values.pop("params") or {}
        for name, interval in values.pop("intervals").items():
            values[f"{name}_low"], values[f"{name}_high"] = interval or (None, None)
        rows.append(values)
    return _csv(COLUMNS, rows)


def per_patient_csv(evaluation: Evaluation) -> str:
    """Return one line for each patient under each model, score and rule; what is undefined is empty."""
    rows = [
        {"model": row.model, "rule": row.rule, "score": row.score, **patient.as_dict()}
        for row in evaluation.rows
        for patient in row.patients
    ]
    return _csv(list(rows[0]) if rows else ["model", "rule", "score", "patient"], rows)


def table(evaluation: Evaluation) -> str:
    """Return the figures as Markdown, beside those of the paper."""
    parts = {part: len(names) for part, names in evaluation.parts.items()}
    reported = max((row.averages.patients for row in evaluation.rows if row.averages), default=0)
    lesions = max((row.lesion_patients for row in evaluation.rows), default=0)
    architectures = {model.name: model.architecture for model in evaluation.models}
    lines = [
        "# Evaluation",
        "",
        f"Cohort `{_cell(evaluation.cohort.name)}`, sequence {evaluation.sequence}: {reported} patients reported, "
        f"{lesions} of them with lesions; {parts.get('validation', 0)} validation patients "
        + (f"(split `{_cell(evaluation.split.name)}`)" if evaluation.split else "(no split)")
        + f"; {len(evaluation.skipped)} patients skipped.",
        "",
        "`dice_patient` is the mean over patients of the Dice of the volume, `dice_pooled` the Dice of all voxels, "
        "`dice_lesion_slices` the mean over slices that hold lesion; `dice_all_slices` counts slices without lesion "
        "and detection as 1, so that a detector that finds nothing scores high. In brackets: 95 % bootstrap "
        f"intervals over patients ({evaluation.resamples} resamples). Rows of rule `oracle` are optimistic: their "
        "settings were chosen on the very patients that are reported.",
        "",
        *_lines(
            (
                "model",
                "paper",
                "score",
                "rule",
                *INTERVALS,
                "lesion_sensitivity",
                "FP / patient",
                "threshold",
            ),
            (_table_row(row, architectures.get(row.model)) for row in evaluation.rows),
        ),
        "",
        f"Column *paper*: {PAPER_NOTE}",
    ]
    if evaluation.models:
        lines += [
            "",
            "## Models",
            "",
            "AUROC and AUPRC: voxels inside the brain of all reported patients. PSNR and SSIM: means over the healthy "
            "slices of the reported patients (lesion-free, at least 15 % brain).",
            "",
            *_lines(
                ("model", "AUROC", "AUPRC", "PSNR (dB)", "PSNR in the brain (dB)", "SSIM", "healthy slices"),
                (
                    (
                        model.name,
                        _by_score(evaluation, model.name, "auroc"),
                        _by_score(evaluation, model.name, "average_precision"),
                        _number(model.quality["psnr"], 2),
                        _number(model.quality["psnr_brain"], 2),
                        _number(model.quality["ssim"]),
                        str(model.quality["slices"]),
                    )
                    for model in evaluation.models
                ),
            ),
        ]
    noted = [row for row in evaluation.rows if row.note and not row.optimistic]
    lines += _section("Notes", [f"- {row.model}, {row.score}, {row.rule}: {row.note}" for row in noted])
    lines += _section("Warnings", [f"- {text}" for text in evaluation.warnings])
    skipped = [f"- {item.name} ({item.part or 'no part'}): {item.reason}" for item in evaluation.skipped]
    lines += _section("Skipped patients", skipped)
    return "\n".join(lines) + "\n"


def _row_values(evaluation: Evaluation, row: Row) -> dict[str, Any]:
    quality = next((model.quality for model in evaluation.models if model.name == row.model), {})
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
        "params": None if row.params is None else row.params.model_dump(mode="json"),
        "chosen_on": row.chosen_on or None,
        "optimistic": row.optimistic,
        "intervals": dict(row.intervals),
        **{name: quality.get(name) for name in ("psnr", "psnr_brain", "ssim")},
        "note": row.note or None,
    }


def _table_row(row: Row, architecture: str | None) -> tuple[str, ...]:
    paper = PAPER_DICE.get(architecture or "")
    figures = ["–"] * len(INTERVALS)
    if row.averages is not None:
        values = row.averages.as_dict()
        figures = [_number(values[name]) + _interval(row.intervals.get(name)) for name in INTERVALS]
    return (
        row.model,
        "–" if paper is None else f"{paper:.3f}",
        row.score or "–",
        row.rule + (" (optimistic)" if row.optimistic else "") + _origin(row),
        *figures,
        _number(row.lesion_sensitivity),
        _number(row.false_positives_per_patient, 1),
        "–" if row.params is None else f"{row.params.threshold:.4g}",
    )


def _origin(row: Row) -> str:
    return " (model card)" if row.chosen_on == "model card" else ""


def _by_score(evaluation: Evaluation, model: str, name: str) -> str:
    found = {row.score: getattr(row, name) for row in evaluation.rows if row.model == model and row.averages}
    return ", ".join(f"{_number(value)} ({score})" for score, value in found.items()) or "–"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []


def _lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in cells]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: strict(row.get(name)) for name in columns})
    return stream.getvalue()
