"""One synthetic patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from .anatomy import make_anatomy
from .appearance import render
from .fields import Array, Grid
from .lesions import make_lesions, mask_of
from .metastases import MOST, metastases_called

SHAPE = (150, 256, 256)


@dataclass(frozen=True)
class PhantomPatient:
    """A synthetic patient with brain metastases.

    Args:
        name: ``Mets_001`` and so on.
        sequences: ``bravo``, ``t1_pre``, ``t1_gd`` and ``flair``, each (Z, Y, X) float32 with whole numbers, in
            canonical LPS order; exactly 0 outside the brain and nowhere within.
        lesion_mask: (Z, Y, X) bool, the tumour cores as seen on ``bravo``.
        spacing: Voxel size (z, y, x) in mm.
    """

    name: str
    sequences: dict[str, Array]
    lesion_mask: NDArray[np.bool_]
    spacing: tuple[float, float, float]


def make_patient(
    seed: int,
    number: int = 0,
    lesions: int | None = None,
    shape: tuple[int, int, int] = SHAPE,
    *,
    varied: bool = False,
    metastases: str = "default",
) -> PhantomPatient:
    """Make a synthetic patient on the ICBM-152 anatomy.

    The same ``seed`` and ``number`` give the same patient, however many others are made.

    Args:
        seed: Seed of the cohort, not negative.
        number: Number of the patient in the cohort, not negative.
        lesions: Number of metastases, 0 to 20; ``None`` draws it.
        shape: Voxels (z, y, x) over the same field of view of 150 x 240.6 x 240.6 mm.
        varied: Whether contrast and noise vary as between many scanners instead of as within one study.
        metastases: What number, size and oedema are drawn from: ``"default"`` (1 to 20, mostly few) or
            ``"brainmetshare"`` (see :class:`~.metastases.BrainMetShare`).

    Returns:
        The patient.

    Raises:
        ParameterError: If an argument is out of its range.
        MissingExtraError: If nilearn is not installed.
    """
    if seed < 0 or number < 0:
        raise ParameterError(f"seed {seed} and number {number} must not be negative", hint="use 0 or more")
    if lesions is not None and not 0 <= lesions <= MOST:
        raise ParameterError(f"{lesions} lesions cannot be made", hint=f"ask for 0 to {MOST}")
    if len(shape) != 3 or min(shape) < 16:
        raise ParameterError(f"the shape {shape} is too small", hint="use at least 16 voxels along each axis")
    statistics = metastases_called(metastases)
    grid = Grid(shape)
    anatomy = make_anatomy(seed, number, grid)
    placed = make_lesions(seed, number, anatomy, lesions, statistics)
    sequences = {}
    for name, image in render(seed, number, anatomy, placed, varied=varied).items():
        sequences[name] = np.zeros(shape, np.float32)
        sequences[name][anatomy.box] = image
    mask = np.zeros(shape, dtype=bool)
    mask[anatomy.box] = mask_of(placed, anatomy.brain.shape)
    return PhantomPatient(f"Mets_{number:03d}", sequences, mask, grid.spacing)
