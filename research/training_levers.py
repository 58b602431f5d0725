"""What each part of the denoisers' recipe does: short trainings that differ in one thing, on real validation patients.

For the two best models, ``ce-unet`` and ``dae``. Each variant is trained from scratch for about ``--updates`` updates
on lesion-free slices (those of ``soop_axial/lesion_free`` and lesion-free phantoms of all levels), and measured on the
validation patients with lesions (``validation_names``: 109 of ``soop_axial/lesion``) and on ``patient26``, as the
product detects: ``cead.detect`` with each score. So short a training ranks levers; its figures are no results.

    python research/training_levers.py --data DATA --out FOLDER
    python research/training_levers.py --data DATA --out FOLDER --model dae --only recipe,lesions

A JSON line per model, variant and score: ``dice_pooled`` with the threshold of five folds over the patients, AUPRC and
AUROC of all their brain voxels; for ``patient26`` the Dice of the best threshold (``oracle``: optimistic). What is
there already is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import napari_cead as cead
from lever_parts.tables import table
from napari_cead.atomic import write_text
from napari_cead.calibration.cases import BINS
from napari_cead.calibration.finishing import finish
from napari_cead.corruption.mixtures import GaussianNoise, Mixture, Share, SimulatedLesions
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.evaluation.ranking import ranking
from napari_cead.phantom import write_cohort
from napari_cead.runs.run_folder import RunFolder
from napari_cead.slices import brain_mask
from napari_cead.training import (
    Augmentation,
    CoarseNoise,
    ContextEncoding,
    Hardware,
    SliceStore,
    TrainingSettings,
    prepare,
    train,
)
from napari_cead.training.presets import training_settings
from real_data.choosing import by_fold, dice_pooled, raw_counts
from real_data.scans import MS, STROKE, Scans, folds, load_scans, validation_names

SCORES = ("residual", "positive-residual", "median-residual", "smoothed-residual", "bright-and-changed")
PHANTOMS, PHANTOM_SEED, PHANTOM_SHAPE = 100, 778, (50, 160, 160)
"""Lesion-free, 3 mm x 1.5 mm x 1.5 mm: the network sees 1.5 mm."""
LIGHT = Augmentation(scale=0.04, rotation=4, shift=0.02)

RECIPE = "recipe"
PUBLISHED = "published"
"""The training of Kascenas et al. 2022 as far as the engine has it: no AMSGrad, one cosine in place of many, a rate of
1e-3 in place of 1e-4 for a seventh of the updates, batches of 8 in place of 16, a small network. Of ``dae`` alone."""
BOTH = "both"

_SOFT = SimulatedLesions(shift=(0.06, 0.45), darker=0.22, blending=0.5, sparing=0.7, irregularity=0.4)

LESIONS = Mixture(
    parts=(
        Share(
            share=0.85,
            corruption=_SOFT.model_copy(
                update={"lesions": (1, 4), "diameter_mm": (3.6, 24.0), "rim_mm": (2.0, 9.0)}
            ),
        ),
        Share(
            share=0.5,
            corruption=_SOFT.model_copy(
                update={"lesions": (1, 2), "diameter_mm": (21.0, 90.0), "rim_mm": (2.5, 16.0)}
            ),
        ),
        Share(share=1.0, corruption=GaussianNoise(sigma=(0.001, 0.012), inside_brain=True)),
    ),
    together=True,
)
"""Simulated lesions of all sizes, most of them brighter, and a little grain, so that smoothness tells nothing."""

CORRUPTIONS = {"ce-unet": LESIONS, "dae": CoarseNoise()}
"""What each of the two models learns to undo in its recipe; in all else the recipes are one."""

TOGETHER = Mixture(
    parts=(*LESIONS.parts[:-1], Share(share=0.25, corruption=CoarseNoise()), LESIONS.parts[-1]), together=True
)
"""Lesions as in the recipe, and coarse noise beside them in a quarter of the slices."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    # Name: (store, what differs from the recipe).
    RECIPE: (BOTH, {}),
    "lesions": (BOTH, {"corruption": LESIONS}),
    "coarse-noise": (BOTH, {"corruption": CoarseNoise()}),
    "squares": (BOTH, {"corruption": ContextEncoding()}),
    "lesions-and-coarse-noise": (BOTH, {"corruption": TOGETHER}),
    "real-slices-alone": ("real", {"balance": "slices"}),
    "phantoms-alone": ("phantoms", {"balance": "slices"}),
    "volume-percentile": ("percentile", {}),
    "light-augmentation": (BOTH, {"augmentation": LIGHT}),
    "no-emphasis": (BOTH, {"emphasis": 1.0, "small_emphasis": 1.0}),
    "little-emphasis": (BOTH, {"emphasis": 2.0, "small_emphasis": 2.0}),
    "bright-limit": (BOTH, {"bright_limit": 1.35}),
    PUBLISHED: (
        BOTH,
        {
            "corruption": CoarseNoise(sigma=0.2, cells=(16,)),
            "loss": "squared",
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "schedule": "one-cycle",
            "emphasis": 1.0,
            "small_emphasis": 1.0,
            "augmentation": LIGHT,
        },
    ),
}

