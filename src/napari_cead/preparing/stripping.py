"""Finding the brain in a scan with its skull: a stripper, the cache of its masks, and the check of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..devices import pick_device
from ..errors import GeometryError, MaskError, MissingExtraError
from ..patients import Patient
from ..patients.resampling import resample
from ..patients.volumes import Volume
from ..progress import Progress, Stop
from ..slices import looks_skull_stripped
from .kept import keep_mask, kept_mask, key_of
from .mask_doubts import doubts_about
from .strippers import DEFAULT_STRIPPER, HeadScan, find_stripper

LEAST_SLICES = 8
"""Fewest slices in which a head is recognisable."""


@dataclass(frozen=True, eq=False)
class Stripped:
    """A brain mask and its origin.

    Attributes:
        mask: (Z, Y, X) bool on the patient's grid.
        stripper: Name of its stripper.
        sequence: The sequence in which it was found.
        version: Of the stripper.
        device: Device that it ran on.
        millilitres: Volume of the brain.
        seconds: Duration.
        kept: Whether it came from the cache.
        doubts: Doubts about it, each in one clause.
    """

    mask: NDArray[np.bool_] = field(repr=False)
    stripper: str
    sequence: str
    version: str
    device: str
    millilitres: float
    seconds: float
    kept: bool = False
    doubts: tuple[str, ...] = ()


def find_brain(
    patient: Patient,
    stripper: str = DEFAULT_STRIPPER,
    *,
    sequence: str | None = None,
    moved: NDArray[np.float64] | None = None,
    device: str = "auto",
    use_kept: bool = True,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Stripped:
    """Find the brain in a scan of the whole head.

    A sequence whose file lies on another grid is looked at as it is there, and the mask is brought onto the patient's
    grid, to the nearest voxels. What was found is kept in the platform's cache folder, and taken from there when the
    same voxels come again.

    Args:
        patient: The patient; it stays unchanged.
        stripper: Name of the stripper, or ``command:PROGRAM … {input} … {output}``.
        sequence: The scan to use; None: that which detection uses.
        moved: (4, 4) in RAS+ mm: how that scan was registered; None: it lies where its header places it.
        device: See :func:`~napari_cead.devices.pick_device`.
        use_kept: Whether to use the cache.
        on_progress: Called with (steps done, total steps).
        should_stop: Called several times a second.

    Raises:
        MissingSequenceError: If there is no such scan.
        GeometryError: If there are too few slices.
        MissingExtraError: If the stripper is not installed.
        MaskError: If its mask cannot be of a brain.
        PatientError: If it failed.
        ParameterError: If there is no such stripper.
        Cancelled: If ``should_stop`` returned true.

    Example:
        >>> brain = find_brain(load_patient("raw_flair.nii.gz"))  # doctest: +SKIP
        >>> brain.doubts  # doctest: +SKIP
        ('scalp is left at the vertex: …',)
    """
    found = find_stripper(stripper)
    name = patient.sequence if sequence is None else sequence
    source = patient.raw()
    own = source.elsewhere.get(name) or Volume(source.volume(name), source.grid)
    scan = _scan_of(source, name, own)
    if len(scan.volume) < LEAST_SLICES:
        count = len(scan.volume)
        raise GeometryError(
            f"a skull cannot be stripped in {count} slice{'' if count == 1 else 's'}",
            file=scan.place,
            hint=f"give a volume of at least {LEAST_SLICES} slices, or one that is stripped already",
        )
    if (need := found.missing()) is not None:
        raise MissingExtraError(f"Skull-stripping needs {found.name}, which is not installed", hint=need)
    where, version = pick_device(device).type, found.version()
    key, started = key_of(scan, found.name, version, where), time.perf_counter()
    mask = kept_mask(key, scan.volume.shape) if use_kept else None
    kept = mask is not None
    if mask is None:
        mask = np.asarray(
            found.extract(scan, device=device, on_progress=on_progress, should_stop=should_stop), bool
        )
        if mask.shape != scan.volume.shape:
            raise MaskError(
                f"{found.name} gave a mask of shape {mask.shape}, the scan has {scan.volume.shape}",
                file=scan.place,
                hint="use another stripper",
            )
    doubts = _judged(mask, scan, found.name)
    if not kept and use_kept:
        keep_mask(key, mask)
    if own.grid is not source.grid or moved is not None:
        mask, said = _brought(mask, own, source, name, moved)
        there = _scan_of(source, source.sequence, Volume(source.volume(), source.grid))
        more = _judged(mask, there, f"{found.name} in {name}")
        doubts = tuple(dict.fromkeys((*doubts, *said, *more)))
    return Stripped(
        mask,
        found.name,
        name,
        version,
        where,
        float(mask.sum()) * float(np.prod(source.spacing)) / 1000,
        time.perf_counter() - started,
        kept,
        doubts,
    )


def _scan_of(patient: Patient, name: str, own: Volume) -> HeadScan:
    place = str(patient.files.get(name, patient.name))
    return HeadScan(np.asarray(own.data, np.float32), own.grid, name, place)


def _judged(mask: NDArray[np.bool_], scan: HeadScan, what: str) -> tuple[str, ...]:
    skull = not looks_skull_stripped(scan.volume, scan.spacing).stripped
    return doubts_about(mask, scan, what, skull=skull)


def _brought(
    mask: NDArray[np.bool_], own: Volume, patient: Patient, name: str, moved: NDArray[np.float64] | None
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return a brain mask on the patient's grid, and what is to be looked at."""
    brain, seen = (
        resample(part.astype(np.uint8), own.grid, patient.grid, 0, moved=moved) > 0
        for part in (mask, np.ones_like(mask))
    )
    edge = brain & ndimage.binary_dilation(~seen)  # the patient's own grid may end anywhere
    if np.count_nonzero(edge) > _MOST_CUT * int(np.count_nonzero(brain)):
        return brain, (f"{name} ends inside the brain: what {patient.sequence} shows beyond it is left out",)
    return brain, ()


_MOST_CUT = 0.002  # of the brain, at the end of the scan that it was found in
