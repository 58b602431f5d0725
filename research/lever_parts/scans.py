"""The scans that levers are measured on, slice by slice on one canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cead.patients import Patient, load_patient
from napari_cead.slices import brain_mask
from napari_cead.slices.geometry import SliceGeometry
from real_data.scans import validation_names

CANVAS = 196
"""Side of the canvas in pixels: the square that the eight models see, cut out without resampling."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One patient; arrays (Z, Y, X) on the patient's grid, slices with brain alone."""

    name: str
    volume: NDArray[np.float32]
    brain: NDArray[np.bool_]
    lesion: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    canvas: SliceGeometry

    @classmethod
    def of(cls, patient: Patient) -> Scan:
        volume, mask = patient.volume(), patient.lesion_mask
        brain = brain_mask(volume)
        held = brain.any(axis=(1, 2))
        lesion = np.zeros_like(brain) if mask is None else mask & brain
        brain = brain[held]
        canvas = SliceGeometry.fit(brain, patient.spacing, size=CANVAS)
        if canvas.resampled or canvas.cut_off(brain):
            raise SystemExit(f"error: {patient.name} does not fit on {CANVAS} x {CANVAS} pixels as it is")
        return cls(patient.name, volume[held], brain, lesion[held], patient.spacing, canvas)


@dataclass(frozen=True, eq=False)
class Scans:
    """Several patients.

    Attributes:
        each: The patients.
        owner: (N,) which patient each slice is of.
        brain: (N, 196, 196) bool on the canvas.
        lesion: (N, 196, 196) bool on the canvas.
    """

    each: tuple[Scan, ...]
    owner: NDArray[np.int64]
    brain: NDArray[np.bool_]
    lesion: NDArray[np.bool_]

    @classmethod
    def of(cls, scans: Sequence[Scan]) -> Scans:
        owner = np.repeat(np.arange(len(scans)), [len(scan.brain) for scan in scans])
        brain = np.concatenate([scan.canvas.to_model(scan.brain) for scan in scans])
        lesion = np.concatenate([scan.canvas.to_model(scan.lesion) for scan in scans])
        return cls(tuple(scans), owner, brain, lesion)

    def __len__(self) -> int:
        return len(self.each)


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names for validation and for the test."""
    chosen = validation_names(names)
    return chosen, sorted(set(names) - set(chosen))


def read(files: Sequence[Path]) -> Scans:
    return Scans.of([Scan.of(load_patient(file)) for file in files])
