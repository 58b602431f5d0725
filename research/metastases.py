"""The eight, the default and the maps without a network on fresh phantoms with BrainMetShare's metastases.

    python research/metastases.py --work WORK --out OUT --json JSON [--workers 2]

makes, each step only if it has not been done yet:

    WORK/cohort    30 synthetic patients, whole volumes: ``napari-cead phantom --metastases brainmetshare``
    WORK/results   ``napari-cead evaluate --folds 5``: all 30 are reported, each with settings chosen on the other folds
    OUT            the page: what the cohort holds, and each model's volumes under each rule, with its suggested score;
                   long tables are CSV files beside it
    JSON           all rows, both scores, with intervals

A command that was broken off goes on where it was. All figures are of whole volumes: Dice per patient, lesions found,
millilitres. Whoever has the real set runs the second command on it and gets the same table.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from napari_cead import load_patient
from napari_cead.atomic import write_text
from napari_cead.evaluation.comparison import evaluate
from napari_cead.models import MODEL_NAMES
from napari_cead.phantom import write_cohort
from napari_cead.zoo.finding import DEFAULT_MODEL
from tables import aside

SEED = 5150
FOLDS = 5
RULES = ("healthy-quantile", "validation", "oracle")
GROUPS = ((1, 3), (4, 10), (11, 999))

COLUMNS = {
    "model": "model",
    "score": "score",
    "dice_patient": "Dice of a patient",
    "dice_pooled": "Dice, pooled",
    "lesion_sensitivity": "lesions found",
    "false_positives_per_patient": "false detections / patient",
    "lesion_f1": "lesion-wise F1",
    "auprc": "AUPRC",
    "detected_ml": "mL detected",
}


INTRODUCTION = """# Metastases as in BrainMetShare, on phantoms

Synthetic patients with metastases in number and size as published for BrainMetShare (Grøvik et al. 2020,
doi:10.1002/jmri.26766), oedema as in Schneider et al. 2017 (doi:10.1371/journal.pone.0177217). They are new draws of
the template behind the training phantoms of these models, which makes it easier for them.
**Research software, not a medical device. These are not BrainMetShare, and results on phantoms say nothing about
people.**

Figures are of whole FLAIR volumes ([metrics](../reference/metrics.md)), each model with its suggested score; brackets
are 95 % bootstrap intervals over patients. Names with `flair-` are maps without a network.
"""

ABOUT = {
    "healthy-quantile": "The threshold that healthy tissue of the other folds' patients seldom exceeds.",
    "validation": "Threshold and morphology chosen on the masks of the other folds' patients.",
    "oracle": "Chosen on the reported patients themselves: a bound, not a result.",
}

SUMMED = (
    "lesion_precision",
    "froc_mean",
    "auroc",
    "sensitivity_lt5",
    "sensitivity_5_10",
    "sensitivity_10_20",
)
"""Further figures of the JSON."""


def make_cohort(folder: Path, patients: int, shape: tuple[int, int, int]) -> list[Path]:
    """Write the patients that are not there yet; return all."""
    train = folder / "train"
    if len(list(train.glob("Mets_*"))) != patients:
        write_cohort(folder, patients, seed=SEED, shape=shape, metastases="brainmetshare")
    return sorted(train.glob("Mets_*"))


def described(patients: Sequence[Path]) -> str:
    """Return a table of what the reported patients hold."""
    counts, volumes = [], []
    for place in patients:
        patient = load_patient(place)
        labels, count = ndimage.label(patient.lesion_mask, np.ones((3, 3, 3)))
        counts.append(count)
        volumes.extend(np.bincount(labels.ravel())[1:] * np.prod(patient.spacing) / 1000)
    diameters = 2 * (3 * 1000 * np.array(volumes) / (4 * np.pi)) ** (1 / 3)
    shares = [
        f"{low} to {high}: {sum(low <= count <= high for count in counts)}"
        if high < 999
        else f"more: {sum(low <= count for count in counts)}"
        for low, high in GROUPS
    ]
    return (
        f"{len(counts)} patients with {sum(counts)} lesions (connected pieces of the masks; touching ones are one): "
        f"{', '.join(shares)} patients. Equivalent diameter {diameters.min():.1f} to {diameters.max():.1f} mm, median "
        f"{np.median(diameters):.1f}; {sum(volumes):.1f} mL in all."
    )


def cell(row: Mapping[str, str], name: str) -> str:
    value = row.get(name, "")
    if name in ("model", "score") or not value:
        return f"`{value}`" if value else "–"
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    shown = f"{float(value):.3g}"
    return f"{shown} [{float(low):.3g}, {float(high):.3g}]" if low and high else shown


def read_rows(results: Path) -> list[dict[str, str]]:
    """Return the rows of an evaluation."""
    with (results / "results.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def as_json(results: Path, cohort: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return all rows with their intervals."""
    kept = [*COLUMNS, "rule", "patients", "lesion_patients", "chosen_on", "chosen_by", "threshold", *SUMMED]
    kept += [f"{name}_{end}" for name in COLUMNS for end in ("low", "high")]

    def value(text: str) -> str | float | None:
        try:
            return round(float(text), 6)
        except ValueError:
            return text or None

    rows = [{name: value(row[name]) for name in kept if name in row} for row in read_rows(results)]
    return {"phantoms": True, "seed": SEED, "shape": shape, "cohort": cohort, "rows": rows}


