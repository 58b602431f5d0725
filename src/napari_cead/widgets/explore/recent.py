"""Patients that were opened before, newest first, kept beside the models."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ...atomic import make_folder, to_json, write_text
from ...errors import CeadError
from ...json_files import read_json
from ...zoo.finding import models_folder

MOST = 8
"""Number of patients in the list."""


def recent() -> list[Path]:
    """Return the places of the patients that still exist."""
    try:
        kept = read_json(_file())
    except (CeadError, OSError):
        return []  # missing or damaged: nothing depends on it
    if not isinstance(kept, list):
        return []
    paths = [Path(item) for item in kept if isinstance(item, str)]
    return [path for path in paths if path.exists() or "#" in path.name][:MOST]


def remember(*paths: Path) -> None:
    """Put places at the front of the list."""
    fresh = [path.absolute() for path in paths]
    kept = [*fresh, *(path for path in recent() if path not in fresh)][:MOST]
    with suppress(CeadError, OSError):  # a full disk is no reason not to open a patient
        make_folder(_file().parent)
        write_text(_file(), to_json([str(path) for path in kept]))


def _file() -> Path:
    return models_folder().parent / "recent.json"
