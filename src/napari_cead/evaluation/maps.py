"""Score maps of other methods as files, one per patient, ranked beside the models under the same rules."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detection.baselines import Seen, stack_of
from ..errors import ParameterError, PatientError, shortened
from ..patients import Patient
from ..patients.reading import read_place
from ..patients.volume import Volume
from ..patients.volumes import onto
from ..zoo import Preprocessing

SCORE = "map"
"""Name of the score of a foreign map."""

ARCHITECTURE = "score maps"
"""What stands in a table for the architecture of a model."""

_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class ScoreMaps:
    """The score maps of one method.

    Attributes:
        name: Its name in the table.
        folder: The folder that they lie in.
        files: Name and file of each patient.
        low: The score that becomes 0: the lowest of all patients if it is negative, else 0.
        high: The score that becomes 1: the highest of all patients if it is above 1, else 1. One straight line for all
            patients changes no ranking.
    """

    name: str
    folder: Path
    files: tuple[tuple[str, Path], ...]
    low: float = 0.0
    high: float = 1.0

    def state(self) -> list[Any]:
        """Return what changes when a file does."""
        stats = [(name, str(file), file.stat()) for name, file in self.files]
        return [self.name, *([name, file, found.st_size, found.st_mtime_ns] for name, file, found in stats)]

    def seen(self, patient: Patient, member: str) -> Seen:
        """Return a patient with its map on the patient's own grid.

        Args:
            patient: The patient.
            member: Its name in the evaluation.

        Raises:
            PatientError: If the map cannot be read or lies outside the scan.
        """
        file = dict(self.files)[member]
        volume = read_place(file)
        with np.errstate(invalid="ignore"):
            scores = np.asarray(volume.data, np.float32)
            unknown = ~np.isfinite(scores)
            scaled = (scores - np.float32(self.low)) / np.float32(self.high - self.low)
        scaled = np.where(unknown, 0, scaled).clip(0, 1).astype(np.float32, copy=False)
        placed = onto(Volume(scaled, volume.grid, volume.warnings), patient.grid, 1, file.name)
        stack = stack_of(patient, Preprocessing())
        here = np.where(stack.brain, placed.data, 0).astype(np.float32, copy=False)
        notes = [text.replace(file.name, f"the map of {self.name}") for text in placed.warnings]
        if unknown.any():
            notes.append(
                f"the map of {self.name}: {unknown.mean():.2%} of the voxels are no number, and count as lowest"
            )
        return Seen(stack, patient.spacing, {SCORE: lambda *_: here}, tuple(notes))


def find_maps(
    given: Mapping[str, str | Path] | Sequence[str | Path],
    patients: Iterable[str],
    pattern: str | None = None,
) -> list[ScoreMaps]:
    """Find the score maps of the patients of an evaluation.

    Args:
        given: Folders by the name of their method, or folders, each also as ``NAME=FOLDER``; without a name the
            folder's counts.
        patients: Names of the patients, each of which needs a map.
        pattern: Place of a map in its folder, with ``{patient}`` for the name, ``*`` for any letters, ``?`` for one and
            ``**`` for any folders. None: the NIfTI file anywhere in the folder whose path has the patient's name in it.

    Raises:
        PatientError: If there is no such folder, or there is no map for a patient, or several.
        ParameterError: If two methods have one name, or the pattern does not say ``{patient}``.
    """
    if pattern is not None and "{patient}" not in pattern:
        raise ParameterError(
            f"the pattern {pattern!r} does not say where the name stands",
            hint="write {patient}_anomaly.nii.gz, say",
        )
    named = [*given.items()] if isinstance(given, Mapping) else [named_folder(each) for each in given]
    if len({name for name, _ in named}) < len(named):
        raise ParameterError("two folders of maps have one name", hint="name them: NAME=FOLDER")
    names = tuple(dict.fromkeys(patients))
    return [_found(name, Path(folder).expanduser(), names, pattern) for name, folder in named]


def named_folder(given: str | Path) -> tuple[str, Path]:
    """Return name and folder of a method, given as ``NAME=FOLDER`` or as its folder."""
    name, sign, folder = str(given).partition("=")
    if sign and name and not Path(given).expanduser().exists():
        return name, Path(folder)
    return Path(given).expanduser().absolute().name, Path(given)


def _found(name: str, folder: Path, patients: Sequence[str], pattern: str | None) -> ScoreMaps:
    if not folder.is_dir():
        raise PatientError("there is no such folder of maps", file=folder, hint="check --maps")
    every = [] if pattern else sorted(file for file in folder.rglob("*") if file.name.endswith(_SUFFIXES))
    files: dict[str, Path] = {}
    missing: list[str] = []
    for patient in patients:
        if pattern:
            place = pattern.replace("[", "[[]").replace("{patient}", glob.escape(patient))
            places = glob.glob(place, root_dir=folder, recursive=True)  # noqa: PTH207  # it may be a whole path
            found = sorted(folder / name for name in places if (folder / name).is_file())
        else:
            # As a whole word: Mets_001 is not in Mets_0012.nii.gz.
            words = "[/_-]".join(map(re.escape, patient.split("/")))
            whole = re.compile(rf"(?<![A-Za-z0-9]){words}(?![A-Za-z0-9])")
            found = [file for file in every if whole.search(file.relative_to(folder).as_posix())]
        if len(found) > 1:
            raise PatientError(
                f"{len(found)} files are called after {patient}, {found[0].name} and {found[1].name} among them",
                file=folder,
                hint="say which: --maps-pattern '{patient}_anomaly.nii.gz', or '{patient}/anomaly_map.nii.gz'",
            )
        if found:
            files[patient] = found[0]
        else:
            missing.append(patient)
    if missing:
        raise PatientError(
            f"{len(missing)} of {len(patients)} patients have no map here: {shortened(', '.join(missing), 400)}",
            file=folder,
            hint="name the files after the patients, or say how they are called with --maps-pattern",
        )
    return ScoreMaps(name, folder, tuple(files.items()), *_range(files.values()))


def _range(files: Iterable[Path]) -> tuple[float, float]:
    """Return the scores that become 0 and 1: 0 and 1 themselves if all lie between them.

    The value of the first corner is background, and may be any number.
    """
    low, high = 0.0, 1.0
    for file in files:
        data: NDArray[Any] = np.asarray(read_place(file).data)
        scores = data[np.isfinite(data) & (data != data[0, 0, 0])]
        if scores.size:
            low, high = min(low, float(scores.min())), max(high, float(scores.max()))
    return low, high
