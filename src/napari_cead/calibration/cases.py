"""The data of one patient for the threshold rules, small enough to keep those of a cohort."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..detection import PostprocessParams
from ..detection.many_settings import masks_of, overlaps, room_for
from ..detection.thresholds import ScoreHistograms
from ..metrics import LesionWise, PatientCounts, hd95, lesionwise, match_lesions, volume_ml
from ..metrics.components import Voxels, as_voxels
from ..metrics.lesion_sizes import lesion_records
from ..metrics.overlap import NAN, slice_counts
from ..metrics.patient_figures import PatientFigures
from .candidates import Spread

BINS = 1024
"""Bins of the histograms; a power of two keeps them exact."""

MIN_BRAIN = 0.15
"""Smallest share of brain in the model's image for a slice to count as healthy, as in training."""


@dataclass(frozen=True, eq=False)
class Case:
    """One patient's anomaly map under one score, its slices cropped to brain and lesion, with its reference.

    It keeps the map's values in the brain and their voxels: masks and counts are those of the whole map, at any
    settings.

    Attributes:
        name: Name of the patient.
        values: (n,) float32, the anomaly map at the voxels of the brain.
        brain: Which voxels (Z, Y, X) of the cropped volume are brain, packed to bits.
        shape: Shape (Z, Y, X) of the cropped volume.
        room: Rows before and behind it in a whole slice, then columns.
        reference: (Z, Y, X) bool lesion mask; None for an unlabelled patient.
        brain_slices: Which slices show brain (Z,).
        spacing: Size of a voxel (z, y, x) in mm.
        healthy: Histogram of the anomaly map over the brain voxels of the patient's healthy slices.
        spread: The values of the map.
        ignored: (Z, Y, X) bool, where nothing is counted; None if everything is.
    """

    name: str
    values: NDArray[np.float32]
    brain: NDArray[np.uint8]
    shape: tuple[int, int, int]
    room: tuple[int, int, int, int]
    reference: NDArray[np.bool_] | None
    brain_slices: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    healthy: ScoreHistograms
    spread: Spread
    ignored: NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        anomaly_map: NDArray[np.float32],
        reference: NDArray[np.bool_] | None,
        brain: NDArray[np.bool_],
        spacing: tuple[float, float, float],
        healthy_slices: NDArray[np.bool_],
        ignored: NDArray[np.bool_] | None = None,
    ) -> Case:
        """Make the case of a patient.

        Args:
            name: Name of the patient.
            anomaly_map: (Z, Y, X) float32 in [0, 1], 0 outside the brain.
            reference: (Z, Y, X) bool, or None for an unlabelled patient.
            brain: (Z, Y, X) bool.
            spacing: Size of a voxel (z, y, x) in mm.
            healthy_slices: Slices (Z,) known to be free of lesion, with enough brain.
            ignored: (Z, Y, X) bool, where nothing is counted, outside ``brain``; None if everything is.
        """
        inside: NDArray[np.bool_] = brain
        for other in (reference, ignored):
            inside = inside if other is None else np.asarray(inside | other)
        rows, columns = (_range(np.asarray(inside.any(axis=axes))) for axes in ((0, 2), (0, 1)))
        box = slice(None), rows, columns
        cut = brain[box]
        values = anomaly_map[box][cut].astype(np.float32, copy=False)
        calm = values[np.repeat(healthy_slices, np.count_nonzero(cut, axis=(1, 2)))]
        depth, height, width = cut.shape
        _, tall, wide = brain.shape
        return cls(
            name=name,
            values=values,
            brain=np.packbits(cut),
            shape=(depth, height, width),
            room=(rows.start, tall - rows.stop, columns.start, wide - columns.stop),
            reference=None if reference is None else np.ascontiguousarray(reference[box]),
            brain_slices=np.asarray(cut.any(axis=(1, 2))),
            spacing=spacing,
            healthy=ScoreHistograms.of(calm, np.zeros(calm.shape, np.bool_), bins=BINS),
            spread=Spread.of(values),
            ignored=None if ignored is None else np.ascontiguousarray(ignored[box]),
        )

    @property
    def has_lesion(self) -> bool:
        """Whether the patient is labelled and has a lesion."""
        return self.reference is not None and bool(self.reference.any())

    def frame(self, radius: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the map, the brain and the reference (Z, Y, X) with room for masks beyond the brain.

        Args:
            radius: How far masks may reach beyond the brain; there is room as far as the slice reaches.

        Raises:
            ValueError: If the patient is unlabelled.
        """
        if self.reference is None:
            raise ValueError(f"{self.name} has no lesion mask")
        volume, brain = self._volume()
        frame = self._around(radius)
        return np.pad(volume, frame), np.pad(brain, frame), np.pad(self.reference, frame)

    def whole(self) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the map, the brain and the reference (Z, Y, X) of the whole slices; the map is 0 outside the brain.

        Raises:
            ValueError: If the patient is unlabelled.
        """
        return self.frame(max(self.room))

    def _volume(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the map and the brain as they were cropped."""
        brain = np.unpackbits(self.brain, count=int(np.prod(self.shape))).reshape(self.shape).view(np.bool_)
        volume = np.zeros(self.shape, dtype=np.float32)
        volume[brain] = self.values
        return volume, brain

    def _around(self, radius: int) -> tuple[tuple[int, int], ...]:
        top, bottom, left, right = (min(radius, room) for room in self.room)
        return (0, 0), (top, bottom), (left, right)

    def _masks(
        self, grid: Sequence[PostprocessParams]
    ) -> Iterator[tuple[PostprocessParams, NDArray[np.bool_]]]:
        """Yield each of the settings with the detected mask, in the frame that they need."""
        radius = room_for(grid)
        anomaly_map, brain, _ = self.frame(radius)
        counted = None if self.ignored is None else ~np.pad(self.ignored, self._around(radius))
        for params, mask in masks_of(anomaly_map, brain, grid, self.spacing):
            yield params, mask if counted is None else mask & counted

    def figures(self, settings: Iterable[PostprocessParams]) -> dict[PostprocessParams, PatientFigures]:
        """Return the figures at each of some settings.

        Raises:
            ValueError: If the patient is unlabelled.
        """
        grid = list(dict.fromkeys(settings))
        if not grid:
            return {}
        _, _, reference = self.frame(room_for(grid))
        found, lesions = {}, Voxels(reference)
        for params, mask in self._masks(grid):
            found[params] = figures_of(self.name, mask, lesions, self.brain_slices, self.spacing)
        return found

    def dice(self, grid: Sequence[PostprocessParams]) -> NDArray[np.float64]:
        """Return the Dice of the volume at each of the settings (NaN if both masks are empty).

        Raises:
            ValueError: If the patient is unlabelled.
        """
        anomaly_map, brain, reference = self.frame(room_for(grid))
        if self.ignored is None:
            detected, found = overlaps(anomaly_map, reference, brain, grid, self.spacing).T
        else:  # `overlaps` counts everywhere
            pairs = {
                params: (np.count_nonzero(mask), np.count_nonzero(mask & reference))
                for params, mask in self._masks(grid)
            }
            detected, found = np.array([pairs[params] for params in grid], np.int64).reshape(-1, 2).T
        total = detected + np.count_nonzero(reference)
        dice = np.full(len(grid), np.nan)
        np.divide(2 * found, total, out=dice, where=total > 0)
        return dice

    def save(self, file: Path | IO[bytes]) -> None:
        """Write the case to an ``.npz`` file."""
        np.savez(
            file,
            values=self.values,
            brain=self.brain,
            shape=np.array(self.shape),
            room=np.array(self.room),
            reference=np.zeros(0, np.uint8) if self.reference is None else np.packbits(self.reference),
            brain_slices=self.brain_slices,
            spacing=np.array(self.spacing),
            healthy=self.healthy.healthy,
            spread_values=self.spread.values,
            spread_counts=self.spread.counts,
            ignored=np.zeros(0, np.uint8) if self.ignored is None else np.packbits(self.ignored),
        )

    @classmethod
    def load(cls, file: Path, name: str) -> Case:
        """Read a case written by `save`."""
        with np.load(file, allow_pickle=False) as stored:
            depth, height, width = (int(size) for size in stored["shape"])
            top, bottom, left, right = (int(size) for size in stored["room"])
            z, y, x = (float(size) for size in stored["spacing"])
            return cls(
                name=name,
                values=stored["values"],
                brain=stored["brain"],
                shape=(depth, height, width),
                room=(top, bottom, left, right),
                reference=_mask(stored["reference"], (depth, height, width)),
                brain_slices=stored["brain_slices"],
                spacing=(z, y, x),
                healthy=_healthy(stored),
                spread=_spread(stored),
                ignored=_mask(stored["ignored"], (depth, height, width)) if stored["ignored"].size else None,
            )


def figures_of(
    name: str,
    mask: NDArray[np.bool_],
    reference: NDArray[np.bool_] | Voxels,
    brain_slices: NDArray[np.bool_],
    spacing: tuple[float, float, float],
    *,
    distances: bool = True,
) -> PatientFigures:
    """Return the figures of one patient at one setting.

    Args:
        name: Name of the patient.
        mask: Detected mask (Z, Y, X).
        reference: Lesion mask (Z, Y, X), or its voxels.
        brain_slices: Which slices show brain (Z,).
        spacing: Size of a voxel (z, y, x) in mm.
        distances: Whether to measure HD95 and the lesion-wise scores.
    """
    found, lesions = as_voxels(mask, reference)
    match = match_lesions(found, lesions, spacing)
    by_lesion = lesionwise(found, lesions, spacing) if distances else LesionWise()
    return PatientFigures(
        name=name,
        counts=PatientCounts(*slice_counts(mask, lesions.mask), brain_slices),
        reference_ml=volume_ml(lesions.mask, spacing),
        detected_ml=volume_ml(mask, spacing),
        lesions=len(match.lesions),
        lesions_found=len(match.found),
        detections=len(match.detections),
        false_detections=len(match.false_detections),
        lesion_records=lesion_records(match, spacing, len(mask)),
        hd95=hd95(found, lesions, spacing) if distances else NAN,
        lesionwise_dice=by_lesion.dice,
        lesionwise_hd95=by_lesion.hd95,
    )


def healthy_in(file: Path) -> ScoreHistograms:
    """Return the histogram of the healthy slices of a case written by ``save``, without reading its map."""
    with np.load(file, allow_pickle=False) as stored:
        return _healthy(stored)


def spread_in(file: Path) -> Spread:
    """Return the spread of a case written by ``save``, without reading its map."""
    with np.load(file, allow_pickle=False) as stored:
        return _spread(stored)


def _mask(bits: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.bool_] | None:
    """Unpack a mask; none was packed if there are no bits for a volume that has voxels."""
    count = int(np.prod(shape))
    if count and not bits.size:
        return None
    return np.unpackbits(bits, count=count).reshape(shape).view(np.bool_)


def _healthy(stored: Any) -> ScoreHistograms:
    healthy = stored["healthy"]
    return ScoreHistograms(np.zeros_like(healthy), healthy)


def _spread(stored: Any) -> Spread:
    return Spread(stored["spread_values"], stored["spread_counts"])


def _range(occupied: NDArray[np.bool_]) -> slice:
    where = np.flatnonzero(occupied)
    return slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0)
