"""A cohort of raw scans as a scan list: each with the brain mask that a stripper found in it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..preparing import Preparation
    from ..training.scan_list import ScanList


def stripped_listing(
    cohort: Path,
    sequence: str | None,
    preparation: Preparation,
    on_progress: Callable[[int, int], None],
) -> ScanList:
    """Return the scans of a cohort with brain masks for those that need one, to prepare a store from.

    The masks lie in the platform's cache folder. A scan that cannot be stripped stays in the list without a mask, so
    that preparing it says why it is left out; here a line says what the stripper said.

    Args:
        cohort: Folder of patients, or the JSON file of a scan list.
        sequence: Sequence to take; None: that of the list, or FLAIR.
        preparation: What to do.
        on_progress: Called with (patients looked at, patients in all).
    """
    from dataclasses import replace

    from ..errors import CeadError, CeadWarning
    from ..patients import find_files
    from ..patients.loading import read_files
    from ..preparing import prepare_patient
    from ..preparing.kept import keep_file
    from ..training.scan_list import ScanList, listing_of
    from ..training.scans import ScanSource
    from ..training.sources import patients_in, unique_names

    listing = listing_of(cohort)
    wanted = sequence or (listing.sequence if listing is not None else "flair")
    if listing is None:
        root = cohort.expanduser().resolve()
        sources = []
        for name, place in unique_names(root, patients_in(root, wanted), None).items():
            try:
                mask = find_files(place, wanted).mask
            except CeadError:
                mask = None  # preparing says what is wrong
            sources.append(ScanSource(name, place, mask))
    else:
        sources = list(listing.scans)
    made = []
    for done, source in enumerate(sources, start=1):
        if source.brain_mask is None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", CeadWarning)
                    found = read_files(source.files(wanted), wanted, source.scan, only=True)
                    prepared = prepare_patient(found, preparation).prepared
                if prepared is not None and prepared.brain_mask is not None:
                    source = replace(source, brain_mask=keep_file(prepared.brain_mask, found))
                    typer.echo(f"{source.name}: {'; '.join(prepared.notes)}", err=True)
            except CeadError as error:
                typer.echo(f"warning: {error}", err=True)
        made.append(source)
        on_progress(done, len(sources))
    return ScanList(tuple(made), wanted)
