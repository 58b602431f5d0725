"""Example slices: for each model its best, its worst, and one in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..calibration.cases import Case
from ..calibration.rules import rule_order
from ..detection import PostprocessParams, postprocess, run
from ..detection.baselines import stack_of
from ..detection.rules import is_optimistic
from ..metrics.overlap import dice_of
from ..progress import Stop
from ..report.results import Row, SlicePicture
from ..store.cohort_split import Member
from ..tasks import Failure, Tasks
from ..zoo import Detector
from .evaluation_tasks import SubjectSpec, loaded_subject, shown_file
from .measuring import load_member

Kind = Literal["best", "median", "worst"]


@dataclass(frozen=True)
class Wanted:
    """A slice to show.

    Attributes:
        kind: Best, median or worst.
        slice: Its index in the patient.
        dice: Its Dice.
    """

    kind: Kind
    slice: int
    dice: float


@dataclass(frozen=True)
class PictureJob:
    """Slices of one patient under one model.

    Attributes:
        subject: The model.
        member: The patient.
        sequence: Sequence to use.
        png_spacing: (z, y, x) in mm of PNG slices.
        score: Anomaly score.
        rule: The rule that chose the settings.
        params: The settings.
        slices: The slices to show.
        case: File of the patient's case, from which its map is read; without it all is detected again.
        file: File for the result.
    """

    subject: SubjectSpec
    member: Member
    sequence: str
    png_spacing: tuple[float, float, float]
    score: str
    rule: str
    params: PostprocessParams
    slices: tuple[Wanted, ...]
    case: Path
    file: Path


def picture_jobs(
    rows: Sequence[Row],
    subjects: Sequence[SubjectSpec],
    members: Mapping[str, Member],
    cases: Mapping[tuple[str, str, str], Path],
    png_spacing: tuple[float, float, float],
    folder: Path,
    *,
    choosers: int,
    folds: Mapping[str, int],
) -> list[PictureJob]:
    """Choose best, median and worst lesion slice by Dice for each model, under its first score and rule.

    Never under an optimistic rule: its masks are no example of what a user would see.

    Args:
        rows: All rows of one sequence.
        subjects: The models, without the baselines.
        members: The reported patients by name.
        cases: By model, score and patient, the file of the case.
        png_spacing: (z, y, x) in mm of PNG slices.
        folder: Folder for the pictures.
        choosers: See :func:`~napari_cead.calibration.rules.rule_order`.
        folds: By name, the fold of a patient.
    """
    jobs: list[PictureJob] = []
    for number, subject in enumerate(subjects):
        row = _row(rows, subject, [rule for rule in rule_order(choosers) if not is_optimistic(rule)])
        if row is None:
            continue
        by_patient: dict[str, list[Wanted]] = {}
        for name, wanted in _chosen(row, members):
            by_patient.setdefault(name, []).append(wanted)
        for name, slices in by_patient.items():
            jobs.append(
                PictureJob(
                    subject,
                    members[name],
                    row.sequence,
                    png_spacing,
                    str(row.score),
                    row.rule,
                    row.settings[folds[name] if row.folds else 0],
                    tuple(slices),
                    cases[subject.name, str(row.score), name],
                    folder / f"picture-{row.sequence}-{number}-{len(jobs)}.npz",
                )
            )
    return jobs


def _row(rows: Sequence[Row], subject: SubjectSpec, rules: Sequence[str]) -> Row | None:
    own = [row for row in rows if row.model == subject.name and row.score == subject.scores[0]]
    return next((row for rule in rules for row in own if row.rule == rule and row.patients), None)


def _chosen(row: Row, members: Mapping[str, Member]) -> list[tuple[str, Wanted]]:
    """Return patient and slice: among equally bad slices, the one with the largest lesion is the worst."""
    found = []
    for patient in row.patients:
        counts, member = patient.counts, members.get(patient.name)
        if member is None:
            continue
        dice, area = dice_of(counts.tp, counts.fp, counts.fn, empty=1.0), counts.tp + counts.fn
        for index in np.flatnonzero(area > 0).tolist():
            z = index if member.slices is None else member.slices[index]
            found.append((float(dice[index]), -int(area[index]), patient.name, int(z)))
    found.sort()
    if not found:
        return []
    picks: dict[Kind, int] = {"best": -1, "median": len(found) // 2, "worst": 0}
    chosen = {kind: found[index] for kind, index in picks.items()}
    return [(name, Wanted(kind, z, dice)) for kind, (dice, _, name, z) in chosen.items()]


def take_pictures(
    jobs: Sequence[PictureJob], tasks: Tasks, should_stop: Stop | None = None
) -> list[SlicePicture]:
    """Take the pictures, one model after the other. Pictures that fail are left out.

    Args:
        jobs: From :func:`picture_jobs`.
        tasks: Runs the work.
        should_stop: Called between patients.

    Raises:
        Cancelled: If ``should_stop`` returned true.
    """
    done = {number for number, found in tasks.each(take, jobs, should_stop) if not isinstance(found, Failure)}
    pictures = []
    for number, job in enumerate(jobs):
        if number in done:
            pictures += _read(job)
    order = ("best", "median", "worst")
    models = list(dict.fromkeys(picture.model for picture in pictures))
    return sorted(pictures, key=lambda one: (models.index(one.model), order.index(one.kind)))


def take(job: PictureJob) -> None:
    """Keep the slices of one patient to show, as they were measured, or else reconstructed once more.

    Raises:
        PatientError: If the patient can no longer be used.
        OutputError: If they cannot be written.
    """
    if job.file.exists():
        return
    rows = [wanted.slice for wanted in job.slices]
    kept = job.case.exists() and shown_file(job.case).exists()
    slices = _kept(job, rows) if kept else _again(job, rows)
    with atomic_path(job.file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **slices)


def _kept(job: PictureJob, rows: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return slices as they were measured."""
    case = Case.load(job.case, job.member.name)
    maps, brains, references = case.whole()
    anomaly_map = maps[rows]
    slices = {
        "anomaly_map": anomaly_map,
        "mask": postprocess(anomaly_map, job.params, case.spacing, brains[rows]),
        "reference": references[rows],
    }
    with np.load(shown_file(job.case), allow_pickle=False) as stored:
        every = brains[stored["slices"]]
        places = np.searchsorted(stored["slices"], rows)
        for name in ("input", "reconstruction"):
            volume = np.zeros(every.shape, np.float32)
            volume[every] = stored[name]
            slices[name] = volume[places]
    return slices


