"""The real scans: which there are, which are strictly lesion-free, and the folds of the stroke patients."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cead.errors import CeadWarning
from napari_cead.patients import Patient, load_patient

STROKE, FREE, MS = "stroke", "lesion-free", "ms"
"""Slices with an outlined infarct; slices without one, which models were trained on; the MS patient."""

FOLDS = 5


@dataclass(frozen=True)
class Scans:
    """Patients of one kind, in the order of their names."""

    patients: tuple[Patient, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(patient.name for patient in self.patients)

    def reference(self, number: int) -> NDArray[np.bool_]:
        """Return the lesion mask (Z, Y, X) of a patient, an empty one where nothing is outlined."""
        patient = self.patients[number]
        mask = patient.lesion_mask
        return np.zeros(patient.volume().shape, np.bool_) if mask is None else mask


def load_scans(data: Path) -> dict[str, Scans]:
    """Load everything (some seconds, some hundred MB).

    Args:
        data: The folder with ``soop_axial`` and ``patient26``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)
        found = {
            STROKE: _slices(data / "soop_axial" / "lesion"),
            FREE: _slices(data / "soop_axial" / "lesion_free"),
            MS: Scans((load_patient(data / "patient26", only=True),)),
        }
    unlabelled = [patient.name for patient in found[STROKE].patients if patient.lesion_mask is None]
    if unlabelled:
        raise SystemExit(
            f"error: {data}: no lesion mask for {', '.join(unlabelled[:5])}; unpack the data again"
        )
    return found


def _slices(folder: Path) -> Scans:
    files = sorted((folder / "flair").glob("*.png"))
    if not files:
        raise SystemExit(f"error: {folder / 'flair'}: there are no slices; give the data pack with --data")
    return Scans(tuple(load_patient(file) for file in files))


def cleaner(data: Path) -> frozenset[str]:
    """Return the names of the slices that are lesion-free in the strict sense: almost no bright tissue either."""
    with (data / "soop_axial" / "index.csv").open(encoding="utf-8", newline="") as stream:
        return frozenset(
            f"{int(row['soop_subject']):04d}" for row in csv.DictReader(stream) if row["cleaner"] == "1"
        )


VALIDATION_SEED = 5


def validation_names(names: Sequence[str]) -> list[str]:
    """Return the fifth of the stroke patients that chooses: thresholds of models, scores, recipes.

    The others are for the test. Which they are was drawn once, with this seed, before the first model was trained.

    Args:
        names: All stroke patients; sorted, so that the order of the files does not matter.
    """
    chosen = np.random.default_rng(VALIDATION_SEED).permutation(len(names))[: round(len(names) / 5)]
    return sorted(sorted(names)[number] for number in chosen)


def folds(patients: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold (patients,) of each patient; it depends on their number alone, so all maps share it."""
    fold = np.arange(patients) % FOLDS
    np.random.default_rng(seed).shuffle(fold)
    return fold
