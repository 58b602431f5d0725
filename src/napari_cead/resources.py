"""Locations of the sample patient and the bundled models, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from .errors import CeadError


def sample_data() -> Path:
    """Return the folder with the sample patient and ``models/``.

    Raises:
        CeadError: If the installation lacks it.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "sample_data", here.parents[1] / "sample_data"):
        if folder.is_dir():
            return folder
    raise CeadError("the sample data is missing from this installation", hint="reinstall napari-cead")


def sample_patient() -> Path:
    """Return the folder of the synthetic sample patient (NIfTI release layout)."""
    return next(iter(sorted(sample_data().glob("Mets_*"))))
