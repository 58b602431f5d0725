"""What the threshold rules need of one patient, small enough to keep those of a cohort."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray

from ..detection import PostprocessParams
from ..detection.postprocessing import StagedPostprocessor
from ..detection.thresholds import ScoreHistograms
from ..metrics import PatientCounts
from ..metrics.overlap import slice_counts

COARSE = 31
"""Thresholds of the first pass of a search."""

BETWEEN = 5
"""Thresholds between two neighbours of the first pass, for the second one."""

THRESHOLDS: tuple[float, ...] = tuple(
    round(float(value), 4) for value in np.geomspace(0.02, 0.999, (COARSE - 1) * (BETWEEN + 1) + 1)
)
"""The candidates of a search, geometric: fine where residuals lie, and up to where bright tissue lies in an image."""

BINS = 1024
"""Bins of the histograms; a power of two keeps them exact."""

MIN_BRAIN = 0.15
"""Share of the model's image that has to be brain for a slice to count as a healthy slice, as in training."""

MARGIN = 2
"""Pixels kept around the brain for the dilation; the largest dilation radius that a search tries."""


@dataclass(frozen=True, eq=False)
class Case:
    """One patient's anomaly map under one score, cut to brain and lesion, with its reference.

    The map is kept as one byte a voxel, the number of `THRESHOLDS` it is above. At each of these thresholds, masks
    and counts are exactly those of the full float32 map, at any other one they would not be: only these are taken.

    Attributes:
        name: Name of the patient.
        levels: (Z, Y, X) uint8, how many of `THRESHOLDS` the anomaly map is above.
        reference: (Z, Y, X) bool lesion mask; None for an unlabelled patient.
        brain: (Z, Y, X) bool.
        brain_slices: Which slices show brain (Z,).
        spacing: Size of a voxel (z, y, x) in mm.
        healthy: Histogram of the anomaly map over the brain voxels of the patient's healthy slices.
    """

    name: str
    levels: NDArray[np.uint8]
    reference: NDArray[np.bool_] | None
    brain: NDArray[np.bool_]
    brain_slices: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    healthy: ScoreHistograms

    @classmethod
    def of(
        cls,
        name: str,
        anomaly_map: NDArray[np.float32],
        reference: NDArray[np.bool_] | None,
        brain: NDArray[np.bool_],
        spacing: tuple[float, float, float],
        healthy_slices: NDArray[np.bool_],
    ) -> Case:
        """Make the case of a patient.

        Args:
            name: Name of the patient.
            anomaly_map: (Z, Y, X) float32 in [0, 1], 0 outside the brain.
            reference: (Z, Y, X) bool, or None for an unlabelled patient.
            brain: (Z, Y, X) bool.
            spacing: Size of a voxel (z, y, x) in mm.
            healthy_slices: Slices (Z,) known to be free of lesion, with enough brain.
        """
        inside: NDArray[np.bool_] = brain if reference is None else np.asarray(brain | reference)
        rows, columns = (_range(np.asarray(inside.any(axis=axes)), MARGIN) for axes in ((0, 2), (0, 1)))
        box = (_range(np.asarray(inside.any(axis=(1, 2))), 0), rows, columns)
        calm = anomaly_map[healthy_slices]
        return cls(
            name=name,
            levels=_levels(anomaly_map[box]),
            reference=None if reference is None else np.ascontiguousarray(reference[box]),
            brain=np.ascontiguousarray(brain[box]),
            brain_slices=np.asarray(brain.any(axis=(1, 2)))[box[0]],
            spacing=spacing,
            healthy=ScoreHistograms.of(calm, np.zeros(calm.shape, np.bool_), brain[healthy_slices], BINS),
        )

    @property
    def has_lesion(self) -> bool:
        """Whether the patient is labelled and has a lesion."""
        return self.reference is not None and bool(self.reference.any())

    def stages(self) -> StagedPostprocessor:
        """Return the post-processing of the map, for `THRESHOLDS` and dilation radii up to `MARGIN` alone."""
        # Rounded up to the next candidate: above just those candidates that the map itself is above.
        return StagedPostprocessor(_ROUNDED_UP.take(self.levels), self.spacing, self.brain, workers=1)

    def mask(self, params: PostprocessParams) -> NDArray[np.bool_]:
        """Return the detected mask at one setting, cut as the levels are.

        Raises:
            ValueError: If the threshold is not one of `THRESHOLDS` or the dilation radius above `MARGIN`.
        """
        if params.threshold not in THRESHOLDS or params.dilation_radius > MARGIN:
            raise ValueError(f"a case cannot be post-processed at {params}")
        return self.stages().volume(params)

    def counts(self, mask: NDArray[np.bool_]) -> PatientCounts:
        """Return the counts of a detected mask; slices without brain and lesion, which add nothing, are missing.

        Raises:
            ValueError: If the patient is unlabelled.
        """
        if self.reference is None:
            raise ValueError(f"{self.name} has no lesion mask")
        return PatientCounts(*slice_counts(mask, self.reference), self.brain_slices)

    def save(self, file: Path | IO[bytes]) -> None:
        """Write the case to an ``.npz`` file."""
        np.savez(
            file,
            levels=self.levels,
            reference=np.zeros(0, np.uint8) if self.reference is None else np.packbits(self.reference),
            brain=np.packbits(self.brain),
            brain_slices=self.brain_slices,
            spacing=np.array(self.spacing),
            healthy=self.healthy.healthy,
        )

    @classmethod
    def load(cls, file: Path, name: str) -> Case:
        """Read a case written by `save`."""
        with np.load(file, allow_pickle=False) as stored:
            levels, bits, healthy = stored["levels"], stored["reference"], stored["healthy"]
            shape = levels.shape
            brain = np.unpackbits(stored["brain"], count=levels.size).reshape(shape).view(np.bool_)
            z, y, x = (float(size) for size in stored["spacing"])
            reference = np.unpackbits(bits, count=levels.size).reshape(shape).view(np.bool_)
            return cls(
                name=name,
                levels=levels,
                reference=reference if bits.size else None,
                brain=brain,
                brain_slices=stored["brain_slices"],
                spacing=(z, y, x),
                healthy=ScoreHistograms(np.zeros_like(healthy), healthy),
            )


