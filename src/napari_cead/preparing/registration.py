"""Registration of the sequences of one visit: the rigid move from one onto another.

Between two sequences a patient moves the head by a few millimetres, which no header tells. The method is that of Mattes
et al. 2003, *PET-CT image registration in the chest using free-form deformations*, as SimpleITK has it: mutual
information, which needs no two scans of one contrast, on grids of 4 and 2 mm. One thread, and the same random voxels
each time, so that the same scans give the same move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import Cancelled, GeometryError
from ..patients import MASK, Grid, Patient
from ..patients.resampling import resample
from ..patients.volumes import Volume, clean_intensities
from ..progress import Progress, Stop, tell
from .kept import keep_move, kept_move, move_key
from .mask_doubts import head_of

FINE_MM = 2.0
"""Voxels of the finer of the two grids on which scans are compared."""

LEAST_ALIKE = 1.04
"""Normalised mutual information (1: nothing in common) under which a registration has failed."""

USUALLY_ALIKE = 1.08
"""Under this it may have: two sequences of one visit have 1.13 and more, scans of two persons 1.06."""

FAR_MM, FAR_DEGREES = 30.0, 20.0
"""No head moves farther between two sequences of one visit: beyond it is said."""

_SEED = 1
_SHARE = 0.1  # of the voxels of the head, chosen at random, that are compared at a time
_BINS = 32
_AROUND_MM = 8.0  # the head's outline tells much, and it lies between the head and the air around it
_LEAST_COMMON = 0.3  # of the head that the other scan has to show


@dataclass(frozen=True, eq=False)
class Move:
    """The move of a sequence.

    Attributes:
        matrix: (4, 4) rigid, RAS+ millimetres: from where the header puts a point to where it lies in the scan.
        mm: Distance by which the middle of the head moved.
        degrees: Angle of its rotation.
        before: Normalised mutual information of the two scans as the headers place them, 1 to 2.
        after: The same after the move.
    """

    matrix: NDArray[np.float64]
    mm: float
    degrees: float
    before: float
    after: float

    @property
    def moved(self) -> bool:
        """Whether it was moved at all: it is not if no move is better than the header."""
        return not np.array_equal(self.matrix, np.eye(4))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "mm": round(self.mm, 3),
            "degrees": round(self.degrees, 3),
            "similarity_before": round(self.before, 5),
            "similarity_after": round(self.after, 5),
            "matrix": self.matrix.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Registered:
    """A patient whose sequences are aligned.

    Attributes:
        patient: The patient, in whom sequences and perhaps the lesion mask were moved.
        moves: How each sequence was moved, by name.
        notes: What was done, and what to look at, for the user.
    """

    patient: Patient
    moves: Mapping[str, Move] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def matrix_of(self, sequence: str) -> NDArray[np.float64] | None:
        """Return the move of a sequence on a grid of its own; None if it was not moved."""
        moved = sequence in self.moves and sequence in self.patient.elsewhere
        return self.moves[sequence].matrix if moved else None


def registered(
    patient: Patient, *, on_progress: Progress | None = None, should_stop: Stop | None = None
) -> Registered:
    """Move the sequences of a patient onto the one that detection uses, each as a rigid body.

    A sequence is moved from its own grid, so that it is resampled once. A lesion mask that lies on the grid of a
    sequence was drawn on that one, and moves along, to the nearest voxels.

    Args:
        patient: The patient, as read; it stays unchanged.
        on_progress: Called with (sequences done, total sequences).
        should_stop: Called at each step.

    Raises:
        GeometryError: If a sequence has too little in common with the one that detection uses.
        Cancelled: If ``should_stop`` returned true.
    """
    if patient.ignored is not None:
        raise GeometryError(
            "the reference has voxels that are not evaluated, which are not moved",
            file=patient.name,
            hint="leave --register out",
        )
    fixed = Volume(patient.volume(), patient.grid)
    others = [name for name in patient.sequences if name != patient.sequence]
    if not others:
        return Registered(patient, notes=("there is no other sequence to register",))
    sequences, moves, notes = dict(patient.sequences), {}, []
    for done, name in enumerate(others):
        tell(on_progress, done, len(others))
        own, key = _own(patient, name), move_key(_own(patient, name), fixed)
        if (kept := kept_move(key)) is None:
            place = str(patient.files.get(name, patient.name))
            moves[name] = move = find_move(own, fixed, name, place, should_stop=should_stop)
            keep_move(key, (move.matrix, move.mm, move.degrees, move.before, move.after))
        else:
            moves[name] = move = Move(*kept)
        if move.moved:
            volume = resample(own.data, own.grid, patient.grid, 1, moved=move.matrix)
            sequences[name] = clean_intensities(volume, name)[0]
        notes.append(_said(name, patient.sequence, move))
    lesion_mask, said = _mask_moved(patient, moves)
    notes += said
    tell(on_progress, len(others), len(others))
    made = replace(patient, sequences=sequences, lesion_mask=lesion_mask)
    return Registered(made, moves, tuple(notes))


def _own(patient: Patient, name: str) -> Volume:
    return patient.elsewhere.get(name) or Volume(patient.sequences[name], patient.grid)


def _said(name: str, onto: str, move: Move) -> str:
    if not move.moved:
        said = f"{name} was registered to {onto}: it lies best where its header places it"
    else:
        said = f"{name} was registered to {onto}: moved by {move.mm:.1f} mm and {move.degrees:.1f}°"
    if move.mm > FAR_MM or move.degrees > FAR_DEGREES:
        return (
            f"{said}, farther than a head moves between two sequences: look whether they lie on one another"
        )
    if move.after < USUALLY_ALIKE:
        return f"{said}, but they have little in common (similarity {move.after:.2f}): look whether they lie right"
    return said


def _mask_moved(
    patient: Patient, moves: Mapping[str, Move]
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return the lesion mask, moved with the sequence that it was drawn on by its grid, and what to say."""
    if patient.lesion_mask is None:
        return None, ()
    drawn = patient.elsewhere.get(MASK) or Volume(patient.lesion_mask, patient.grid)
    if drawn.grid.matches(_own(patient, patient.sequence).grid):
        return patient.lesion_mask, ()
    along = next((name for name in moves if drawn.grid.matches(_own(patient, name).grid)), None)
    if along is None:
        said = "the lesion mask lies on a grid of its own, and stays where its header places it"
        return patient.lesion_mask, (said,)
    if not moves[along].moved:
        return patient.lesion_mask, ()
    matrix = moves[along].matrix
    mask = resample(drawn.data.astype(np.uint8), drawn.grid, patient.grid, 0, moved=matrix) > 0
    return mask, (f"the lesion mask was moved with {along}, on whose grid it lies",)


