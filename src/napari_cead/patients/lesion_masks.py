"""Bringing a lesion mask onto its scan, and recognising masks that cannot be of lesions by their extent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nibabel import affines
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import MaskError, PatientError
from ..metrics.overlap import volume_ml
from .backgrounds import border_share, typical_level
from .brain import brain_mask
from .findings import Code, Note
from .grid import Grid
from .volumes import Volume, clean_mask, onto, voxel_for_voxel

MOST = 1 / 3
"""A mask that covers a larger share of the brain is no lesion mask."""
MOST_OF_A_SLAB = 0.6
"""The same for a few slices: a large stroke fills much of one."""
SLAB = 4
"""Largest number of few slices."""
OUTLINE = 0.8
"""A mask whose Dice with the brain is higher follows the brain's outline."""
OUTSIDE = 0.1
"""Largest share of the lesion voxels that may lie outside the brain."""
MOST_OUTSIDE = 1 / 3
"""The same for a mask that does not say where it lies: one of another scan has more."""
CHANGED = 0.1
"""A larger relative change of the lesion volume by resampling is a finding."""

HEAD = 0.25
"""Where noise fills the background, the head is what is above this share of its own level."""
NO_LESIONS = "that is no lesion mask"
"""Said of a mask whose extent rules out lesions."""

FOLLOWS = "follows the outline of the brain"
"""The note on a mask of the whole brain, which holds no lesions and tells nothing about them."""

LARGE = 0.1
"""A mask of a larger share of the brain that lies mostly outside of it is no lesion mask."""

_SMALL = 0.01  # share of all voxels below which a mask is too small to check
_EVERYWHERE = 0.5  # share of the slices' border; a "brain" that fills more is a background of noise


class Resampled(NamedTuple):
    """The loss of a mask on another grid.

    Attributes:
        lesions: Lesions (26-connected) on its own grid.
        kept: Those of them that are still there.
        before_ml: Volume on its own grid.
        after_ml: Volume on the grid of the scan.
    """

    lesions: int
    kept: int
    before_ml: float
    after_ml: float

    @property
    def much(self) -> bool:
        """Whether a lesion is gone, or the volume another one."""
        return self.kept < self.lesions or abs(self.after_ml - self.before_ml) > CHANGED * self.before_ml

    @property
    def changed(self) -> bool:
        """Whether it is another mask than before, as far as the figures of the sentence tell."""
        return self.kept < self.lesions or f"{self.before_ml:.3g}" != f"{self.after_ml:.3g}"

    @property
    def sentence(self) -> str:
        """The same for a reader."""
        lost = self.lesions - self.kept
        gone = f": {lost} {'is' if lost == 1 else 'are'} lost" if lost else ""
        return (
            f"resampling keeps {self.kept} of {self.lesions} lesions{gone}; {self.before_ml:.3g} mL become "
            f"{self.after_ml:.3g} mL"
        )


def split_labels(
    mask: Volume, lesion: tuple[int, ...], ignored: tuple[int, ...], file: Path
) -> tuple[Volume, Volume | None]:
    """Part a reference into the lesion and what is not evaluated, as a layout says.

    Args:
        mask: As read.
        lesion: Labels of the lesion; empty: all that are not ignored.
        ignored: Labels of voxels that are not evaluated.
        file: To name in messages.

    Returns:
        Both as 0 and 1; None if nothing is ignored in this mask.

    Raises:
        MaskError: If it is an image, or holds a label that the layout does not name.
    """
    clean_mask(mask.data, str(file))
    labels = np.asarray(mask.data)
    if lesion:
        unknown = sorted({int(value) for value in np.unique(labels[labels > 0])} - {*lesion, *ignored})
        if unknown:
            raise MaskError(
                f"label {unknown[0]} is none of those of the layout",
                file=file,
                hint="give the layout of this data set, or name the label in it",
            )
    unseen = np.isin(labels, ignored)
    meant = np.isin(labels, lesion) if lesion else (labels > 0) & ~unseen
    return replace(mask, data=meant.astype(np.uint8)), (
        replace(mask, data=unseen.astype(np.uint8)) if unseen.any() else None
    )


