"""The recipe of the bundled model: phantoms in, a model folder with suggested settings out.

python tools/train_bundled.py ce-vae1 --cohort /tmp/phantoms --out sample_data/models/ce-vae1

The cohort is made if it is not there yet. Training patients and validation patients are never the same.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import time
from pathlib import Path

import numpy as np

from napari_cead.atomic import to_json, write_text
from napari_cead.detection import PostprocessParams, run
from napari_cead.detection.postprocessing import StagedPostprocessor
from napari_cead.metrics import PatientCounts, averages
from napari_cead.models.specs import spec
from napari_cead.patients import find_patients, load_patient
from napari_cead.patients.phantom import write_cohort
from napari_cead.slices import slice_stack
from napari_cead.training import Augmentation, train
from napari_cead.zoo import ModelCard, Suggestion, load_model, save_model

LEAST_BRAIN = 0.15
"""Slices with a smaller share of brain are left out of training."""


def healthy_slices(paths: list[Path]) -> np.ndarray:
    """Return the lesion-free slices of labelled patients, (N, 196, 196) uint8 (intensity 1 is 255)."""
    found = []
    for path in paths:
        patient = load_patient(path, only=True)
        stack = slice_stack(patient)
        share = (stack.images > 0).mean(axis=(1, 2))
        healthy = ~patient.lesion_mask.any(axis=(1, 2)) & (share >= LEAST_BRAIN)
        found.append(np.rint(stack.images[healthy] * 255).astype(np.uint8))
    return np.concatenate(found)


def choose(detector, paths: list[Path], score: str) -> tuple[PostprocessParams, dict]:
    """Return the settings with the highest mean Dice over validation patients (3-D, after post-processing)."""
    cases = []
    for path in paths:
        patient = load_patient(path, only=True)
        made = run(patient, detector)
        cases.append((patient, StagedPostprocessor(made.anomaly_map(score), patient.spacing)))
    best, best_dice = PostprocessParams(), -1.0
    grid = itertools.product(
        [round(value, 3) for value in np.geomspace(0.03, 0.6, 25)], (1, 2), (0.1, 0.3, 0.6), (0, 1)
    )
    for threshold, closing, area, dilation in grid:
        params = PostprocessParams(
            threshold=threshold, closing_radius=closing, area_fraction=area, dilation_radius=dilation
        )
        counts = [PatientCounts.of(stages.volume(params), patient.lesion_mask) for patient, stages in cases]
        found = averages(counts)
        if found.dice_patient > best_dice:
            best, best_dice, figures = params, found.dice_patient, found.as_dict()
    return best, figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", default="ce-vae1")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=44)
    parser.add_argument("--validation", type=int, default=10)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()
    if not list(find_patients(options.cohort)):
        write_cohort(options.cohort, options.patients, seed=options.seed)
    paths = list(find_patients(options.cohort))
    training, validation = paths[: -options.validation], paths[-options.validation :]
    cache = options.cohort / "slices.npz"
    if cache.exists():
        slices, held_out = np.load(cache).values()
    else:
        slices, held_out = healthy_slices(training), healthy_slices(validation)
        np.savez(cache, slices=slices, held_out=held_out)
    print(f"{len(slices)} training slices, {len(held_out)} validation slices", flush=True)

    started = time.monotonic()
    architecture = spec(options.model, "small")
    result = train(
        architecture,
        slices,
        held_out,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        schedule="one-cycle",
        seed=options.seed,
        augmentation=Augmentation(scale=0.06, rotation=6, shift=0.02),
        on_epoch=lambda log: print(json.dumps(log), flush=True),
    )
    best = result.history[result.best_epoch - 1]
    card = ModelCard(
        name=options.model,
        spec=architecture,
        description=f"{options.model.upper()} (size small) trained on synthetic FLAIR slices without lesion",
        training={
            "data": f"{len(training)} phantom patients (napari-cead phantom, seed {options.seed}), FLAIR, "
            f"lesion-free slices with at least {LEAST_BRAIN:.0%} brain",
            "slices": len(slices),
            "validation_patients": len(validation),
            "validation_slices": len(held_out),
            "data_sha256": hashlib.sha256(slices.tobytes() + held_out.tobytes()).hexdigest(),
            "seed": options.seed,
            "epochs": len(result.history),
            "best_epoch": result.best_epoch,
            "steps": result.history[-1]["step"],
            "batch_size": options.batch_size,
            "learning_rate": options.learning_rate,
            "schedule": "one-cycle",
            "train_loss": best["train_loss"],
            "validation_loss": best["validation_loss"],
            "minutes": round((time.monotonic() - started) / 60, 1),
        },
    )
    write_text(options.cohort / f"{options.model}-history.json", to_json(result.history))
    save_model(result.module, card, options.out, half=True)

    # Settings are chosen on the weights as they will be used: after rounding to half precision.
    detector = load_model(options.out)
    suggestions = []
    for score in ("residual", "positive-residual"):
        params, figures = choose(detector, validation, score)
        print(score, params, json.dumps(figures), flush=True)
        suggestions.append((figures["dice_patient"], score, params, figures))
    suggestions.sort(key=lambda item: item[0], reverse=True)
    card = card.model_copy(
        update={
            "suggestions": tuple(
                Suggestion(score=score, rule="validation", params=params.model_dump())
                for _, score, params, _ in suggestions
            ),
            "training": {
                **card.training,
                "validation_dice_patient": {score: found for found, score, _, _ in suggestions},
            },
        }
    )
    save_model(result.module, card, options.out, half=True)


if __name__ == "__main__":
    main()