def find_move(
    moving: Volume, fixed: Volume, what: str, place: str, *, should_stop: Stop | None = None
) -> Move:
    """Return the move of a scan onto another one of the same head.

    Args:
        moving: The scan that is to be moved.
        fixed: The scan that stays.
        what: Name of the moving one, for the message of an error.
        place: Its file, likewise.
        should_stop: Called at each step.

    Raises:
        GeometryError: If the scans have too little in common: they are not of one head, or one shows another part.
        Cancelled: If ``should_stop`` returned true.
    """
    here, there = _plain(fixed), _plain(moving)
    head = head_of(here.data)
    inside = here.seen & ndimage.binary_dilation(head, iterations=round(_AROUND_MM / FINE_MM))
    middle = (
        here.world(np.argwhere(head).mean(axis=0))
        if head.any()
        else here.world(np.array(here.data.shape) / 2)
    )
    starts = [np.zeros(6)]
    other = head_of(there.data)
    if head.any() and other.any():  # headers may be far off: once more from middle to middle
        starts.append(np.r_[0, 0, 0, there.world(np.argwhere(other).mean(axis=0)) - middle])
    coarse = [_optimise(here, there, inside, middle, start, 2, should_stop) for start in starts]
    best = max(coarse, key=lambda found: _alike(here, there, inside, _matrix(found, middle))[0])
    _refuse_unlike(*_alike(here, there, inside, _matrix(best, middle)), what, place)
    found = _matrix(_optimise(here, there, inside, middle, best, 1, should_stop), middle)
    before, (after, common) = _alike(here, there, inside, np.eye(4))[0], _alike(here, there, inside, found)
    _refuse_unlike(after, common, what, place)
    if after <= before:  # nothing is better than where the headers place it
        return Move(np.eye(4), 0.0, 0.0, before, before)
    matrix = np.asarray(np.linalg.inv(found), np.float64)
    moved = matrix @ np.r_[middle, 1.0]
    turned = np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1)))
    return Move(matrix, float(np.linalg.norm(moved[:3] - middle)), float(turned), before, after)


def _refuse_unlike(alike: float, common: float, what: str, place: str) -> None:
    if common < _LEAST_COMMON or alike < LEAST_ALIKE:
        raise GeometryError(
            f"{what} cannot be registered: the two scans have too little in common (similarity {alike:.3f}, of 1 to 2)",
            file=place,
            hint="look whether both show one head, or take them as their headers place them (--register never)",
        )


