"""The other sequences of the visit that a scan belongs to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import PatientError
from ..patients import PatientFiles, find_files


def whole_visit(files: PatientFiles, sequence: str, scan: Path) -> PatientFiles:
    """Return the files of one scan with those of the patient's other sequences beside it.

    Args:
        files: Of the scan; they come before what is found.
        sequence: What it shows.
        scan: Where it lies: a file, or the patient's folder.
    """
    try:
        found = find_files(scan if scan.is_dir() else scan.parent, sequence)
    except PatientError:
        return files
    if found.sequences.get(sequence) != files.sequences[sequence]:
        return files
    return replace(files, sequences={**found.sequences, **files.sequences})
