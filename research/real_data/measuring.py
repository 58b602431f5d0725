"""Detection on all scans under one model, and the counts of each of its scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cead.calibration.cases import BINS
from napari_cead.detection import PostprocessParams, Reconstruction, postprocess
from napari_cead.detection.baselines import Baseline, Seen
from napari_cead.detection.postprocessing import StagedPostprocessor
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.evaluation.measuring import Subject, reconstruction_of
from napari_cead.metrics import auroc, average_precision, froc, match_lesions
from napari_cead.metrics import candidates as marks_of
from napari_cead.metrics.overlap import slice_counts

from .choosing import best, by_fold, per_patient
from .scans import FREE, MS, STROKE, Scans, folds
from .tally import Measured, Tally, meta_of

CANDIDATES = 25
"""Thresholds that are tried after post-processing."""

SHARES = np.geomspace(0.3, 0.0005, CANDIDATES)
"""Shares of the brain on lesion-free slices that lie above the candidates: they come from no scan with a lesion."""

PAPER = PostprocessParams()

Say = Callable[[str], None]
Made = Mapping[str, Sequence[Reconstruction | Seen]]
Maps = Mapping[str, Sequence[NDArray[np.float32]]]


def measure_model(
    subject: Subject,
    scans: Mapping[str, Scans],
    folder: Path,
    healthy: Mapping[str, PostprocessParams],
    say: Say,
) -> None:
    """Measure every score of a model that is not on disk yet.

    Args:
        subject: The model or baseline with its scores.
        scans: All scans.
        folder: Where each score leaves a file.
        healthy: By score, the settings of rule ``healthy-quantile``.
        say: Called with a line about what was done.
    """
    sha256 = "" if isinstance(subject.maker, Baseline) else subject.maker.sha256
    people = {name: list(part.names) for name, part in scans.items()}
    missing = []
    for score in subject.scores:
        meta = meta_of(folder / f"{score}.npz")
        if meta is None or (meta["sha256"], meta["patients"]) != (sha256, people):
            missing.append(score)
        elif _healthy_threshold(meta) != (healthy[score].threshold if score in healthy else None):
            missing.append(score)  # the same weights may have been calibrated again
    if not missing:
        say(f"{subject.name}: measured before")
        return
    begun = time.process_time()
    wanted = Subject(subject.name, tuple(missing), subject.maker)
    made = {
        name: [reconstruction_of(wanted, patient) for patient in part.patients]
        for name, part in scans.items()
    }
    say(f"{subject.name}: all scans reconstructed in {time.process_time() - begun:.0f} s of CPU time")
    for score in missing:
        begun = time.process_time()
        found = measure_score(score, made, scans, healthy.get(score))
        seconds = time.process_time() - begun
        meta = {
            "model": subject.name,
            "score": score,
            "sha256": sha256,
            "patients": people,
            "seconds": seconds,
        }
        Measured({**meta, **found.meta}, found.tallies).save(folder / f"{score}.npz")
        say(f"{subject.name}: {score} in {seconds:.0f} s of CPU time")


def _healthy_threshold(meta: Mapping[str, Any]) -> float | None:
    """Return the threshold of rule ``healthy-quantile`` that was measured with."""
    chosen = meta["thresholds"]["post"].get("healthy-quantile")
    return None if chosen is None else float(chosen[FREE])


def measure_score(
    score: str, made: Made, scans: Mapping[str, Scans], healthy: PostprocessParams | None
) -> Measured:
    """Count everything under one score.

    Thresholds of ``validation``: for a stroke patient from the other four folds, for everybody else from all stroke
    patients. Of ``oracle``: the best for the stroke patients, the best for the MS patient.

    Args:
        score: Anomaly score.
        made: By set, what the model made of each patient.
        scans: The same patients.
        healthy: Settings of rule ``healthy-quantile``, None if the model has none.
    """
    maps = {name: [one.anomaly_map(score) for one in part] for name, part in made.items()}
    brains = {name: [one.stack.brain for one in part] for name, part in made.items()}
    parts = {name: _histograms(maps[name], brains[name], scans[name]) for name in maps}
    grid = candidates(parts[FREE]["other"])
    for name, part in parts.items():
        chosen_on = name in (STROKE, MS)
        part["searched"] = _searched(
            maps[name], brains[name], scans[name], part["shown"], grid if chosen_on else ()
        )

    fold = folds(len(scans[STROKE].patients))
    levels = np.arange(BINS) / BINS
    thresholds: dict[str, dict[str, Any]] = {"raw": {}, "post": {}}
    for kind, values in (("raw", levels), ("post", np.array(grid))):
        counts = {
            name: per_patient(
                Tally(**_stored(parts[name])).raw()
                if kind == "raw"
                else parts[name]["searched"].astype(np.int64),
                parts[name]["patient"],
            )
            for name in (STROKE, MS)
        }
        everywhere = float(values[best(counts[STROKE])])
        validation = [float(values[number]) for number in by_fold(counts[STROKE], fold)]
        thresholds[kind] = {
            "validation": {STROKE: validation, FREE: everywhere, MS: everywhere},
            "oracle": {STROKE: everywhere, MS: float(values[best(counts[MS])])},
        }
        if healthy is not None:
            same = healthy.threshold
            thresholds[kind]["healthy-quantile"] = {STROKE: same, FREE: same, MS: same}

    tallies = {}
    for name, part in parts.items():
        counted, lesions = {}, {}
        for rule, chosen in thresholds["post"].items():
            if name in chosen:
                params = healthy if rule == "healthy-quantile" and healthy is not None else PAPER
                counted[rule], lesions[rule] = _at(
                    maps[name], brains[name], scans[name], part["shown"], chosen[name], params
                )
        tallies[name] = Tally(**_stored(part), counts=counted, lesions=lesions)
    meta = {
        "candidates": list(grid),
        "thresholds": thresholds,
        "bins": BINS,
        "folds": fold.tolist(),
        "exact": {name: _exact(maps[name], brains[name], scans[name]) for name in (STROKE, MS)},
    }
    return Measured(meta, tallies)


def _exact(
    maps: Sequence[NDArray[np.float32]], brains: Sequence[NDArray[np.bool_]], scans: Scans
) -> dict[str, Any]:
    """Return the figures of the order of all voxels, which no bins blur."""
    lesions = [scans.reference(number) for number in range(len(maps))]
    parts = list(zip(maps, lesions, brains, strict=True))
    scores = np.concatenate([values[brain] for values, _, brain in parts])
    lesion = np.concatenate([reference[brain] for _, reference, brain in parts])
    return {
        "AUROC": auroc(scores, lesion),
        "AUPRC": average_precision(scores, lesion),
        "FROC": froc(marks_of(*part) for part in parts),
    }


def candidates(free: NDArray[np.integer]) -> tuple[float, ...]:
    """Return the thresholds to try after post-processing, from the histograms (S, bins + 1) of lesion-free slices."""
    total = free.sum(axis=0, dtype=np.int64)
    calm = ScoreHistograms(np.zeros_like(total), total)
    top = (len(total) - 2) / (len(total) - 1)
    return tuple(sorted({min(calm.healthy_quantile(float(1 - share)), top) for share in SHARES}))


def _stored(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values for name, values in part.items() if name != "shown"}


def _histograms(
    maps: Sequence[NDArray[np.float32]], brains: Sequence[NDArray[np.bool_]], scans: Scans
) -> dict[str, Any]:
    """Return the parts of a `Tally` that do not depend on a threshold, and ``shown``: the slices of each patient."""
    lesion, other, patient, voxels, shown = [], [], [], [], []
    for number, (values, brain) in enumerate(zip(maps, brains, strict=True)):
        reference = scans.reference(number)
        occupied = np.flatnonzero((brain | reference).any(axis=(1, 2)))
        shown.append(occupied)
        for z in occupied:
            found = ScoreHistograms.of(values[z], reference[z], brain[z], BINS)
            lesion.append(found.lesion)
            other.append(found.healthy)
            patient.append(number)
            voxels.append(np.count_nonzero(brain[z]))
    return {
        "patient": np.array(patient),
        "voxels": np.array(voxels),
        "lesion": np.array(lesion, np.int32),
        "other": np.array(other, np.int32),
        "searched": np.zeros((len(patient), 0, 3), np.int32),
        "shown": shown,
    }


def _searched(
    maps: Sequence[NDArray[np.float32]],
    brains: Sequence[NDArray[np.bool_]],
    scans: Scans,
    shown: Sequence[NDArray[np.intp]],
    grid: Sequence[float],
) -> NDArray[np.int32]:
    counts = np.zeros((sum(map(len, shown)), len(grid), 3), np.int32)
    if not grid:
        return counts
    for rows, values, brain, reference, spacing in _patients(maps, brains, scans, shown):
        stages = StagedPostprocessor(values, spacing, brain, workers=1)
        for number, threshold in enumerate(grid):
            mask = stages.volume(PAPER.replace(threshold=threshold))
            counts[rows, number] = np.stack(slice_counts(mask, reference), axis=-1)
    return counts


def _at(
    maps: Sequence[NDArray[np.float32]],
    brains: Sequence[NDArray[np.bool_]],
    scans: Scans,
    shown: Sequence[NDArray[np.intp]],
    threshold: float | Sequence[float],
    params: PostprocessParams,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return counts (S, 3) of slices and lesion-wise counts (P, 4) of patients, one threshold for all or one each."""
    each = np.broadcast_to(threshold, len(maps))
    counts, lesions = np.zeros((sum(map(len, shown)), 3), np.int32), np.zeros((len(maps), 4), np.int32)
    for number, (rows, values, brain, reference, spacing) in enumerate(_patients(maps, brains, scans, shown)):
        mask = postprocess(values, params.replace(threshold=float(each[number])), spacing, brain)
        counts[rows] = np.stack(slice_counts(mask, reference), axis=-1)
        match = match_lesions(mask, reference, spacing)
        lesions[number] = (
            len(match.lesions),
            len(match.found),
            len(match.detections),
            len(match.false_detections),
        )
    return counts, lesions


def _patients(
    maps: Sequence[NDArray[np.float32]],
    brains: Sequence[NDArray[np.bool_]],
    scans: Scans,
    shown: Sequence[NDArray[np.intp]],
) -> Iterator[
    tuple[slice, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], tuple[float, float, float]]
]:
    """Give each patient's rows in the tally, and map, brain and lesion mask of the slices shown."""
    start = 0
    for number, (values, brain, slices) in enumerate(zip(maps, brains, shown, strict=True)):
        rows = slice(start, start + len(slices))
        yield (
            rows,
            values[slices],
            brain[slices],
            scans.reference(number)[slices],
            scans.patients[number].spacing,
        )
        start = rows.stop
