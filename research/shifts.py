"""How a threshold holds when scans come from elsewhere: the same patients, changed as another scanner would.

The validation patients with lesions (``validation_names``: 109 of ``soop_axial/lesion``) and ``patient26`` are changed
in one way at a time and detected again. The threshold stays: that with the highest ``dice_pooled`` on the 109 as they
are, and for ``patient26`` also the mask that a user sees before a slider is moved. Baselines without a network stand
beside the model, each under its own threshold by the same rule.

    python research/shifts.py --data DATA --model ce-unet --table shifts.md

A JSON line per change. Simulated changes say what a detector depends on; they do not replace another scanner.
"""

from __future__ import annotations

import argparse
import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy import ndimage

import napari_cead as cead
from lever_parts.tables import table
from napari_cead.atomic import write_text
from napari_cead.calibration.cases import BINS
from napari_cead.detection import suggested
from napari_cead.detection.baselines import BASELINES, let_patient_go
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.evaluation.ranking import ranking
from napari_cead.patients import Patient
from napari_cead.slices import brain_mask
from napari_cead.zoo import find_models
from real_data.choosing import best, dice_pooled, raw_counts
from real_data.scans import MS, STROKE, Scans, load_scans, validation_names

Volume = NDArray[np.float32]
FREE: Mapping[str, tuple[str, str]] = {
    "flair-threshold": ("threshold", "intensity"),
    "flair-tissue-smooth, 1 mm in 3-D": ("tissue-smooth", "1mm-3d"),
    "flair-tissue-smooth, 3 mm": ("tissue-smooth", "3mm-2d"),
    "flair-asymmetry": ("asymmetry", "asymmetry"),
}
"""Baseline and score by name: raw FLAIR, and the stronger ones. Of ``flair-tissue-smooth`` the size that stands for it
where nobody chooses, and the one that the 109 choose."""

STRONGEST = "flair-asymmetry"
"""The strongest on the strokes."""


def _level(volume: Volume) -> float:
    """Return what counts as white: the 99.5th percentile of the brain."""
    return float(np.percentile(volume[volume > 0], 99.5))


def contrast(volume: Volume, _: Patient, exponent: float) -> Volume:
    """Bend the intensities by a power; 0 and the level of white stay."""
    level = _level(volume)
    # Resampling leaves a few values below 0, which have no power.
    return np.asarray(level * np.power(np.maximum(volume, 0) / level, exponent), np.float32)


def coil(volume: Volume, patient: Patient, strength: float, axis: int) -> Volume:
    """Make one side brighter and the other darker, by so much at the rims of the brain."""
    inside = np.flatnonzero((volume > 0).any(axis=tuple(other for other in range(3) if other != axis)))
    ramp = np.interp(np.arange(volume.shape[axis]), inside[[0, -1]], (1 - strength, 1 + strength))
    shape = [1, 1, 1]
    shape[axis] = -1
    return np.asarray(volume * ramp.reshape(shape), np.float32)


def noise(volume: Volume, patient: Patient, share: float) -> Volume:
    """Add Rician noise, of so much of the level of white, inside the brain."""
    rng = np.random.default_rng(zlib.crc32(patient.name.encode()))
    sigma = share * _level(volume)
    real, imaginary = (rng.normal(0, sigma, volume.shape) for _ in range(2))
    noisy = np.hypot(volume + real, imaginary)
    return np.asarray(np.where(volume > 0, np.maximum(noisy, 1e-3 * sigma), 0), np.float32)


