"""A cohort of raw scans as a scan list, each with its brain mask from a stripper, or with its bias field corrected."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..preparing import Preparation
    from ..store.scan_list import ScanList


def prepared_listing(
    cohort: Path,
    sequence: str | None,
    preparation: Preparation,
    on_progress: Callable[[int, int], None],
) -> ScanList:
    """Return the scans of a cohort, with brain masks for those that need one, to prepare a store from.

    The masks are in the platform's cache folder, and so are scans with a corrected bias field. A scan that cannot be
    prepared as requested stays unchanged in the list if it has its skull, so that preparing the store gives the reason
    for leaving it out; otherwise it is left out here. A line gives the reason.

    Args:
        cohort: Folder of patients, or the JSON file of a scan list.
        sequence: Sequence to use; None: that of the list, or FLAIR.
        preparation: The preparation.
        on_progress: Called with (patients done, total patients).

    Raises:
        PatientError: If none could be prepared.
    """
    from ..errors import CeadError, CeadWarning, PatientError
    from ..preparing import NEVER
    from ..store.raw_scans import prepared_source
    from ..store.scan_list import ScanList, scans_of

    listing = scans_of(cohort, sequence)
    wanted, sources = listing.sequence, [scan.listed(listing.sequence) for scan in listing.scans]
    made = []
    for done, source in enumerate(sources, start=1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CeadWarning)
                source, made_of_it = prepared_source(source, wanted, preparation)
            if made_of_it.changed:
                typer.echo(f"{source.name}: {'; '.join(made_of_it.notes)}", err=True)
        except CeadError as error:
            typer.echo(f"warning: {source.name}: {error}", err=True)
            if preparation.bias_field != NEVER or preparation.register != NEVER:
                on_progress(done, len(sources))
                continue
        made.append(source)
        on_progress(done, len(sources))
    if not made:
        raise PatientError(
            "no scan of this cohort could be prepared as requested",
            file=cohort,
            hint="see the warnings above",
        )
    return ScanList(tuple(made), wanted)
