"""Raw scans to train on: each with the brain mask that a stripper found in it, or evened out."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np

from ..errors import PatientError
from ..patients import Prepared
from ..patients.loading import read_files
from ..preparing import Preparation, prepare_patient
from ..preparing.kept import keep_file, keep_scan
from ..preparing.visits import whole_visit
from ..progress import Progress, Stop
from .scans import ScanSource


def prepared_source(
    source: ScanSource,
    sequence: str,
    preparation: Preparation,
    *,
    device: str = "auto",
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> tuple[ScanSource, Prepared]:
    """Return a scan with the files that a preparation made of it, and what was done.

    The files lie in the platform's cache folder: a brain mask, a lesion mask that was moved with its sequence, a scan
    whose bias field was taken out. A brain mask that the source has comes before the stripper.

    Args:
        source: The scan; other sequences of the patient lie beside it.
        sequence: What it shows.
        preparation: What to do.
        device: Where a skull is stripped.
        on_progress: Called with (steps done, total steps).
        should_stop: Called several times a second.

    Raises:
        CeadError: If it cannot be prepared like that.
        Cancelled: If ``should_stop`` returned true.
    """
    files = source.files(sequence)
    if preparation.needs_others:
        files = whole_visit(files, sequence, source.scan)
    found = read_files(files, sequence, source.scan, only=not preparation.needs_others)
    wanted = preparation if source.brain_mask is None else preparation.replace(strip=str(source.brain_mask))
    ready = prepare_patient(found, wanted, device=device, on_progress=on_progress, should_stop=should_stop)
    made = ready.prepared
    if made is None:  # not so: preparing says what it did
        return source, Prepared(found.sequences)
    if made.lesion_masks is not None:
        source = replace(source, lesion_mask=keep_file(made.lesion_masks[1], found, None))
    if made.corrected:
        source = replace(source, scan=keep_scan(ready))
    if made.brain_mask is not None:
        source = replace(source, brain_mask=keep_file(made.brain_mask, found))
    return source, made


def other_sequences(source: ScanSource, sequence: str) -> tuple[str, ...]:
    """Return which other sequences of the same patient lie beside a scan, by names alone.

    Args:
        source: The scan.
        sequence: What it shows.
    """
    try:
        files = whole_visit(source.files(sequence), sequence, source.scan)
    except PatientError:
        return ()
    return tuple(name for name in files.sequences if name != sequence)


def on_one_grid(source: ScanSource, sequence: str) -> bool:
    """Whether a scan, its lesion mask and the other sequences have one grid by their headers, as after registration.

    PNG slices state no place and count as on one grid. What NiBabel does not open (DICOM, zips, damaged) counts as not.

    Args:
        source: The scan.
        sequence: What it shows.
    """
    try:
        files = whole_visit(source.files(sequence), sequence, source.scan)
        if files.kind in ("png", "picture"):
            return True
        wanted = nib.load(source.scan)
        beside = [
            nib.load(path) for path in {*files.sequences.values(), source.lesion_mask} if path is not None
        ]
        return all(
            image.shape[:3] == wanted.shape[:3] and np.allclose(image.affine, wanted.affine, atol=1e-3)
            for image in beside
        )
    except Exception:  # untrusted bytes: NiBabel may raise anything; reading the files says what is wrong
        return False
