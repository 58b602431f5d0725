"""Finding the brain in a scan with its skull: a stripper, the cache of what it found, and whether that can be right."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..devices import pick_device
from ..errors import GeometryError, MaskError, MissingExtraError
from ..patients import Patient
from ..slices import looks_skull_stripped
from .judging import judge
from .kept import keep_mask, kept_mask, key_of
from .strippers import DEFAULT_STRIPPER, HeadScan, OnProgress, ShouldStop, find_stripper

LEAST_SLICES = 8
"""Slices in which a head can be told from other things."""


@dataclass(frozen=True, eq=False)
class Stripped:
    """A brain that was found.

    Attributes:
        mask: (Z, Y, X) bool on the patient's grid.
        stripper: What found it.
        version: Of the stripper.
        device: What it ran on.
        millilitres: Volume of the brain.
        seconds: How long it took.
        kept: Whether it was found before and came from the cache.
        doubts: What to look at, each in one clause.
    """

    mask: NDArray[np.bool_] = field(repr=False)
    stripper: str
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
    device: str = "auto",
    use_kept: bool = True,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Stripped:
    """Find the brain in a scan of the whole head.

    What was found is kept in the platform's cache folder, and taken from there when the same voxels come again.

    Args:
        patient: The patient; it is left as it is.
        stripper: Name of the stripper, or ``command:PROGRAM … {input} … {output}``.
        sequence: The scan to use; None: that which detection uses.
        device: See :func:`~napari_cead.devices.pick_device`.
        use_kept: Whether to look into the cache.
        on_progress: Called with (steps done, steps in all).
        should_stop: Asked several times a second.

    Raises:
        MissingSequenceError: If there is no such scan.
        GeometryError: If there are too few slices.
        MissingExtraError: If the stripper is not installed.
        MaskError: If what it found cannot be a brain.
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
    scan = HeadScan(
        np.asarray(source.volume(name), np.float32),
        source.grid,
        name,
        str(source.files.get(name, source.name)),
    )
    if len(scan.volume) < LEAST_SLICES:
        count = len(scan.volume)
        raise GeometryError(
            f"a skull cannot be stripped in {count} slice{'' if count == 1 else 's'}",
            file=scan.place,
            mend=f"give a volume of at least {LEAST_SLICES} slices, or one that is stripped already",
        )
    if (need := found.missing()) is not None:
        raise MissingExtraError(f"Skull-stripping needs {found.name}, which is not installed", mend=need)
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
                mend="use another stripper",
            )
    skull = not looks_skull_stripped(scan.volume, scan.spacing).stripped
    doubts = judge(mask, scan, found.name, skull=skull)
    if not kept and use_kept:
        keep_mask(key, mask)
    return Stripped(
        mask,
        found.name,
        version,
        where,
        float(mask.sum()) * float(np.prod(scan.spacing)) / 1000,
        time.perf_counter() - started,
        kept,
        doubts,
    )