def blur(volume: Volume, patient: Patient, sigma_mm: float) -> Volume:
    """Smooth within the slice; the outline of the brain stays."""
    sigma = (0.0, *(sigma_mm / size for size in patient.spacing[1:]))
    brain = (volume > 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(volume, sigma) / np.maximum(ndimage.gaussian_filter(brain, sigma), 1e-3)
    return np.asarray(np.where(brain, np.maximum(smooth, 1e-3), 0), np.float32)


def stripped(volume: Volume, patient: Patient, depth_mm: float) -> Volume:
    """Take so much off the brain's rim, as a strict skull stripping does."""
    inside = np.stack(
        [ndimage.distance_transform_edt(slice_ > 0, patient.spacing[1:]) > depth_mm for slice_ in volume]
    )
    return np.asarray(np.where(inside, volume, 0), np.float32)


def thick(volume: Volume, _: Patient, slices: int) -> Volume:
    """Give groups of slices their mean, as thick slices have it."""
    if len(volume) < slices:
        return volume
    made = volume.copy()
    for start in range(0, len(volume), slices):
        group = volume[start : start + slices]
        made[start : start + slices] = np.where(group > 0, group.mean(axis=0), 0)
    return made


def turned(volume: Volume, _: Patient, degrees: float) -> Volume:
    """Turn the slices in their plane."""
    return np.asarray(ndimage.rotate(volume, degrees, (1, 2), reshape=False, order=1), np.float32)


def corrected(volume: Volume, patient: Patient) -> Volume:
    """Take out a bias field by N4, as ``correct_bias_field`` does it; also in single slices, which that refuses."""
    if len(volume) > 1:
        return cead.correct_bias_field(replace(patient, sequences={patient.sequence: volume})).volume()
    image, mask = sitk.GetImageFromArray(volume[0]), sitk.GetImageFromArray((volume[0] > 0).astype(np.uint8))
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.Execute(sitk.Shrink(image, [4, 4]), sitk.Shrink(mask, [4, 4]))
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)))
    return np.asarray(np.where(volume > 0, volume / field, 0), np.float32)


Change = Callable[[Volume, Patient], Volume]

CHANGES: Mapping[str, Change] = {
    "as it is": lambda volume, _: volume,
    "contrast, exponent 0.75": lambda volume, patient: contrast(volume, patient, 0.75),
    "contrast, exponent 1.33": lambda volume, patient: contrast(volume, patient, 1.33),
    "front 20 % brighter, back 20 % darker": lambda volume, patient: coil(volume, patient, -0.2, 1),
    "left 20 % brighter, right 20 % darker": lambda volume, patient: coil(volume, patient, 0.2, 2),
    "as it is, then N4": corrected,
    "front 20 % brighter, then N4": lambda volume, patient: corrected(
        coil(volume, patient, -0.2, 1), patient
    ),
    "left 20 % brighter, then N4": lambda volume, patient: corrected(coil(volume, patient, 0.2, 2), patient),
    "noise of 3 %": lambda volume, patient: noise(volume, patient, 0.03),
    "noise of 6 %": lambda volume, patient: noise(volume, patient, 0.06),
    "blurred by 1 mm": lambda volume, patient: blur(volume, patient, 1.0),
    "blurred by 2 mm": lambda volume, patient: blur(volume, patient, 2.0),
    "3 mm less of the rim": lambda volume, patient: stripped(volume, patient, 3.0),
    "slices of 5 mm (the volume alone)": lambda volume, patient: thick(volume, patient, 5),
    "turned by 15°": lambda volume, patient: turned(volume, patient, 15),
}


def changed(patient: Patient, name: str) -> Patient:
    """Return a patient with a changed FLAIR, and its mask turned with it."""
    volume = CHANGES[name](patient.volume(), patient)
    mask = patient.lesion_mask
    if mask is not None and name.startswith("turned"):
        mask = turned(mask.astype(np.float32), patient, 15) > 0.5
    return replace(patient, sequences={patient.sequence: volume}, lesion_mask=mask)


def histograms(patient: Patient, values: Volume) -> ScoreHistograms:
    """Return the histograms of a map inside the brain, of lesion and the rest."""
    reference = np.zeros(values.shape, np.bool_) if patient.lesion_mask is None else patient.lesion_mask
    return ScoreHistograms.of(values, reference, brain_mask(patient.volume()), BINS)


def maps(patient: Patient, detector: cead.Detector) -> dict[str, Volume]:
    """Return the model's suggested map and those of the baselines."""
    found = {detector.name: cead.detect(patient, detector).anomaly_map}
    for title, (name, score) in FREE.items():
        found[title] = BASELINES[name].seen(patient).anomaly_map(score)
    let_patient_go()
    return found