def place_mask(
    mask: Volume, grid: Grid, scan: NDArray[np.float32], file: Path
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Bring a lesion mask onto the grid of its scan.

    Args:
        mask: As read.
        grid: Of the scan.
        scan: (Z, Y, X) intensities on that grid, background 0.
        file: To name in messages.

    Returns:
        (Z, Y, X) bool, and what was assumed or lost on the way.

    Raises:
        MaskError: If its values are not those of a mask, or it cannot belong to the scan.
    """
    labels, found = clean_mask(mask.data, str(file))
    doubt, resampled = voxel_for_voxel(mask.grid, grid), not mask.grid.matches(grid)
    if mask.grid.identity and mask.grid.has_orientation and grid.placed and mask.grid.shape != grid.shape:
        raise MaskError(
            "its affine is the identity, which says nothing about where it lies, and it has "
            f"{' x '.join(map(str, mask.grid.shape))} voxels where the scan has {' x '.join(map(str, grid.shape))}",
            file=file,
            hint="save the mask with the affine of the scan, or of the grid that it was drawn on",
        )
    pieces, count = labels.astype(np.uint8), 0
    if resampled and not doubt:
        pieces, count = ndimage.label(labels, structure=np.ones((3, 3, 3)))
    try:
        moved = onto(Volume(pieces, mask.grid, mask.warnings), grid, 0, file.name)
    except PatientError as error:
        raise MaskError(
            "the lesion mask lies outside the scan", file=file, hint="give the mask of this scan"
        ) from error
    lesion = moved.data > 0
    notes = (*found, *moved.warnings)
    if not labels.any():
        return lesion, notes
    kept = len(np.unique(moved.data[lesion])) if count else 0
    lost = Resampled(count, kept, volume_ml(labels, mask.grid.spacing), volume_ml(lesion, grid.spacing))
    if not lesion.any():
        if doubt or not _reaches(labels, mask.grid, grid):
            raise MaskError(
                "no lesion voxel falls inside the scan", file=file, hint="give the mask of this scan"
            )
        raise MaskError(
            f"all {count} lesions ({lost.before_ml:.3g} mL) are too small for the voxels of the scan and are lost in "
            "resampling",
            file=file,
            hint="draw the mask on the voxels of the scan",
        )
    if (out := outside(lesion, scan)) > OUTSIDE:
        blind = doubt and mask.grid.has_orientation and grid.has_orientation
        if blind and out > MOST_OUTSIDE:
            raise MaskError(
                f"{doubt}; taken voxel for voxel, {out:.0%} of the lesion lies outside the brain",
                file=file,
                hint="save the mask with the affine of the scan",
            )
        notes = (*notes, Note("mask-place", f"{out:.0%} of the lesion lies outside the brain", file.name))
    if count and lost.changed:
        code: Code = "lesions-lost" if lost.much else "lesions-changed"
        notes = (*notes, Note(code, lost.sentence, file.name))
    return lesion, notes


def not_used(file: Path, doubt: str) -> Note:
    """Return the note on a mask that was found and left out because of its extent; `unlike_lesions` has the doubt."""
    return Note(
        "mask-covers",
        f"{file.name} {doubt}: {NO_LESIONS}, so it is not used and the patient counts as unlabelled; name it with "
        "--mask (mask= in Python) to use it all the same",
    )


def outside(lesion: NDArray[np.bool_], scan: NDArray[np.float32]) -> float:
    """Return the share of the lesion voxels that lie where the scan is 0."""
    there = scan[lesion]
    return int(np.count_nonzero(there == 0)) / max(1, there.size)


def unlike_lesions(lesion: NDArray[np.bool_], scan: NDArray[np.float32]) -> str:
    """Return in one clause why the extent of a mask rules out lesions; empty if it does not.

    Args:
        lesion: (Z, Y, X) bool.
        scan: (Z, Y, X) intensities, background 0.
    """
    size = int(np.count_nonzero(lesion))
    if size <= _SMALL * lesion.size:
        return ""
    brain = brain_mask(scan)
    if border_share(brain) > _EVERYWHERE:
        brain = brain_mask(scan > HEAD * typical_level(scan))
    common, whole = int(np.count_nonzero(lesion & brain)), int(np.count_nonzero(brain))
    if 2 * common > OUTLINE * (size + whole):
        return f"{FOLLOWS} (Dice {2 * common / (size + whole):.2f})"
    if common > (MOST if len(lesion) > SLAB else MOST_OF_A_SLAB) * whole:
        return f"covers {common / whole:.0%} of the brain"
    # A lesion at the rim may lie where skull stripping cut the brain; it is not as large as a tenth of the brain.
    if size > LARGE * whole and (out := outside(lesion, scan)) > MOST_OUTSIDE:
        return f"lies outside the brain ({out:.0%} of it)"
    return ""


def _reaches(lesion: NDArray[Any], here: Grid, grid: Grid) -> bool:
    """Whether a voxel of the lesion lies within the other grid."""
    to_grid = np.linalg.inv(grid.canonical_affine) @ here.canonical_affine
    places = affines.apply_affine(to_grid, np.argwhere(lesion)[:, ::-1])
    size = np.array(grid.canonical_shape[::-1])
    return bool(((places > -0.5) & (places < size - 0.5)).all(axis=1).any())
