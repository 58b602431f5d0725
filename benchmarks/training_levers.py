"""What each part of ``ce-unet``'s recipe does: short trainings that differ in one thing, on real validation patients.

Each variant is trained from scratch for about ``--updates`` updates on lesion-free slices (those of
``soop_axial/lesion_free`` and lesion-free phantoms of all levels), and measured on the validation patients with lesions
(``validation_names``: 109 of ``soop_axial/lesion``) and on ``patient26``, as the product detects: ``cead.detect``
with each score. So short a training ranks levers; its figures are no results.

    python benchmarks/training_levers.py --data ../shared/data --out FOLDER
    python benchmarks/training_levers.py --data ../shared/data --out FOLDER --only recipe,coarse

A JSON line per variant and score: ``dice_pooled`` with the threshold of five folds over the patients, AUPRC and AUROC
of all their brain voxels; for ``patient26`` the Dice of the best threshold (``oracle``: optimistic). What is there
already is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_data.choosing import by_fold, dice_pooled, raw_counts
from real_data.scans import MS, STROKE, Scans, folds, load_scans, validation_names

import napari_cead as cead
from napari_cead.atomic import write_text
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.evaluation.cases import BINS
from napari_cead.evaluation.finishing import finish
from napari_cead.evaluation.ranking import ranking
from napari_cead.patients.phantom import write_cohort
from napari_cead.slices import brain_mask
from napari_cead.training import (
    Augmentation,
    CoarseNoise,
    ContextEncoding,
    Hardware,
    SliceStore,
    prepare,
    train,
)
from napari_cead.training.corruption import LESIONS, REALISTIC
from napari_cead.training.presets import training_settings
from napari_cead.training.runs import RunFolder

SCORES = ("residual", "positive-residual", "smoothed-residual", "bright-and-changed")
PHANTOMS, PHANTOM_SEED, PHANTOM_SHAPE = 100, 778, (50, 160, 160)
"""Lesion-free, 3 mm x 1.5 mm x 1.5 mm: the network sees 1.5 mm."""
LIGHT = Augmentation(scale=0.04, rotation=4, shift=0.02)

VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # Name: (design, store, what differs).
    "recipe": ("ce-unet", "both", {}),
    "squares": ("ce-unet", "both", {"corruption": ContextEncoding()}),
    "coarse-noise": ("ce-unet", "both", {"corruption": CoarseNoise()}),
    "realistic": ("ce-unet", "both", {"corruption": REALISTIC}),
    "real-slices-alone": ("ce-unet", "real", {"balance": "slices"}),
    "phantoms-alone": ("ce-unet", "phantoms", {"balance": "slices"}),
    "volume-percentile": ("ce-unet", "percentile", {}),
    "light-augmentation": ("ce-unet", "both", {"augmentation": LIGHT}),
    "no-emphasis": ("ce-unet", "both", {"emphasis": 1.0, "small_emphasis": 1.0}),
    "bright-limit": ("ce-unet", "both", {"bright_limit": 1.35}),
    "plain-unet": ("dae", "both", {"corruption": LESIONS}),
    "dae": ("dae", "both", {"corruption": CoarseNoise(), "balance": "folders"}),
}

AS_RECIPE = (
    *("batch_size", "learning_rate", "weight_decay", "clip"),
    *("emphasis", "small_emphasis", "balance", "augmentation"),
)
"""What a plain U-Net takes from the recipe, so that it differs in its shape (and corruption) alone."""


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


def train_variant(name: str, store: SliceStore, out: Path, updates: int, device: str) -> Path:
    """Train a variant, unless its model is there; return the model folder."""
    design, _, changes = VARIANTS[name]
    run = RunFolder(out / name)
    if (run.model / "model.json").is_file():
        return run.model
    if design == "dae":
        recipe = training_settings("ce-unet", preset="small", image_size=128)
        changes = {field: getattr(recipe, field) for field in AS_RECIPE} | changes
    batch = training_settings("ce-unet", preset="small", image_size=128).batch_size
    epochs = max(1, round(updates * batch / len(store.healthy_rows("train"))))
    settings = training_settings(
        design, preset="small", image_size=128, epochs=epochs, seed=0, precision="bf16", **changes
    )
    train(settings, store, run, resume=run.exists(), hardware=Hardware(device=device))
    return finish(run, store, name=name, device=device)


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


def measured(name: str, model: Path, scans: dict[str, Scans], out: Path, device: str) -> list[dict[str, Any]]:
    """Return a line per score, those on disk if they are there."""
    file = out / name / "figures.json"
    if file.is_file():
        lines: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return lines
    detector = cead.load_model(model, device)
    tissue = detector.card.preprocessing.intensity == "volume-tissue"
    lines = [
        {
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with soop_axial and patient26")
    parser.add_argument("--out", type=Path, required=True, help="folder of stores, runs and figures")
    parser.add_argument("--only", default=",".join(VARIANTS), help="variants, with commas")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := sorted(set(names) - set(VARIANTS)):
        parser.error(f"there is no variant {unknown[0]}; use some of {', '.join(VARIANTS)}")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())
    scans = load_scans(options.data)
    scans[STROKE] = validation_patients(scans[STROKE])
    for name in names:
        store = make_store(VARIANTS[name][1], options.data, options.out)
        model = train_variant(name, store, options.out, options.updates, options.device)
        for line in measured(name, model, scans, options.out, options.device):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