def healthy_in(file: Path) -> ScoreHistograms:
    """Return the histogram of the healthy slices of a case written by ``save``, without reading its map."""
    with np.load(file, allow_pickle=False) as stored:
        healthy = stored["healthy"]
    return ScoreHistograms(np.zeros_like(healthy), healthy)


class CasesOnDisk(Sequence[Case]):
    """Cases in a folder, read one at a time: a cohort takes the memory of one patient.

    A patient of 150 slices at 0.94 mm takes about 5 MB of disk.

    Args:
        folder: An empty folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: list[str] = []
        folder.mkdir()

    def append(self, case: Case) -> None:
        """Write a case behind the others."""
        case.save(self._file(len(self)))
        self._names.append(case.name)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Case]: ...
    def __getitem__(self, index: int | slice) -> Case | Sequence[Case]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return Case.load(self._file(number), self._names[number])

    def __iter__(self) -> Iterator[Case]:
        return (self[number] for number in range(len(self)))

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.npz"


_EDGES = np.array(THRESHOLDS, dtype=np.float32)
_ROUNDED_UP = np.append(_EDGES, np.float32(1))


def _levels(anomaly_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return how many of the thresholds each voxel is above; NaN is above none."""
    levels = np.zeros(anomaly_map.shape, dtype=np.uint8)
    above = anomaly_map > _EDGES[0]  # most of a box is below: only the rest is looked up
    levels[above] = np.searchsorted(_EDGES, anomaly_map[above], side="left")
    return levels


def _range(occupied: NDArray[np.bool_], margin: int) -> slice:
    where = np.flatnonzero(occupied)
    if not where.size:
        return slice(0, 0)
    return slice(max(int(where[0]) - margin, 0), int(where[-1]) + 1 + margin)
