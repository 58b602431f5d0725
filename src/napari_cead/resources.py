"""Locations of the sample patient and the bundled models, in a checkout and in an installed wheel."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from .errors import CeadError

PAPER_MODELS = "napari_cead_paper_models"
"""Package of the bundled models that would make the main one too large; a checkout has them in ``sample_data/``."""


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


def bundled_models() -> Iterator[Path]:
    """Yield the folders that hold bundled models."""
    try:
        yield sample_data() / "models"
    except CeadError:  # nothing is bundled
        return
    package = find_spec(PAPER_MODELS)
    if package is not None:
        yield from map(Path, package.submodule_search_locations or ())