AS_RECIPE = (
    *("batch_size", "learning_rate", "weight_decay", "clip"),
    *("emphasis", "small_emphasis", "balance", "augmentation"),
)
"""What ``dae`` takes from the recipe of ``ce-unet``, so that the two differ in shape and corruption alone."""


def variants_of(design: str) -> list[str]:
    """Return the names of the variants of a model: without the one that its recipe is already."""
    own = CORRUPTIONS[design]
    names = [name for name, (_, changes) in VARIANTS.items() if changes.get("corruption") != own]
    return [name for name in names if name != PUBLISHED or design == "dae"]


def make_store(kind: str, data: Path, out: Path) -> SliceStore:
    """Prepare the slices of one kind, unless they are there."""
    cohort = out / f"cohort-{kind}"
    cohort.mkdir(parents=True, exist_ok=True)
    if kind != "real" and not (out / "phantoms").exists():
        write_cohort(
            out / "phantoms", PHANTOMS, seed=PHANTOM_SEED, lesions=0, varied=True, shape=PHANTOM_SHAPE
        )
    parts = {"real": data / "soop_axial" / "lesion_free", "phantoms": out / "phantoms" / "train"}
    for name, folder in parts.items():
        link = cohort / name
        if kind in (name, "both", "percentile") and not link.is_symlink():
            link.symlink_to(folder.resolve(), target_is_directory=True)
    return prepare(
        cohort,
        out / f"store-{kind}",
        assume_healthy=True,
        validation=0.1,
        test=0,
        min_brain=0.03,
        intensity="volume-percentile" if kind == "percentile" else "volume-tissue",
        spacing=(1.5, 1.5),
        image_size=128,
    )


def settings_of(design: str, name: str, **given: Any) -> TrainingSettings:
    """Return the settings of a variant of a model."""
    recipe = training_settings("ce-unet", preset="small", image_size=128)
    changes = {field: getattr(recipe, field) for field in AS_RECIPE}
    changes |= {"corruption": CORRUPTIONS[design]} | VARIANTS[name][1] | given
    return training_settings(design, preset="small", image_size=128, seed=0, precision="bf16", **changes)


def train_variant(design: str, name: str, store: SliceStore, out: Path, updates: int, device: str) -> Path:
    """Train a variant of a model, unless it is there; return the model folder."""
    run = RunFolder(out / design / name)
    if (run.model / "model.json").is_file():
        return run.model
    in_one = len(store.healthy_rows("train")) / settings_of(design, name).batch_size
    settings = settings_of(design, name, epochs=max(1, round(updates / in_one)))
    train(settings, store, run, resume=run.exists(), hardware=Hardware(device=device))
    return finish(run, store, name=f"{design}-{name}", device=device)


