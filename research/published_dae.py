"""The denoising autoencoder as published (Kascenas et al. 2022), beside ``ce-unet`` and raw FLAIR.

    python research/training_levers.py --data DATA --out FOLDER --model dae --only published --updates 9468
    python research/published_dae.py --data DATA --model FOLDER/dae/published/model --table dae.md

On the 109 validation patients with an outlined infarct and on ``patient26``; a JSON line for each map. *raw*: the map
cut within the brain. *post-processed*: with the paper's defaults. *filtered*: raw, and then without small components,
under the threshold of raw, as in the published code. Thresholds are those of five folds over the patients, by
``dice_pooled``; those of the MS patient are the best ones for that very patient (``oracle``: optimistic).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import napari_cead as cead
from lever_parts.tables import table
from napari_cead.atomic import write_text
from napari_cead.detection.smoothing import smoothed_in_brain
from napari_cead.metrics import average_precision
from napari_cead.patients import Patient
from napari_cead.slices import brain_mask
from napari_cead.slices.intensity import IntensityScaling, scale_intensity
from real_data.choosing import Counts, by_fold, dice_pooled
from real_data.scans import MS, STROKE, Scans, folds, load_scans
from training_levers import validation_patients

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]

SCORES = ("residual", "median-residual", "bright-and-changed")
SMALL_MM3 = 20 * 1.5 * 1.5 * 1.0
"""Largest component that is dropped: in the published code 20 voxels, here those of the model's grid, 1 mm thick."""


def of_model(place: str | Path, score: str) -> Callable[[Patient], Map]:
    """Return what makes the map of a model."""
    detector = cead.load_model(place, "cpu")
    return lambda patient: cead.detect(patient, detector, score=score).anomaly_map


def of_flair(scaling: IntensityScaling, sigma_mm: float = 0.0) -> Callable[[Patient], Map]:
    """Return what makes a map of raw FLAIR: scaled, and smoothed within the slice and the brain."""

    def make(patient: Patient) -> Map:
        brain = brain_mask(patient.volume())
        values = scale_intensity(patient.volume(), brain, scaling)
        if not sigma_mm:
            return values
        return smoothed_in_brain(values, brain, patient.spacing, sigma_mm, through=False)

    return make


def without_small(mask: Mask, patient: Patient) -> Mask:
    """Drop components (26-connected) of up to ``SMALL_MM3``; a single slice counts as 1 mm thick."""
    z, y, x = patient.spacing
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    keep = np.bincount(labels.ravel()) * (y * x * (z if mask.shape[0] > 1 else 1.0)) > SMALL_MM3
    keep[0] = False
    return np.asarray(keep[labels])


def counts(found: Mask, reference: Mask) -> tuple[int, int, int]:
    """Return true positives, false positives and false negatives."""
    both = int((found & reference).sum())
    return both, int(found.sum()) - both, int(reference.sum()) - both


def means(chosen: Counts) -> dict[str, float]:
    """Return the averages of Dice of one row of counts a patient (P, 3), and the share of patients with nothing."""
    tp, fp, fn = chosen.T
    dice = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    return {
        "dice_pooled": round(float(dice_pooled(chosen)), 4),
        "dice_patient": round(float(dice.mean()), 4),
        "nothing_found": round(float((dice == 0).mean()), 4),
    }


