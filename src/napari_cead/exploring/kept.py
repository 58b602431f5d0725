"""Corrections kept on disk while a patient is open, so that a crash or another patient does not lose them."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..atomic import atomic_path, make_folder
from ..detection.corrections import Corrections
from ..detection.provenance import voxels_sha256
from ..errors import CeadError
from ..patients import Patient
from ..zoo import models_folder

MOST = 20
"""Number of patients whose corrections are kept; the oldest go first."""


@dataclass(frozen=True, eq=False)
class Kept:
    """Kept corrections.

    Attributes:
        corrections: The painted corrections.
        saved_at: Time of saving, in seconds since the epoch.
    """

    corrections: Corrections = field(repr=False)
    saved_at: float


class KeptCorrections:
    """A folder with one file per patient, identified by the voxels of the scan as read.

    Args:
        folder: Folder of the files; None: beside the user's installed models.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else models_folder().parent / "corrections"

    def keep(self, patient: Patient, corrections: Corrections | None) -> None:
        """Keep corrections in place of earlier ones; None removes them.

        Raises:
            OSError: If the folder cannot be written.
        """
        file = self._file(patient)
        if corrections is None:
            file.unlink(missing_ok=True)
            return
        make_folder(self.folder)
        with atomic_path(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, labels=corrections.volume())
        for old in sorted(self._files(), key=_changed, reverse=True)[MOST:]:
            old.unlink(missing_ok=True)

    def find(self, patient: Patient) -> Kept | None:
        """Return the kept corrections of a patient; None if there are none or they are unreadable."""
        if next(self._files(), None) is None:
            return None  # without reading the whole scan, which takes its checksum
        file = self._file(patient)
        with suppress(OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, CeadError):
            with zipfile.ZipFile(file) as archive, archive.open("labels.npy") as stream:
                labels = np.lib.format.read_array(stream, allow_pickle=False)
            if labels.shape == patient.shape:
                return Kept(Corrections.from_volume(labels, file), _changed(file))
        return None

    def _file(self, patient: Patient) -> Path:
        return self.folder / f"{voxels_sha256(patient.raw().volume())}.npz"

    def _files(self) -> Iterator[Path]:
        return self.folder.glob("*.npz")


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return time.time()
