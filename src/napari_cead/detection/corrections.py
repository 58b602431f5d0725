"""What a person painted into a detected mask: kept apart from it, saved, and applied again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MaskError, PatientError
from ..metrics import dice
from ..patients import Patient
from ..patients.volumes import read_volume

if TYPE_CHECKING:
    from .pipeline import Detection

Mask = NDArray[np.bool_]

ADDED, REMOVED = 1, 2
"""Labels of a saved correction: painted in, erased."""

_HINT = "give the corrections that were exported for this scan"


@dataclass(frozen=True, eq=False)
class Corrections:
    """What the user painted into the detected mask, kept apart so that it survives a moved slider.

    Attributes:
        added: (Z, Y, X) bool, voxels painted in.
        removed: (Z, Y, X) bool, voxels erased.
    """

    added: Mask = field(repr=False)
    removed: Mask = field(repr=False)

    @classmethod
    def between(cls, automatic: Mask, painted: Mask) -> Corrections | None:
        """Return the corrections that turn the automatic mask into the painted one; None if they are equal."""
        added, removed = painted & ~automatic, automatic & ~painted
        return cls(added, removed) if added.any() or removed.any() else None

    @classmethod
    def from_volume(cls, labels: NDArray[Any], what: str | Path = "corrections") -> Corrections:
        """Return the corrections that `volume` gave.

        Args:
            labels: (Z, Y, X): 0 as detected, 1 painted in, 2 erased; of any type.
            what: File or layer to name in messages.

        Raises:
            MaskError: If there are other values.
        """
        array = np.asarray(labels)
        added, removed = array == ADDED, array == REMOVED
        if not (added | removed | (array == 0)).all():
            raise MaskError("corrections hold the values 0, 1 and 2 alone", file=what, hint=_HINT)
        return cls(added, removed)

    def apply(self, automatic: Mask, z: int | None = None) -> Mask:
        """Return an automatic mask, (Z, Y, X) or the (Y, X) of slice ``z``, with the corrections."""
        added, removed = (self.added, self.removed) if z is None else (self.added[z], self.removed[z])
        return np.asarray((automatic | added) & ~removed)

    def volume(self) -> NDArray[np.uint8]:
        """Return (Z, Y, X) labels: 1 painted in, 2 erased."""
        return np.asarray(ADDED * self.added + REMOVED * self.removed.astype(np.uint8), dtype=np.uint8)


@dataclass(frozen=True)
class Packed:
    """Corrections as the indices of their voxels: a history keeps many of them, and compares them.

    Attributes:
        shape: (Z, Y, X).
        added: Flat indices of the voxels painted in, as bytes.
        removed: Those of the voxels erased.
    """

    shape: tuple[int, ...]
    added: bytes = field(repr=False)
    removed: bytes = field(repr=False)

    @classmethod
    def of(cls, corrections: Corrections) -> Packed:
        """Pack corrections."""
        added, removed = (np.flatnonzero(one).tobytes() for one in (corrections.added, corrections.removed))
        return cls(corrections.added.shape, added, removed)

    def corrections(self) -> Corrections:
        """Return the corrections."""
        return Corrections(self._mask(self.added), self._mask(self.removed))

    def _mask(self, indices: bytes) -> Mask:
        mask = np.zeros(self.shape, dtype=bool)
        mask.flat[np.frombuffer(indices, dtype=np.intp)] = True
        return mask


def read_corrections(path: str | Path, patient: Patient) -> Corrections:
    """Read corrections that were exported for a patient.

    Args:
        path: NIfTI file of labels in the grid of the patient's scan.
        patient: The patient they are for. Never resampled: a painted voxel is that voxel.

    Raises:
        MaskError: If the file cannot be read, lies on another grid or holds other values than 0, 1 and 2.
    """
    file = Path(path).expanduser()
    try:
        read = read_volume(file)
    except PatientError as error:
        raise MaskError(error.reason, file=file, hint=error.hint) from error
    if not read.grid.matches(patient.grid):
        raise MaskError(
            f"the corrections do not lie on the grid of {patient.name}'s {patient.sequence}",
            file=file,
            hint=_HINT,
        )
    return Corrections.from_volume(read.data, file)


def corrected(result: Detection, corrections: Corrections) -> Detection:
    """Return a detection whose mask, and with it Dice, is the corrected one."""
    mask, reference = corrections.apply(result.mask), result.patient.lesion_mask
    return replace(result, mask=mask, dice=None if reference is None else dice(mask, reference))