def _again(job: PictureJob, rows: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return slices, detected once more: they were not kept where only some slices were measured, or parts of them."""
    patient = load_member(job.member, job.sequence, png_spacing=job.png_spacing)
    detector = loaded_subject(job.subject, (job.subject,)).maker
    assert isinstance(detector, Detector) and patient.lesion_mask is not None  # as all that is reported
    stack = stack_of(patient, detector.card.preprocessing)
    made = run(patient, detector, score=job.score, stack=stack)
    anomaly_map = made.anomaly_map(job.score)[rows]
    return {
        "input": stack.scaled[rows],
        "reconstruction": made.volume_slices(rows),
        "anomaly_map": anomaly_map,
        "mask": postprocess(anomaly_map, job.params, patient.spacing, stack.brain[rows]),
        "reference": patient.lesion_mask[rows],
    }


def _read(job: PictureJob) -> list[SlicePicture]:
    with np.load(job.file, allow_pickle=False) as stored:
        arrays: dict[str, NDArray[np.generic]] = {name: stored[name] for name in stored.files}
    return [
        SlicePicture(
            model=job.subject.name,
            score=job.score,
            rule=job.rule,
            sequence=job.sequence,
            kind=wanted.kind,
            patient=job.member.name,
            slice=wanted.slice,
            dice=wanted.dice,
            threshold=job.params.threshold,
            **{name: volumes[number] for name, volumes in arrays.items()},
        )
        for number, wanted in enumerate(job.slices)
    ]