def is_free(row: Mapping[str, str]) -> str:
    """Return what to call a map without a network; empty for a model."""
    return "without a network" if row["model"].startswith("flair-") else ""


def is_paper(row: Mapping[str, str]) -> str:
    """Return what to call one of the paper's eight designs; empty for anything else."""
    return "of the paper's eight" if row["model"] in MODEL_NAMES else ""


def is_other(row: Mapping[str, str]) -> str:
    """Return what to call any other model; empty for anything else."""
    return "" if is_free(row) or is_paper(row) else "of the other models"


def found_in(rows: Sequence[Mapping[str, str]], kind: Callable[[Mapping[str, str]], str]) -> str:
    """Return the best row of a kind in words; rows are sorted, the best first."""
    row = next((row for row in rows if kind(row) and row["dice_patient"]), None)
    return "" if row is None else f"`{row['model']}` {kind(row)} {cell(row, 'dice_patient')}"


def page(results: Path, cohort: str, shape: tuple[int, int, int]) -> str:
    """Return the page."""
    rows = read_rows(results)
    suggested: dict[str, str] = {}
    for row in rows:
        suggested.setdefault(row["model"], row["score"])
    lines = [
        INTRODUCTION,
        f"Reported: {cohort} Made by `research/metastases.py`, seed {SEED}, {' × '.join(map(str, shape))} voxels. All "
        "rows: `research/metastases.json`.",
    ]
    for rule in RULES:
        chosen = [row for row in rows if row["rule"] == rule and suggested[row["model"]] == row["score"]]
        if not chosen:
            continue
        chosen.sort(key=lambda row: -float(row["dice_patient"] or -1))
        best = (found_in(chosen, kind) for kind in (is_free, is_paper, is_other))
        lines += [
            "",
            f"## `{rule}`",
            "",
            f"{ABOUT[rule]} Best Dice of a patient: {'; '.join(filter(None, best))}.",
        ]
        lines += ["", "| " + " | ".join(COLUMNS.values()) + " |"]
        lines.append("| --- | --- |" + " ---: |" * (len(COLUMNS) - 2))
        lines += ["| " + " | ".join(cell(row, name) for name in COLUMNS) + " |" for row in chosen]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the page")
    parser.add_argument("--json", type=Path, help="all rows")
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--models", nargs="*", default=[*MODEL_NAMES, DEFAULT_MODEL])
    parser.add_argument(
        "--shape", type=int, nargs=3, default=(150, 256, 256), help="voxels (z, y, x) of a patient"
    )
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.patients < 2:
        parser.error("at least 2 patients are needed: each fold's settings are chosen on the others")
    cohort, shape = options.work / "cohort", tuple(options.shape)
    patients = make_cohort(cohort, options.patients, shape)
    results = options.work / "results"
    if not (results / "results.csv").is_file():
        evaluate(
            cohort,
            options.models,
            results,
            folds=min(FOLDS, options.patients),
            rules=RULES,
            device="cpu",
            workers=options.workers,
        )
    holds = described(patients)
    lines = page(results, holds, shape).splitlines()
    write_text(options.out, "\n".join(aside(lines, options.out)) + "\n")
    if options.json is not None:
        write_text(options.json, json.dumps(as_json(results, holds, shape), indent=1) + "\n")


if __name__ == "__main__":
    main()
