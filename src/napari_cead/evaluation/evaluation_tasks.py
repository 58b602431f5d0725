"""The units of work of an evaluation: functions of small arguments that write their results to files.

They run in any process. Patients and models come from disk and results go to disk; an existing file is not computed
again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..atomic import atomic_path, write_text
from ..calibration.cases import Case
from ..calibration.rules import QUANTILE
from ..detection import PostprocessParams
from ..detection.baselines import BASELINES, let_patient_go
from ..errors import ModelError, ParameterError, PatientError
from ..report.results import PatientFigures
from ..store.cohort_split import Member
from ..zoo import LoadedModels
from .maps import ScoreMaps
from .measuring import Settings, Subject, load_member, marks_of, measure
from .records import write_record


@dataclass(frozen=True)
class SubjectSpec:
    """A subject of the evaluation that another process can load.

    Attributes:
        name: Name in the table.
        scores: Anomaly scores.
        folder: Folder of the model; None without a network.
        baseline: Name of the baseline, one of `BASELINES`; empty for anything else.
        maps: Score maps of another method; None for anything else.
        device: Device to run on.
        quantile: Quantile of rule `healthy-quantile`.
    """

    name: str
    scores: tuple[str, ...]
    folder: Path | None = None
    baseline: str = ""
    maps: ScoreMaps | None = None
    device: str = "auto"
    quantile: float = QUANTILE


@dataclass(frozen=True)
class MeasureJob:
    """One patient under a group of models.

    Attributes:
        member: The patient.
        subjects: The models by their number in the evaluation.
        sequence: Sequence to use.
        png_spacing: (z, y, x) in mm of PNG slices.
        settings: By model, the settings of the counts.
        keep_cases: Whether to store cases for a rule that has yet to choose.
        assume_healthy: Whether an unlabelled patient counts as healthy.
        folder: Folder for the files ``NUMBER-TAG.json`` and ``NUMBER-SCORE.npz``.
        tag: Distinguishes the records of one measurement from those of another.
        pictures: Whether to store the slices with lesion for pictures.
    """

    member: Member
    subjects: Mapping[int, SubjectSpec]
    sequence: str
    png_spacing: tuple[float, float, float]
    settings: Mapping[int, Settings]
    keep_cases: bool
    assume_healthy: bool
    folder: Path
    tag: str
    pictures: bool = False

    def record(self, number: int) -> Path:
        """Return the file of the measurements under a model."""
        return self.folder / f"{number}-{self.tag}.json"

    def case(self, number: int, score: str) -> Path:
        """Return the file of a case."""
        return case_file(self.folder, number, score)


def case_file(folder: Path, number: int, score: str) -> Path:
    """Return the file of a patient's case under a model and score."""
    return folder / f"{number}-{score}.npz"


def shown_file(case: Path) -> Path:
    """Return the file of the slices with lesion beside the cases of the same patient and model."""
    return case.with_name(f"{case.name.partition('-')[0]}.slices.npz")


def measure_group(job: MeasureJob) -> dict[int, str]:
    """Measure one patient under every model of a group.

    Returns:
        The reasons, for the models under which it could not be measured.

    Raises:
        PatientError: If the patient cannot be used at all.
        OutputError: If a file cannot be written.
    """
    missing = [number for number in job.subjects if not job.record(number).exists()]
    if not missing:
        return {}
    patient = load_member(
        job.member,
        job.sequence,
        png_spacing=job.png_spacing,
        assume_healthy=job.assume_healthy,
        device=next((spec.device for spec in job.subjects.values() if spec.folder is not None), "auto"),
    )
    job.folder.mkdir(parents=True, exist_ok=True)
    failed: dict[int, str] = {}
    for number in missing:
        spec = job.subjects[number]
        try:
            found = measure(
                loaded_subject(spec, tuple(job.subjects.values())),
                job.member,
                patient,
                job.settings.get(number, {}),
                keep_cases=job.keep_cases,
                pictures=job.pictures,
            )
        except (PatientError, ModelError, ParameterError) as error:
            failed[number] = str(error)
            continue
        for score, case in found.cases.items():
            with atomic_path(job.case(number, score)) as temporary, temporary.open("wb") as stream:
                case.save(stream)
        if found.shown:
            file = shown_file(job.case(number, spec.scores[0]))
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **found.shown)
        write_record(job.record(number), found)
    return failed


@dataclass(frozen=True)
class GridJob:
    """Dice of one patient's case at many settings.

    Attributes:
        name: Name of the patient.
        file: File of the case.
        grid: The settings.
    """

    name: str
    file: Path
    grid: tuple[PostprocessParams, ...]


def search_grid(job: GridJob) -> tuple[bool, list[float]] | None:
    """Return whether a case has a lesion, and its Dice with each of the settings; None without a reference.

    The results are stored beside the case.
    """
    searched = _searched(job.file, job.grid)
    if searched.exists():
        lesion, dice = json.loads(searched.read_text(encoding="utf-8"))
        return bool(lesion), [np.nan if value is None else value for value in dice]
    case = Case.load(job.file, job.name)
    if case.reference is None:
        return None
    values = case.dice(job.grid).tolist()
    write_text(searched, json.dumps([case.has_lesion, [_strict(value) for value in values]]))
    return case.has_lesion, values


def _searched(file: Path, grid: tuple[PostprocessParams, ...]) -> Path:
    """Return the file of the Dice of a case at these settings."""
    key = hashlib.sha256(repr(grid).encode()).hexdigest()[:16]
    return file.with_name(f"{file.stem}-{key}.json")


def _strict(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(frozen=True)
class CountJob:
    """Figures of one patient's case with some settings.

    Attributes:
        name: Name of the patient.
        file: File of the case.
        settings: The settings.
    """

    name: str
    file: Path
    settings: tuple[PostprocessParams, ...]


def count_at(job: CountJob) -> dict[PostprocessParams, PatientFigures]:
    """Return the figures of a case at each of the settings."""
    return Case.load(job.file, job.name).figures(job.settings)


_loaded = LoadedModels()


def let_models_go() -> None:
    """Free the memory of the models and patients loaded for this process's tasks."""
    _loaded.clear()
    marks_of.cache_clear()
    let_patient_go()


def loaded_subject(spec: SubjectSpec, group: tuple[SubjectSpec, ...]) -> Subject:
    """Return a subject, with its model loaded once for all of a group.

    Args:
        spec: The subject to load.
        group: The subjects that stay loaded with it.
    """
    if spec.folder is None:
        return Subject(spec.name, spec.scores, spec.maps or BASELINES[spec.baseline])
    # The models of the group and no others: only few large ones fit into memory.
    beside = [other.folder for other in group if other.folder is not None]
    return Subject(spec.name, spec.scores, _loaded.get(spec.folder, spec.device, beside))