def figures(make: Callable[[Patient], Map], scans: Mapping[str, Scans]) -> dict[str, Any]:
    """Return the figures of a kind of map."""
    strokes = scans[STROKE]
    maps = [make(patient) for patient in strokes.patients]
    brains = [brain_mask(patient.volume()) for patient in strokes.patients]
    references = [strokes.reference(number) for number in range(len(maps))]
    pooled = np.concatenate([values[brain] for values, brain in zip(maps, brains, strict=True)])
    lesion = np.concatenate([mask[brain] for mask, brain in zip(references, brains, strict=True)])
    thresholds = np.unique(np.quantile(pooled[pooled > 0], 1 - np.geomspace(0.001, 0.3, 70)).clip(0, 1))
    raw, finished = (np.zeros((len(maps), len(thresholds), 3), np.int64) for _ in range(2))
    for number, patient in enumerate(strokes.patients):
        values, brain, reference = maps[number], brains[number], references[number]
        for place, threshold in enumerate(thresholds):
            raw[number, place] = counts((values > threshold) & brain, reference & brain)
            params = cead.PostprocessParams(threshold=float(threshold))
            finished[number, place] = counts(cead.postprocess(values, params, patient.spacing), reference)
    fold, rows = folds(len(maps)), np.arange(len(maps))
    chosen = by_fold(raw, fold)
    filtered = np.array(
        [
            counts(without_small((values > thresholds[place]) & brain, patient), reference & brain)
            for values, brain, reference, patient, place in zip(
                maps, brains, references, strokes.patients, chosen, strict=True
            )
        ]
    )
    return {
        "patients": len(maps),
        "auprc": round(average_precision(pooled, lesion), 4),
        "raw": means(raw[rows, chosen]),
        "post-processed": means(finished[rows, by_fold(finished, fold)]),
        "filtered": means(filtered),
        "patient26": of_one(make, scans[MS]),
    }


def of_one(make: Callable[[Patient], Map], scans: Scans) -> dict[str, float]:
    """Return the figures of a single volume under its own best threshold, and without its small components."""
    (patient,) = scans.patients
    values, brain, reference = make(patient), brain_mask(patient.volume()), scans.reference(0)
    inside, lesion = values[brain], reference[brain]
    thresholds = np.unique(np.quantile(inside[inside > 0], 1 - np.geomspace(0.0005, 0.05, 100)))
    found = np.array([counts((values > threshold) & brain, reference) for threshold in thresholds])
    best = int(np.argmax(dice_pooled(found[None])))
    dropped = np.array(counts(without_small((values > thresholds[best]) & brain, patient), reference))
    return {
        "auprc": round(average_precision(inside, lesion), 4),
        "oracle": round(float(dice_pooled(found[None])[best]), 4),
        "oracle_filtered": round(float(dice_pooled(dropped[None])), 4),
    }


def markdown(lines: list[dict[str, Any]]) -> str:
    """Return the table of the figures."""
    kinds = ("raw", "post-processed", "filtered")
    head = [f"`{name}`, {kind}" for kind in kinds for name in ("dice_pooled", "dice_patient")]
    rows = []
    for line in lines:
        one = line["patient26"]
        values = [line[kind][name] for kind in kinds for name in ("dice_pooled", "dice_patient")]
        values += [line["auprc"], one["oracle"], one["oracle_filtered"], one["auprc"]]
        rows.append([line["map"], *(f"{value:.3f}" for value in values)])
    ms = ("MS patient: Dice `oracle`", "filtered", "AUPRC")
    return table(["map", *head, "AUPRC", *ms], rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with soop_axial and patient26")
    parser.add_argument("--model", type=Path, help="the trained dae; without it the other rows alone")
    parser.add_argument("--alone", action="store_true", help="the rows of the dae alone")
    parser.add_argument("--table", type=Path, help="write the table there, as Markdown")
    options = parser.parse_args()
    makers: dict[str, Callable[[Patient], Map]] = {}
    for name, place in (("dae", options.model), ("ce-unet", None if options.alone else "ce-unet")):
        if place is not None:
            makers |= {f"`{name}`, `{score}`": of_model(place, score) for score in SCORES}
    if not options.alone:
        makers["raw FLAIR"] = of_flair("volume-percentile")
        makers |= {
            f"raw FLAIR scaled by tissue{said}": of_flair("volume-tissue", sigma)
            for sigma, said in ((0, ""), (1, ", Gaussian of 1 mm"), (3, ", Gaussian of 3 mm"))
        }
    scans = load_scans(options.data)
    scans[STROKE] = validation_patients(scans[STROKE])
    lines = []
    for name, make in makers.items():
        lines.append({"map": name, **figures(make, scans)})
        print(json.dumps(lines[-1], ensure_ascii=False), flush=True)
    if options.table is not None:
        write_text(options.table, markdown(lines))


if __name__ == "__main__":
    main()
