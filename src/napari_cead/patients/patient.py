"""A patient in memory: co-registered sequences, the lesion mask if there is one, and the way back to disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import (
    GeometryError,
    MaskError,
    MissingSequenceError,
    ParameterError,
    UnsupportedError,
)
from .grid import Grid
from .lesion_masks import unlike_lesions
from .prepared import Prepared
from .volumes import Volume, clean_intensities, clean_mask


@dataclass(frozen=True, eq=False)
class Patient:
    """Sequences of one patient on one grid. Immutable; validated when made.

    Arrays are (Z, Y, X) in canonical LPS order: z inferior to superior, y anterior to posterior, x patient
    right to left, so that row 0 is anterior and column 0 is the patient's right (radiological view).

    Attributes:
        name: Name of the patient, for instance ``"Mets_005"``.
        sequence: The sequence that detection uses by default.
        sequences: Canonical sequence name to (Z, Y, X) float32 intensities, finite.
        lesion_mask: (Z, Y, X) bool, or None for an unlabelled patient. Unlabelled is not healthy.
        spacing: (z, y, x) in mm.
        grid: The grid of the files, for writing results back onto it.
        files: Where each sequence (and ``"seg"``) came from.
        warnings: What was assumed, repaired or left out.
        prepared: What was done to the scans since they were read; None for nothing.
        elsewhere: Sequences (and ``"seg"``) whose files lie on another grid, as they are there: their entries above are
            resampled.
        ignored: (Z, Y, X) bool, voxels that the reference leaves out of an evaluation; None without any.

    Raises:
        PatientError: If sequences disagree in shape, hold nothing, or lack ``sequence``.
        MaskError: If the lesion mask has another shape or is an image.
    """

    name: str
    sequence: str
    sequences: Mapping[str, NDArray[np.float32]]
    lesion_mask: NDArray[np.bool_] | None
    spacing: tuple[float, float, float]
    grid: Grid = field(repr=False)
    files: Mapping[str, Path] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()
    prepared: Prepared | None = field(default=None, repr=False)
    elsewhere: Mapping[str, Volume] = field(default_factory=dict, repr=False)
    ignored: NDArray[np.bool_] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape = self.grid.canonical_shape
        if self.sequence not in self.sequences:
            have = ", ".join(self.sequences) or "nothing"
            raise MissingSequenceError(
                f"there is no {self.sequence!r} sequence, only {have}",
                file=self.name,
                hint="choose one of these sequences",
            )
        for sequence, volume in self.sequences.items():
            if volume.shape != shape:
                raise GeometryError(
                    f"{sequence} has shape {volume.shape}, expected {shape}",
                    file=self.name,
                    hint="give sequences on one grid",
                )
        if self.lesion_mask is not None and self.lesion_mask.shape != shape:
            raise MaskError(
                f"the lesion mask has shape {self.lesion_mask.shape}, expected {shape}",
                file=self.name,
                hint="give a mask on the grid of the scan",
            )
        _check_spacing(self.spacing, self.name)

    @classmethod
    def from_arrays(
        cls,
        sequences: Mapping[str, NDArray[Any]],
        *,
        sequence: str | None = None,
        lesion_mask: NDArray[Any] | None = None,
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        name: str = "patient",
        grid: Grid | None = None,
        files: Mapping[str, Path] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> Patient:
        """Make a patient from arrays in memory, for instance from layers open in a viewer.

        Args:
            sequences: Name to (Z, Y, X) array of any real type, canonical LPS order; (Y, X) is one slice.
            sequence: Default sequence; the first one if None.
            lesion_mask: (Z, Y, X) labels or bool.
            spacing: (z, y, x) in mm.
            name: Name of the patient.
            grid: Grid of the source files; an axis-aligned one of ``spacing`` if None.
            files: Source files by sequence name.
            warnings: Warnings to carry along.

        Raises:
            PatientError: As for the class, and for NaN over half or volumes that are zero everywhere.
            MaskError: If the mask is an image.
        """
        if not sequences:
            raise ParameterError("a patient needs at least one sequence", hint="give {'flair': array}")
        _check_spacing(spacing, name)
        notes = list(warnings)
        cleaned: dict[str, NDArray[np.float32]] = {}
        for key, data in sequences.items():
            array = np.asarray(data)
            if array.dtype.kind not in "fiub" or array.ndim not in (2, 3):
                raise UnsupportedError(
                    f"an array of type {array.dtype} and shape {array.shape} is not a scan",
                    file=key,
                    hint="give real values in (Z, Y, X)",
                )
            cleaned[key], found = clean_intensities(array[None] if array.ndim == 2 else array, key)
            notes.extend(found)
        shape = next(iter(cleaned.values())).shape
        mask = None
        if lesion_mask is not None:
            labels = np.asarray(lesion_mask)
            mask, found = clean_mask(labels[None] if labels.ndim == 2 else labels, "lesion mask")
            notes.extend(found)
        chosen = sequence or next(iter(cleaned))
        fits = mask is not None and chosen in cleaned and mask.shape == cleaned[chosen].shape
        if mask is not None and fits and (doubt := unlike_lesions(mask, cleaned[chosen])):
            notes.append(f"the lesion mask {doubt}; it is used because it was given")
        return cls(
            name=name,
            sequence=chosen,
            sequences=cleaned,
            lesion_mask=mask,
            spacing=spacing,
            grid=grid or Grid.of_spacing((shape[0], shape[1], shape[2]), spacing),
            files=dict(files or {}),
            warnings=tuple(notes),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        return self.grid.canonical_shape

    def volume(self, sequence: str | None = None) -> NDArray[np.float32]:
        """Return the intensities of a sequence (the default one if None), (Z, Y, X) float32.

        Raises:
            PatientError: If the patient lacks it.
        """
        return self.select(sequence or self.sequence).sequences[sequence or self.sequence]

    def raw(self) -> Patient:
        """Return the same patient as it was read: not registered, with its skull, and with its bias field."""
        made = self.prepared
        if made is None:
            return self
        notes = tuple(note for note in self.warnings if note not in made.notes)
        mask = self.lesion_mask
        if made.lesion_masks is not None and mask is made.lesion_masks[1]:  # not one that was given since
            mask = made.lesion_masks[0]
        return replace(self, sequences=dict(made.raw), lesion_mask=mask, warnings=notes, prepared=None)

    def select(self, sequence: str) -> Patient:
        """Return the same patient with another default sequence.

        Raises:
            PatientError: If the patient lacks it.
        """
        return self if sequence == self.sequence else replace(self, sequence=sequence)

    def with_lesion_mask(self, mask: NDArray[Any] | None) -> Patient:
        """Return the same patient with another lesion mask (or none).

        Raises:
            MaskError: If the mask has another shape or is an image.
        """
        return replace(self, lesion_mask=None if mask is None else clean_mask(mask, "lesion mask")[0])


def _check_spacing(spacing: tuple[float, float, float], name: str) -> None:
    if len(spacing) != 3 or not all(np.isfinite(size) and size > 0 for size in spacing):
        raise GeometryError(f"impossible voxel size {spacing} mm", file=name, hint="repair the header")
