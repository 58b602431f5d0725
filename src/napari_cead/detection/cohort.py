"""Detection in many patients: one folder of results each, and a table of all, as in a BIDS derivative."""

from __future__ import annotations

import csv
import io
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..atomic import make_folder, strict, to_json, write_text
from ..errors import CeadWarning, ParameterError, PatientNotFoundError
from ..json_files import read_json
from ..patients import PNG_SPACING, find_patients, load_patient, place_below, place_name
from ..preparing import RAW, Preparation, prepare_patient
from ..progress import Progress, Stop
from ..tasks import Failure, tasks
from ..zoo import Detector, find_model, load_card, load_model
from .choosing import Params, Settled, settle
from .options import MapOptions
from .pipeline import detect
from .provenance import sources, versions
from .reconstruct import GROUP, check_batch_size
from .replay import Origin
from .saving import check_output, save_detection

DESCRIPTION = "dataset_description.json"
TABLE = "detections.tsv"
BIDS_VERSION = "1.10.0"

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
        model: Folder of the model.
        params: Settings of the post-processing, as `detect` takes them.
        score: Anomaly score; None: the model's suggestion.
        options: Options of the map.
        sequence: Sequence to use.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
        device: Device to run on.
        batch_size: Slices per batch.
        preparation: Preparation of each scan.
    """

    path: Path
    out: Path
    model: Path
    params: Params
    score: str | None
    options: MapOptions | None
    sequence: str
    png_first_column: Literal["left", "right"]
    png_spacing: tuple[float, float, float]
    device: str
    batch_size: int
    preparation: Preparation = RAW


@dataclass(frozen=True)
class CohortDetection:
    """The outcome of a detection in a cohort.

    Attributes:
        results: The ``detection.json`` of each patient that could be used, in the order of their paths.
        folders: The folder of each of them.
        skipped: Patient and reason of all others.
        kept: Number of existing results that were reused.
    """

    results: tuple[Mapping[str, Any], ...]
    folders: tuple[Path, ...]
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
        raise ParameterError("a brain mask file goes with one patient", mend="name a stripper, or auto")
    top, target = Path(cohort).expanduser(), Path(out).expanduser()
    paths = list(find_patients(top))
    if not paths:
        what = "there are no patients in this folder" if top.is_dir() else "there is no such folder"
        raise PatientNotFoundError(what, file=top, mend="give a folder that holds patients")
    folder = find_model(model)
    check_batch_size(batch_size)
    _loaded.detector(folder, device)  # what is wrong with it is said before a cluster is started
    make_folder(target)
    _describe(target, load_card(folder).name)
    jobs = [
        DetectJob(
            path,
            target / place_below(path, top),
            folder,
            params,
            score,
            options,
            sequence,
            png_first_column,
            png_spacing,
            device,
            batch_size,
            preparation,
        )
        for path in paths
    ]
    found: dict[int, Mapping[str, Any] | Failure] = {}
    kept = 0
    try:
        with tasks(workers, scheduler, device=device) as crew:
            for number, outcome in crew.each(detect_one, jobs, should_stop):
                failed = isinstance(outcome, Failure)
                found[number] = outcome if failed else outcome[1]
                kept += not failed and outcome[0]
                if on_patient is not None:
                    on_patient(jobs[number].path, outcome.reason if failed else outcome[1])
                if on_progress is not None:
                    on_progress(len(found), len(jobs))
    finally:
        _loaded.clear()
        _write_table(target, jobs, found)
    done = [(jobs[number].out, found[number]) for number in sorted(found)]
    return CohortDetection(
        results=tuple(result for _, result in done if not isinstance(result, Failure)),
        folders=tuple(place for place, result in done if not isinstance(result, Failure)),
        skipped=tuple(
            (jobs[number].path, result.reason)
            for number, result in sorted(found.items())
            if isinstance(result, Failure)
        ),
        kept=kept,
    )


def detect_one(job: DetectJob) -> tuple[bool, dict[str, Any]]:
    """Detect in one patient and save the results.

    Returns:
        Whether they were there already, and their ``detection.json``.

    Raises:
        CeadError: If the patient cannot be used or the results cannot be written.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)  # they are in the results
        patient = load_patient(
            job.path,
            job.sequence,
            only=not job.preparation.needs_others,
            png_first_column=job.png_first_column,
            png_spacing=job.png_spacing,
        )
    check_output(job.out, patient)
    detector = _loaded.detector(job.model, job.device)
    settled = settle(detector.card, job.params, job.score, job.options)
    before = _before(job, settled, detector, patient)
    if before is not None:
        return True, before
    patient = prepare_patient(patient, job.preparation, device=job.device)
    result = detect(patient, detector, settled, batch_size=job.batch_size)
    origin = Origin.given(job.path, patient, job.png_first_column)
    return False, save_detection(result, job.out, origin=origin)


def _before(job: DetectJob, settled: Settled, detector: Detector, patient: Any) -> dict[str, Any] | None:
    """Return the existing results of the same files, model and settings."""
    file = job.out / "detection.json"
    try:
        described = read_json(file)
    except (OSError, ValueError):
        return None
    wanted = strict(
        {
            "sha256": detector.card.sha256,
            "score": settled.score,
            "params": settled.params.model_dump(mode="json"),
            "rule": settled.rule,
            "origins": dict(settled.origins),
            "options": settled.options.model_dump(mode="json"),
            "batch_size": job.batch_size,
            "device": str(detector.device),
            "sequence": patient.sequence,
            "sources": sources(patient),
            "versions": versions(),
        }
    )
    whole = all((job.out / f"{name}.nii.gz").is_file() for name in ("anomaly_map", "reconstruction", "mask"))
    same = isinstance(described, dict) and all(described.get(name) == value for name, value in wanted.items())
    same = same and _asked(described) == job.preparation.as_dict()
    return described if whole and same else None


def _asked(described: Mapping[str, Any]) -> Any:
    """Return the preparation of a result; results from before preparations existed had none."""
    made = described.get("preparation")
    return made.get("asked") if isinstance(made, dict) else RAW.as_dict()


class _Loaded:
    """The model of a process, loaded once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[Path, str] | None = None
        self._detector: Detector | None = None

    def detector(self, folder: Path, device: str) -> Detector:
        with self._lock:
            if self._detector is None or self._key != (folder, device):
                self._key, self._detector = (folder, device), load_model(folder, device)
            return self._detector

    def clear(self) -> None:
        with self._lock:
            self._key = self._detector = None


_loaded = _Loaded()


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


def _write_table(
    out: Path, jobs: Sequence[DetectJob], found: Mapping[int, Mapping[str, Any] | Failure]
) -> None:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n", restval="n/a")
    writer.writeheader()
    for number, job in enumerate(jobs):
        row = {"patient": place_name(job.path), "folder": job.out.relative_to(out).as_posix()}
        result = found.get(number)
        if isinstance(result, Failure):
            row |= {"state": "skipped", "reason": result.reason}
        elif result is not None:
            named = {
                name: result[name] for name in COLUMNS if result.get(name) is not None and name != "patient"
            }
            row |= {"state": "done", "threshold": result["params"]["threshold"], **named}
        else:
            row |= {"state": "not done"}
        writer.writerow(row)
    write_text(out / TABLE, stream.getvalue())
