"""How a model reconstructs each test patient: figures of patients that ``results.json`` has only the means of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cead.atomic import make_folder, to_json, write_text
from napari_cead.detection.reconstruct import GROUP
from napari_cead.metrics import ImageQuality
from napari_cead.slices import brain_mask
from napari_cead.training import SliceStore
from napari_cead.zoo import Detector

Images = NDArray[np.float32]


@dataclass(frozen=True)
class PatientMeasures:
    """Figures of one patient, on the model's grid.

    Attributes:
        ssim: Mean SSIM of the healthy slices; None without such slices.
        psnr_brain: Mean PSNR in the brain of the healthy slices in dB.
        lesion_residual: Mean absolute residual of the lesion's voxels; None without lesion.
        brain_residual: Mean absolute residual of all other voxels of the brain.
    """

    ssim: float | None
    psnr_brain: float | None
    lesion_residual: float | None
    brain_residual: float


Measures = Mapping[str, PatientMeasures]


def figure(measures: Measures, name: str) -> dict[str, float]:
    """Return one figure by patient, of the patients that have it."""
    values = {patient: getattr(found, name) for patient, found in measures.items()}
    return {patient: value for patient, value in values.items() if value is not None}


def measure(detector: Detector, store: SliceStore, file: Path) -> Measures:
    """Measure the test patients of a store, or read what was measured with the same weights on the same store.

    Args:
        detector: The model.
        store: The store.
        file: Where to keep the figures.
    """
    made_of = {"sha256": detector.sha256, "fingerprint": store.fingerprint}
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["made_of"] == made_of:
            return {name: PatientMeasures(**values) for name, values in kept["patients"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = {patient.name: _measure(detector, store, patient.name) for patient in store.patients_of("test")}
    make_folder(file.parent)
    kept = {"made_of": made_of, "patients": {name: asdict(values) for name, values in found.items()}}
    write_text(file, to_json(kept))
    return found


def _measure(detector: Detector, store: SliceStore, name: str) -> PatientMeasures:
    slices = store.slices(name)
    images = slices.images.astype(np.float32) / np.float32(255)
    made, brain = reconstruct(detector, images), brain_mask(slices.images)
    healthy = healthy_slices(store, name)
    quality = ImageQuality.of(images[healthy], made[healthy], brain[healthy]).means()
    residual = np.abs(images - made)
    lesion = np.zeros_like(brain) if slices.masks is None else slices.masks & brain
    return PatientMeasures(
        ssim=float(quality["ssim"]) if healthy.any() else None,
        psnr_brain=float(quality["psnr_brain"]) if healthy.any() else None,
        lesion_residual=float(residual[lesion].mean(dtype=np.float64)) if lesion.any() else None,
        brain_residual=float(residual[brain & ~lesion].mean(dtype=np.float64)),
    )


def healthy_slices(store: SliceStore, name: str) -> NDArray[np.bool_]:
    """Return which slices of a test patient are healthy, with enough brain (N,)."""
    index = next(number for number, patient in enumerate(store.patients) if patient.name == name)
    rows = store.healthy_rows("test")
    healthy = np.zeros(len(store.patients[index].numbers), dtype=np.bool_)
    healthy[rows[rows[:, 0] == index, 1]] = True
    return healthy


def reconstruct(detector: Detector, images: Images) -> Images:
    """Reconstruct slices (N, S, S) in the groups of a detection."""
    made = np.empty_like(images)
    for start in range(0, len(images), GROUP):
        batch = torch.from_numpy(images[start : start + GROUP])[:, None]
        made[start : start + GROUP] = detector.reconstruct(batch)[:, 0].float().cpu().numpy()
    return made
