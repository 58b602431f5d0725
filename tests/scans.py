"""Small synthetic scans for tests."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from napari_cead.patients.brain import brain_mask


def make_brain(shape=(12, 60, 50), seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Return an egg-shaped brain (Z, Y, X) with a bright lesion on the patient's right, and the lesion's mask."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    brain = (z / 0.9) ** 2 + (y / 0.85) ** 2 + (x / 0.8) ** 2 < 1
    lesion = brain & ((z - 0.1) ** 2 + (y + 0.3) ** 2 + (x + 0.35) ** 2 < 0.03)
    volume = np.where(brain, 100 + 10 * rng.standard_normal(shape) + 60 * lesion, 0)
    return volume.astype(np.float32), lesion


def write_nifti(path: Path, data, affine=None, oriented=True) -> Path:
    # Without an affine nibabel leaves qform and sform at code 0: no orientation.
    affine = np.eye(4) if affine is None and oriented else affine
    image = nib.Nifti1Image(np.asarray(data), affine)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def patient_in(place: Path) -> Path:
    """Write a patient in the NIfTI release layout, RAS on disk; return its folder in ``place``."""
    volume, lesion = make_brain()
    folder = place / "Mets_001"
    to_ras = (2, 1, 0)
    for name, data in (("flair", volume), ("t1_gd", volume * 0.5), ("seg", lesion.astype(np.uint8))):
        stored = np.transpose(data, to_ras)[::-1, ::-1]
        write_nifti(folder / f"{name}.nii.gz", stored, np.diag([0.9, 0.95, 1.5, 1]))
    return folder


def brain_of(patient):
    """Where the detected mask of a patient has to stay."""
    return brain_mask(patient.volume())
