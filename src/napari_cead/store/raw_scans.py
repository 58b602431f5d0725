"""Raw scans to train on: each with the brain mask that a stripper found in it, or evened out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from ..errors import CeadError, CeadWarning, PatientError
from ..patients import PatientFiles, Prepared, find_files
from ..patients.loading import read_files
from ..preparing import NEVER, Preparation, prepare_patient
from ..preparing.kept import keep_file, keep_scan
from ..progress import Progress, Stop, tell
from .scan_list import ScanList, scans_of
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
    files = _visit(source, sequence) if preparation.needs_others else source.files(sequence)
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


class Beside(NamedTuple):
    """The files beside a scan, by their names and headers alone.

    Attributes:
        sequences: The other sequences of the same patient.
        one_grid: Whether the headers show one grid for the scan, its lesion mask and these, as after registration. PNG
            slices state no place and count as on one grid; what NiBabel does not open (DICOM, zips, damaged) does not.
    """

    sequences: tuple[str, ...] = ()
    one_grid: bool = False


def beside(source: ScanSource, sequence: str) -> Beside:
    """Return what lies beside a scan.

    Args:
        source: The scan.
        sequence: What it shows.
    """
    try:
        files = _visit(source, sequence)
    except PatientError:
        return Beside()
    others = tuple(name for name in files.sequences if name != sequence)
    if files.kind in ("png", "picture"):
        return Beside(others, True)
    try:
        wanted = nib.load(source.scan)
        places = {*files.sequences.values(), source.lesion_mask}
        images = [nib.load(place) for place in places if place is not None]
        return Beside(
            others,
            all(
                image.shape[:3] == wanted.shape[:3] and np.allclose(image.affine, wanted.affine, atol=1e-3)
                for image in images
            ),
        )
    except Exception:  # untrusted bytes: NiBabel may raise anything; reading the files says what is wrong
        return Beside(others)


def _visit(source: ScanSource, sequence: str) -> PatientFiles:
    """Return the files of a scan with those of the patient's other sequences beside it.

    Raises:
        PatientError: If the scan is not there.
    """
    files, scan = source.files(sequence), source.scan
    try:
        found = find_files(scan if scan.is_dir() else scan.parent, sequence)
    except PatientError:
        return files
    if found.sequences.get(sequence) != files.sequences[sequence]:
        return files
    return replace(files, sequences={**found.sequences, **files.sequences})


def prepared_listing(
    cohort: str | Path,
    sequence: str | None,
    preparation: Preparation,
    *,
    say: Callable[[str], None] = lambda text: None,
    on_progress: Progress | None = None,
) -> ScanList:
    """Return the scans of a cohort, with brain masks for those that need one, to prepare a store from.

    A scan that cannot be prepared as requested stays unchanged in the list if it has its skull, so that preparing the
    store gives the reason for leaving it out; otherwise it is left out here.

    Args:
        cohort: Folder of patients, or the JSON file of a scan list.
        sequence: Sequence to use; None: that of the list, or FLAIR.
        preparation: The preparation.
        say: Called with what was done to a scan, or why it could not be done.
        on_progress: Called with (patients done, total patients).

    Raises:
        PatientError: If none could be prepared.
    """
    listing, made = scans_of(cohort, sequence), []
    for done, found in enumerate(listing.scans, start=1):
        source = found.listed(listing.sequence)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CeadWarning)
                source, prepared = prepared_source(source, listing.sequence, preparation)
            if prepared.changed:
                say(f"{source.name}: {'; '.join(prepared.notes)}")
            made.append(source)
        except CeadError as error:
            say(f"warning: {source.name}: {error}")
            if preparation.bias_field == preparation.register == NEVER:
                made.append(source)
        tell(on_progress, done, len(listing.scans))
    if not made:
        raise PatientError(
            "no scan of this cohort could be prepared as requested",
            file=cohort,
            hint="see the warnings above",
        )
    return ScanList(tuple(made), listing.sequence)
