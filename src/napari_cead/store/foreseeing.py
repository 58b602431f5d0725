"""What a preparation will make of a cohort, judged by the names of its files and their headers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import PatientError
from ..patients.datasets import find_layout
from ..patients.formats.nifti import read_header
from ..patients.formats.png import slice_files
from .parts import PARTS, Part, assign_patients
from .scan_list import scans_of
from .sources import source_files

SEED, VALIDATION, TEST = 0, 0.15, 0.15
"""The split of `prepare` unless it is asked for another."""

BRAIN_MM = 107.0
"""Height of the part of a brain whose slices hold enough of it to be trained on: the median of 12 stripped scans."""


@dataclass(frozen=True)
class Foreseen:
    """The split and size of a store that does not exist yet.

    Attributes:
        parts: The part of each patient that can be used, by name.
        left_out: Number of the others.
        slices: Estimated number of slices with enough brain by part; None if no header tells.
    """

    parts: Mapping[str, Part]
    left_out: int
    slices: Mapping[Part, int] | None

    @property
    def summary(self) -> str:
        """How many patients go where."""
        found = Counter(self.parts.values())
        return f"{found['train']} to train, {found['validation']} to validate, {found['test']} to test"


def foresee(
    data: Path, sequence: str | None = None, *, assume_healthy: bool = False, layout: str | None = None
) -> Foreseen:
    """Return what `prepare` will make of a cohort. Patients that turn out to be unusable when read are in it.

    Args:
        data: Folder of patients, or a scan list.
        sequence: The sequence; None: that of the list, or FLAIR.
        assume_healthy: Whether patients without a lesion mask count as healthy.
        layout: Layout of the folder.

    Raises:
        CeadError: If there are no patients, or the list or layout cannot be read.
    """
    listing = scans_of(data, sequence, None if layout is None else find_layout(layout))
    fixed = any(scan.part for scan in listing.scans)
    labelled: dict[str, bool] = {}
    depths: dict[str, int | None] = {}
    parts: dict[str, Part] = {}
    for scan in listing.scans:
        try:
            files = scan.files(listing.sequence)
            source_files(files, listing.sequence, scan.scan)
        except PatientError:
            continue
        healthy = assume_healthy or scan.healthy
        if (files.mask is None and not healthy) or (fixed and scan.part is None):
            continue
        if scan.part is not None:
            parts[scan.name] = scan.part
        labelled[scan.name] = files.mask is not None
        depths[scan.name] = _slices(files.sequences[listing.sequence])
    parts = parts if fixed else split_by_patient(labelled)
    return Foreseen(parts, len(listing.scans) - len(labelled), _estimated(parts, depths))


def split_by_patient(labelled: Mapping[str, bool]) -> dict[str, Part]:
    """Return the part of each patient, by name: whether it has a lesion mask decides who can be a test patient."""
    has, lacks = ([name for name, own in labelled.items() if own == wanted] for wanted in (True, False))
    return assign_patients(has, lacks, {}, seed=SEED, validation=VALIDATION, test=TEST)


def _estimated(parts: Mapping[str, Part], depths: Mapping[str, int | None]) -> Mapping[Part, int] | None:
    """Return the slices of each part; a patient whose header says nothing counts as the mean of the others."""
    known = [depth for depth in depths.values() if depth is not None]
    if not known:
        return None
    usual, found = sum(known) / len(known), dict.fromkeys(PARTS, 0.0)
    for name, part in parts.items():
        depth = depths[name]
        found[part] += usual if depth is None else depth
    return {part: round(slices) for part, slices in found.items()}


def _slices(scan: Path) -> int | None:
    """Return about how many slices of a scan hold enough brain; None if its header does not tell."""
    try:
        if scan.is_dir():
            return len(slice_files(scan)) or None
        header = read_header(scan)
    except (OSError, PatientError):
        return None
    if header is None or len(header.shape) < 3:
        return None
    columns = header.affine[:3, :3]
    axis = int(np.argmax(np.abs(columns[2])))
    thickness = float(np.linalg.norm(columns[:, axis]))
    most = round(BRAIN_MM / thickness) if thickness > 0 else header.shape[axis]
    return max(1, min(header.shape[axis], most))