def measure(
    name: str, detector: cead.Detector, scans: Mapping[str, Scans], kept: dict[str, int]
) -> dict[str, Any]:
    """Return the figures of one change.

    Args:
        name: The change.
        detector: The model.
        scans: Stroke patients and the MS patient.
        kept: By map, the number of the threshold to keep; filled from these figures if it is empty.
    """
    parts: dict[str, list[ScoreHistograms]] = {which: [] for which in (detector.name, *FREE)}
    for patient in (changed(patient, name) for patient in scans[STROKE].patients):
        for which, values in maps(patient, detector).items():
            parts[which].append(histograms(patient, values))
    ms = changed(scans[MS].patients[0], name)
    of_ms = {which: histograms(ms, values) for which, values in maps(ms, detector).items()}
    line: dict[str, Any] = {"change": name, "patients": len(scans[STROKE].patients)}
    for which, found in parts.items():
        lesion, other = (np.stack([getattr(part, side) for part in found]) for side in ("lesion", "healthy"))
        counts = raw_counts(lesion, other)
        there = raw_counts(of_ms[which].lesion[None], of_ms[which].healthy[None])
        threshold = kept.setdefault(which, best(counts))
        curve, curve_ms = dice_pooled(counts), dice_pooled(there)
        line[which] = {
            "stroke": float(curve[threshold]),
            "stroke_oracle": float(curve.max()),
            "stroke_auprc": ranking(ScoreHistograms(lesion.sum(axis=0), other.sum(axis=0)))[1],
            "ms": float(curve_ms[threshold]),
            "ms_oracle": float(curve_ms.max()),
            "ms_auprc": ranking(of_ms[which])[1],
        }
    assert ms.lesion_mask is not None
    line[detector.name]["ms_suggested"] = cead.dice(cead.detect(ms, detector).mask, ms.lesion_mask)
    return line


def markdown(lines: list[dict[str, Any]], name: str) -> str:
    """Return the tables: the stroke patients, and the MS patient."""
    titles = {name: f"`{name}`"}
    for title in FREE:
        baseline, comma, size = title.partition(",")
        titles[title] = f"`{baseline}`{comma}{size}"

    def cells(line: dict[str, Any], figure: str) -> list[str]:
        return [f"{line[which][figure]:.3f}" for which in titles]

    stroke = [
        [
            line["change"],
            *cells(line, "stroke"),
            *(f"{line[which]['stroke_auprc']:.3f}" for which in (name, STRONGEST)),
        ]
        for line in lines
    ]
    volume = [[line["change"], *cells(line, "ms"), f"{line[name]['ms_suggested']:.3f}"] for line in lines]
    return "\n\n".join(
        (
            table(
                [
                    "strokes: `dice_pooled`",
                    *titles.values(),
                    *(f"AUPRC, {titles[which]}" for which in (name, STRONGEST)),
                ],
                stroke,
            ),
            table(
                [
                    "MS patient: Dice, threshold from strokes",
                    *titles.values(),
                    f"first mask of `{name}`",
                ],
                volume,
            )
            + "\n",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with soop_axial and patient26")
    parser.add_argument("--model", default="ce-unet", help="name or folder of a model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", type=Path, help="write the table there, as Markdown")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())
    detector = cead.load_model(find_models().get(options.model, Path(options.model)), options.device)
    scans = load_scans(options.data)
    chosen = frozenset(validation_names(scans[STROKE].names))
    scans[STROKE] = Scans(tuple(one for one in scans[STROKE].patients if one.name in chosen))
    kept: dict[str, int] = {}
    lines = []
    for name in CHANGES:
        lines.append(measure(name, detector, scans, kept) | {"score": suggested(detector.card)[0]})
        print(json.dumps(lines[-1]), flush=True)
    if options.table is not None:
        write_text(options.table, markdown(lines, detector.name))


if __name__ == "__main__":
    main()