def figures(detector: cead.Detector, score: str, scans: Scans) -> dict[str, float]:
    """Return the figures of one score over the brain voxels of some patients."""
    parts = []
    for number, patient in enumerate(scans.patients):
        found = cead.detect(patient, detector, score=score)
        parts.append(
            ScoreHistograms.of(found.anomaly_map, scans.reference(number), brain_mask(patient.volume()), BINS)
        )
    lesion, other = (np.stack([getattr(part, name) for part in parts]) for name in ("lesion", "healthy"))
    counts = raw_counts(lesion, other)
    auroc, auprc = ranking(ScoreHistograms(lesion.sum(axis=0), other.sum(axis=0)))
    result = {"auprc": auprc, "auroc": auroc, "dice_pooled_oracle": float(dice_pooled(counts).max())}
    if len(parts) > 1:
        chosen = by_fold(counts, folds(len(parts)))
        result["dice_pooled"] = float(dice_pooled(counts[np.arange(len(parts)), chosen]))
    return {name: round(value, 4) for name, value in result.items()}


def validation_patients(scans: Scans) -> Scans:
    """Return the stroke patients that may choose."""
    chosen = frozenset(validation_names(scans.names))
    return Scans(tuple(patient for patient in scans.patients if patient.name in chosen))


def measured(
    design: str, name: str, model: Path, scans: dict[str, Scans], out: Path, device: str
) -> list[dict[str, Any]]:
    """Return a line per score, those on disk if they are there."""
    file = out / design / name / "figures.json"
    if file.is_file():
        return list(json.loads(file.read_text(encoding="utf-8")))
    detector = cead.load_model(model, device)
    tissue = detector.card.preprocessing.intensity == "volume-tissue"
    lines = [
        {
            "model": design,
            "variant": name,
            "score": score,
            "updates": detector.card.training["steps"],
            "stroke_validation": {
                "patients": len(scans[STROKE].patients),
                **figures(detector, score, scans[STROKE]),
            },
            "patient26": figures(detector, score, scans[MS]),
        }
        for score in SCORES
        if tissue or score != "bright-and-changed"
    ]
    write_text(file, json.dumps(lines))
    return lines


SHOWN = ("residual", "bright-and-changed")
NEITHER = "–"


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """Return a table for each model: a row per variant, the figures of the plain and of the suggested score."""
    parts = []
    for design in dict.fromkeys(line["model"] for line in lines):
        of_design = [line for line in lines if line["model"] == design]
        rows = [
            [f"`{name}`", *_cells([line for line in of_design if line["variant"] == name])]
            for name in dict.fromkeys(line["variant"] for line in of_design)
        ]
        head = [
            text
            for score in SHOWN
            for text in (f"`{score}`: `dice_pooled`", "AUPRC", "MS patient: Dice `oracle`", "AUPRC")
        ]
        parts += [f"### `{design}`", table(["training", "updates", *head], rows)]
    return "\n\n".join(parts) + "\n"


def _cells(lines: Sequence[dict[str, Any]]) -> list[str]:
    cells = [f"{lines[0]['updates']:,}"]
    for score in SHOWN:
        found = next((line for line in lines if line["score"] == score), None)
        if found is None:
            cells += [NEITHER] * 4
            continue
        stroke, ms = found["stroke_validation"], found["patient26"]
        values = stroke["dice_pooled"], stroke["auprc"], ms["dice_pooled_oracle"], ms["auprc"]
        cells += [f"{value:.3f}" for value in values]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with soop_axial and patient26")
    parser.add_argument("--out", type=Path, required=True, help="folder of stores, runs and figures")
    parser.add_argument("--model", default="ce-unet,dae", help="models, with commas")
    parser.add_argument("--only", default=",".join(VARIANTS), help="variants, with commas")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", type=Path, help="write the tables there, as Markdown")
    options = parser.parse_args()
    designs, names = options.model.split(","), options.only.split(",")
    for given, known in ((designs, CORRUPTIONS), (names, VARIANTS)):
        if unknown := sorted(set(given) - set(known)):
            parser.error(f"there is no {unknown[0]}; use some of {', '.join(known)}")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())
    scans = load_scans(options.data)
    scans[STROKE] = validation_patients(scans[STROKE])
    lines: list[dict[str, Any]] = []
    for design in designs:
        for name in (name for name in names if name in variants_of(design)):
            store = make_store(VARIANTS[name][0], options.data, options.out)
            model = train_variant(design, name, store, options.out, options.updates, options.device)
            for line in measured(design, name, model, scans, options.out, options.device):
                print(json.dumps(line), flush=True)
                lines.append(line)
    if options.table is not None:
        write_text(options.table, markdown(lines))


if __name__ == "__main__":
    main()
