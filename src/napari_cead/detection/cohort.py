"""Detection in many patients: one folder of results each, and a table of all, as in a BIDS derivative."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

from ..atomic import make_folder, strict, to_json, write_text
from ..errors import CeadWarning, ParameterError
from ..json_files import read_json
from ..patients import PNG_SPACING, Patient, all_patients, load_patient, place_below, place_name
from ..preparing import RAW, Preparation
from ..progress import Progress, Stop, check_stop, tell
from ..tasks import Failure, tasks
from ..zoo import Detector, LoadedModels, load_card
from .choosing import Params, Settled, settle
from .options import MapOptions
from .params import PostprocessParams
from .pipeline import detect
from .provenance import sources, versions
from .reconstruct import GROUP, check_batch_size
from .replay import Origin
from .run_settings import RunSettings
from .saving import check_no_other, check_output, save_detection

DESCRIPTION = "dataset_description.json"
TABLE = "detections.tsv"
BIDS_VERSION = "1.10.0"
VOLUMES = ("anomaly_map", "reconstruction", "mask")
HOW = frozenset({"batch_size", "device", "versions", "rule", "origins"})
"""What makes a result anew without making it another one."""

COLUMNS = (
    "patient",
    "folder",
    "state",
    "dice",
    "precision",
    "recall",
    "volume_ml",
    "score",
    "threshold",
    "rule",
    "reason",
)


@dataclass(frozen=True)
class DetectJob:
    """One patient of a cohort.

    Attributes:
        path: The patient.
        out: Folder of its results.
        settings: The settings.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
        preparation: Preparation of the scan.
        named: Whether the results lie in a folder of the patient's name below ``out``, with a number where another
            result lies.
    """

    path: Path
    out: Path
    settings: RunSettings
    png_first_column: Literal["left", "right"] = "left"
    png_spacing: tuple[float, float, float] = PNG_SPACING
    preparation: Preparation = RAW
    named: bool = False


@dataclass(frozen=True)
class Detected:
    """The outcome of a job.

    Attributes:
        folder: The folder of the results.
        described: Their ``detection.json``.
        kept: Whether they were there already.
    """

    folder: Path
    described: Mapping[str, Any]
    kept: bool = False


@dataclass(frozen=True)
class CohortDetection:
    """The outcome of a detection in a cohort.

    Attributes:
        results: The ``detection.json`` of each patient that could be used, in the order of their paths.
        skipped: Patient and reason of all others.
        kept: Number of existing results that were reused.
    """

    results: tuple[Mapping[str, Any], ...]
    skipped: tuple[tuple[Path, str], ...]
    kept: int = 0


def detect_cohort(
    cohort: str | Path,
    model: str | Path,
    out: str | Path,
    params: Params = None,
    score: str | None = None,
    *,
    options: MapOptions | None = None,
    sequence: str = "flair",
    png_first_column: Literal["left", "right"] = "left",
    png_spacing: tuple[float, float, float] = PNG_SPACING,
    device: str = "auto",
    batch_size: int = GROUP,
    preparation: Preparation = RAW,
    workers: int | None = 1,
    scheduler: str | None = None,
    on_patient: Callable[[Path, Mapping[str, Any] | str], None] | None = None,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> CohortDetection:
    """Detect in all patients of a cohort.

    Every patient has a folder of its own below ``out``, at the same place as in the cohort, with the files that
    ``save_detection`` writes. Beside them lie ``dataset_description.json``, as in a BIDS derivative, and
    ``detections.tsv``, a line for each patient, also for those that were skipped. Results that are there already, of
    the same files, model and settings, are not made again: an interrupted run goes on where it stopped.

    Args:
        cohort: Folder whose descendants are patients.
        model: Name or folder of the model.
        out: Folder for the results.
        params: Settings of the post-processing, as `detect` takes them.
        score: Anomaly score; None: the model's suggestion.
        options: Options of the map; None leaves it unchanged.
        sequence: Sequence to use.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
        device: See :func:`~napari_cead.devices.pick_device`.
        batch_size: Slices per batch.
        preparation: Preparation of each scan; a brain mask file goes with one patient.
        workers: See :func:`~napari_cead.tasks.tasks`.
        scheduler: See :func:`~napari_cead.tasks.tasks`.
        on_patient: Called with each patient and its ``detection.json``, or the reason why it is skipped, as they are
            done.
        on_progress: Called with (patients done, total patients).
        should_stop: Called between patients.

    Raises:
        PatientError: If there is no patient.
        ModelError: If there is no such model, or it is damaged.
        ParameterError: If the model cannot give the score, or an option is out of range.
        OutputError: If the folder cannot be written.
        Cancelled: If ``should_stop`` returned true; what is done stays.
    """
    if preparation.mask_file is not None:
        raise ParameterError("a brain mask file goes with one patient", hint="name a stripper, or auto")
    top, target = Path(cohort).expanduser(), Path(out).expanduser()
    paths = all_patients(top)
    settings = RunSettings(str(model), score, params, sequence, device, options, batch_size)
    folder = model_for_all(settings)
    make_folder(target)
    _describe(target, load_card(folder).name)
    jobs = [
        DetectJob(
            path,
            target / place_below(path, top),
            replace(settings, model=str(folder)),
            png_first_column,
            png_spacing,
            preparation,
        )
        for path in paths
    ]
    found: dict[int, Detected | Failure] = {}
    try:
        with tasks(workers, scheduler, device=device) as crew:
            for number, outcome in crew.each(detect_one, jobs, should_stop):
                found[number] = outcome
                if on_patient is not None:
                    failed = isinstance(outcome, Failure)
                    on_patient(jobs[number].path, outcome.reason if failed else outcome.described)
                tell(on_progress, len(found), len(jobs))
    finally:
        let_model_go()
        _write_table(target, jobs, found)
    done = [one for _, one in sorted(found.items()) if isinstance(one, Detected)]
    return CohortDetection(
        results=tuple(one.described for one in done),
        skipped=tuple(
            (jobs[number].path, result.reason)
            for number, result in sorted(found.items())
            if isinstance(result, Failure)
        ),
        kept=sum(one.kept for one in done),
    )


def model_for_all(settings: RunSettings) -> Path:
    """Return the folder of the model for many patients, after refusing what is no patient's fault.

    The model stays loaded for `detect_one`, until `let_model_go`.

    Raises:
        ModelError: If there is no such model, or it is damaged.
        ParameterError: If the model cannot give the score, or an option is out of range.
    """
    check_batch_size(settings.batch_size)
    return _settled(settings)[0].folder


def _settled(asked: RunSettings) -> tuple[Detector, Settled]:
    detector = _loaded.get(asked.model, asked.device)
    return detector, settle(detector.card, asked.params, asked.score, asked.options)


def detect_one(
    job: DetectJob, on_progress: Progress | None = None, should_stop: Stop | None = None
) -> Detected:
    """Detect in one patient and save the results, unless they are there already.

    Args:
        job: The patient, the settings, and where the results go.
        on_progress: Called with (slices done, total slices).
        should_stop: Called between batches of slices.

    Raises:
        CeadError: If the patient cannot be used or the results cannot be written.
        Cancelled: If ``should_stop`` returned true.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)  # they are in the results
        patient = load_patient(
            job.path,
            job.settings.sequence,
            only=not job.preparation.needs_others,
            png_first_column=job.png_first_column,
            png_spacing=job.png_spacing,
        )
    check_output(job.out, patient)
    detector, settled = _settled(job.settings)
    wanted = _question(job, settled, detector, patient)
    place = _place(job, patient.name, wanted)
    check_output(place, patient)
    before = _answer(place, wanted)
    if before is not None and all((place / f"{name}.nii.gz").is_file() for name in VOLUMES):
        return Detected(place, before, kept=True)
    check_no_other(place, patient.name, detector.name)
    check_stop(should_stop)
    result = detect(
        patient,
        detector,
        settled,
        preparation=job.preparation,
        batch_size=job.settings.batch_size,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    origin = Origin.given(job.path, result.patient, job.png_first_column)
    return Detected(place, save_detection(result, place, origin=origin))


def let_model_go() -> None:
    """Free the memory of the model that `detect_one` keeps from one patient to the next."""
    _loaded.clear()


_loaded = LoadedModels()


def _question(job: DetectJob, settled: Settled, detector: Detector, patient: Patient) -> dict[str, Any]:
    """Return what a result depends on, as it stands in its ``detection.json``."""
    asked: dict[str, Any] = strict(
        {
            "sha256": detector.card.sha256,
            "calibration": detector.card.calibration,
            "score": settled.score,
            "params": settled.params.model_dump(mode="json"),
            "rule": settled.rule,
            "origins": dict(settled.origins),
            "options": settled.options.model_dump(mode="json"),
            "batch_size": job.settings.batch_size,
            "device": str(detector.device),
            "sequence": patient.sequence,
            "sources": sources(patient),
            "versions": versions(),
            "preparation": job.preparation.as_dict(),
        }
    )
    return asked


def _place(job: DetectJob, name: str, wanted: Mapping[str, Any]) -> Path:
    """Return the folder for a result: free, or that of the same result, perhaps computed otherwise."""
    if not job.named:
        return job.out
    what = {key: value for key, value in wanted.items() if key not in HOW}
    for number in count(1):
        place = job.out / (name if number == 1 else f"{name}-{number}")
        if not place.exists() or (place.is_dir() and not _visible(place)) or _answer(place, what) is not None:
            break
    return place


def _visible(place: Path) -> bool:
    return any(not entry.name.startswith(".") for entry in place.iterdir())


def _answer(place: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the ``detection.json`` of a folder if it answers the same question, else None.

    A step of another package that was added or removed since changes nothing at its default.
    """
    try:
        described: dict[str, Any] = read_json(place / "detection.json")
        origins = described["origins"]
        params = {
            name: value
            for name, value in described["params"].items()
            if name in wanted["params"] or origins[name] != "default"
        }
        found = {
            **described,
            "params": PostprocessParams(**params).model_dump(mode="json"),
            "origins": {name: origins.get(name, now) for name, now in wanted.get("origins", {}).items()},
            "preparation": described["preparation"]["asked"],
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ParameterError):
        return None
    return described if all(found.get(name) == value for name, value in wanted.items()) else None


def _describe(out: Path, model: str) -> None:
    found = versions()
    described = {
        "Name": f"Anomalies detected with {model}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "napari-cead",
                "Version": found["napari-cead"],
                "Description": f"Unsupervised detection of lesions in brain MRI, model {model}",
            }
        ],
    }
    write_text(out / DESCRIPTION, to_json(described))


def _write_table(out: Path, jobs: Sequence[DetectJob], found: Mapping[int, Detected | Failure]) -> None:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n", restval="n/a")
    writer.writeheader()
    for number, job in enumerate(jobs):
        row = {"patient": place_name(job.path), "folder": job.out.relative_to(out).as_posix()}
        result = found.get(number)
        if isinstance(result, Failure):
            row |= {"state": "skipped", "reason": result.reason}
        elif result is not None:
            described = result.described
            named = {
                name: described[name]
                for name in COLUMNS
                if described.get(name) is not None and name != "patient"
            }
            row |= {"state": "done", "threshold": described["params"]["threshold"], **named}
        else:
            row |= {"state": "not done"}
        writer.writerow(row)
    write_text(out / TABLE, stream.getvalue())