@dataclass(frozen=True, eq=False)
class _Plain:
    """A scan on cubes along the axes of the world: nothing of it depends on how its file is turned."""

    data: NDArray[np.float32]
    seen: NDArray[np.bool_]
    grid: Grid
    origin: NDArray[np.float64]

    def world(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """(x, y, z) in RAS+ mm of (z, y, x) indices."""
        return np.asarray((self.grid.canonical_affine @ np.r_[index[::-1], 1.0])[:3])


def _plain(volume: Volume) -> _Plain:
    grid = volume.grid
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in grid.shape])).reshape(3, -1)
    low, high = (
        edge(grid.affine[:3, :3] @ corners + grid.affine[:3, 3:], axis=1) for edge in (np.min, np.max)
    )
    shape = tuple(int(size) for size in np.maximum(1, np.ceil((high - low) / FINE_MM)))
    # LPS+ as canonical volumes are: no axis is flipped on the way.
    affine = np.diag([-FINE_MM, -FINE_MM, FINE_MM, 1.0])
    affine[:3, 3] = (
        high[0] - FINE_MM / 2,
        high[1] - FINE_MM / 2,
        low[2] + FINE_MM / 2,
    )
    target = Grid((shape[0], shape[1], shape[2]), affine)
    data = np.asarray(volume.data, np.float32)
    top = float(np.percentile(data[data > 0], 99.5)) if (data > 0).any() else 1.0
    sigmas = [max(0.0, 0.5 * (FINE_MM / size - 1)) for size in grid.spacing]
    smooth = ndimage.gaussian_filter(np.clip(data, 0, top) / top, sigmas)
    seen = resample(np.ones(data.shape, np.uint8), grid, target, 0) > 0
    return _Plain(resample(smooth, grid, target, 1), seen, target, affine[:3, 3])


def _image(sitk: Any, data: NDArray[Any], origin: NDArray[np.float64]) -> Any:
    image = sitk.GetImageFromArray(data)
    image.SetSpacing((FINE_MM,) * 3)
    image.SetDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    image.SetOrigin(tuple(float(value) for value in origin))
    return image


def _optimise(
    here: _Plain,
    there: _Plain,
    inside: NDArray[np.bool_],
    middle: NDArray[np.float64],
    start: NDArray[np.float64],
    shrink: int,
    should_stop: Stop | None,
) -> NDArray[np.float64]:
    """Return three angles and a shift from the fixed scan to the moving one that fit better than the start."""
    sitk: Any = import_module("SimpleITK")
    transform = sitk.Euler3DTransform()
    transform.SetCenter(tuple(float(value) for value in middle))
    transform.SetParameters(tuple(float(value) for value in start))
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(_SHARE, _SEED)
    method.SetMetricFixedMask(_image(sitk, inside.astype(np.uint8), here.origin))
    method.SetMetricMovingMask(_image(sitk, there.seen.astype(np.uint8), there.origin))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0 * shrink,
        minStep=0.001 * shrink,
        numberOfIterations=300,
        relaxationFactor=0.8,
        gradientMagnitudeTolerance=1e-8,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([float(shrink - 1)])
    method.SetInitialTransform(transform, inPlace=True)
    stopped = False

    def look() -> None:
        nonlocal stopped
        if should_stop is not None and should_stop():
            stopped = True
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, look)
    try:
        method.Execute(_image(sitk, here.data, here.origin), _image(sitk, there.data, there.origin))
    except RuntimeError:  # no voxel in common: the similarity of the start says so
        return start
    if stopped:
        raise Cancelled
    return np.array(transform.GetParameters())


def _matrix(parameters: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (4, 4) from the fixed scan's millimetres to the moving one's."""
    sitk: Any = import_module("SimpleITK")
    transform = sitk.Euler3DTransform()
    transform.SetCenter(tuple(float(value) for value in middle))
    transform.SetParameters(tuple(float(value) for value in parameters))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    return matrix


def _alike(
    here: _Plain, there: _Plain, inside: NDArray[np.bool_], matrix: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the normalised mutual information of the two, and which share of the head both show."""
    back = np.asarray(np.linalg.inv(matrix), np.float64)
    seen = (resample(there.seen.astype(np.uint8), there.grid, here.grid, 0, moved=back) > 0) & inside
    if not seen.any():
        return 1.0, 0.0
    values = resample(there.data, there.grid, here.grid, 1, moved=back)[seen]
    counts = np.histogram2d(here.data[seen], values, bins=_BINS)[0]
    joint = counts / counts.sum()
    one, other, both = (_entropy(part) for part in (joint.sum(axis=0), joint.sum(axis=1), joint))
    return (one + other) / both if both > 0 else 1.0, float(seen.sum() / max(1, inside.sum()))


def _entropy(shares: NDArray[np.float64]) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
