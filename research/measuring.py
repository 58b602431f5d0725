"""What is kept of every scan under every map: a model's, through the product's own interface, or one without a network.

A file per map and part of the data, counts and no maps. One pass of the network and the memory of one scan.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import napari_cead as cead
from channels import scans
from napari_cead.atomic import atomic_path, write_text
from napari_cead.calibration.cases import Case
from napari_cead.calibration.rules import search
from napari_cead.detection.baselines import BASELINES, Baseline, let_patient_go
from napari_cead.detection.choosing import settle
from napari_cead.metrics import average_precision, candidates, confusion, match_lesions, volume_ml
from napari_cead.patients import Patient
from protocol import CALIBRATING
from shifts import coil

VERSION = 1
"""Of what is measured: files of another one are measured again."""

SHADES = {"front": (-0.2, 1), "left": (0.2, 2)}
"""Which side a coil makes 20 % brighter: strength and axis for ``coil``."""

PARTS = (
    *("strokes", "test-strokes", "ms", "hyperintensities", "phantoms"),
    *("free", "healthy", "calm"),
    *(f"{part}, {side}" for part in ("strokes", "ms") for side in SHADES),
)

SETTINGS = ("as it comes", "suggested")

GRID = np.unique(np.round(np.concatenate([np.linspace(0, 1, 251), np.linspace(0, 0.1, 101)]), 4))
"""Thresholds of the curves."""

SHARE = 0.02
"""Share of the brain whose voxels can be candidates: one false detection per patient is reached long before."""

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]
Record = dict[str, Any]
Masks = Mapping[str, cead.PostprocessParams]


@dataclass(frozen=True, eq=False)
class Seen:
    """What a map says of a scan.

    Attributes:
        values: (Z, Y, X) in [0, 1].
        brain: (Z, Y, X).
        masks: By setting, the mask.
    """

    values: Values
    brain: Mask
    masks: Mapping[str, Mask]


@dataclass(frozen=True, eq=False)
class Subject:
    """What is measured: a model, or a map without a network.

    Attributes:
        name: Name of its folder.
        key: Changes with everything that its figures depend on.
        masks: Its settings, as `results.json` has them.
        score: Its score.
    """

    name: str
    key: str
    masks: Masks
    score: str

    def look(self, patient: Patient) -> Seen:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Model(Subject):
    """A model, seen as whoever calls ``napari_cead.detect`` sees it."""

    detector: cead.Detector = field(kw_only=True)

    @classmethod
    def load(cls, name: str, folder: str) -> Model:
        """Load a model and what it suggests."""
        detector = cead.load_model(folder, device="cpu")
        plain, full = settle(detector.card, "default"), settle(detector.card, "suggested")
        if plain.rule == "default":
            raise SystemExit(f"error: {folder}: the model suggests no threshold; calibrate it first")
        key = hashlib.sha256(detector.card.model_dump_json().encode()).hexdigest()
        masks = dict(zip(SETTINGS, (plain.params, full.params), strict=True))
        return cls(name, key, masks, plain.score, detector=detector)

    def look(self, patient: Patient) -> Seen:
        found = cead.detect(patient, self.detector)
        if found.params != self.masks["as it comes"] or found.brain is None:
            raise SystemExit(f"error: {patient.name}: detected with other settings than the card has")
        more = cead.postprocess(
            found.anomaly_map, self.masks["suggested"], patient.spacing, found.brain, workers=1
        )
        return Seen(found.anomaly_map, found.brain, dict(zip(SETTINGS, (found.mask, more), strict=True)))


@dataclass(frozen=True, eq=False)
class Free(Subject):
    """A map without a network."""

    baseline: Baseline = field(kw_only=True)

    def look(self, patient: Patient) -> Seen:
        seen = self.baseline.seen(patient)
        values, brain = seen.anomaly_map(self.score), seen.stack.brain
        masks = {
            name: cead.postprocess(values, params, patient.spacing, brain, workers=1)
            for name, params in self.masks.items()
        }
        return Seen(values, brain, masks)


def free_subjects(data: Path, work: Path, out: Path, few: int | None) -> list[Free]:
    """Return the maps without a network, with the settings that the 109 choose for them as they do for a model.

    As it comes, a map without a network has its fixed threshold of rule ``healthy-quantile``.
    """
    titles = {
        (name, score): f"flair-{name}" + (f" {score}" if len(baseline.maps) > 1 else "")
        for name, baseline in BASELINES.items()
        for score in baseline.maps
    }
    file = out / "baselines.json"
    chosen: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    missing = [key for key, title in titles.items() if title not in chosen]
    if missing:
        cases: dict[tuple[str, str], list[Case]] = {key: [] for key in missing}
        for patient in islice(scans("strokes", data, work), few):
            for name, score in missing:
                # On single slices, smoothing through slices is smoothing in plane: chosen once.
                if score.endswith("-3d") and (name, score.replace("-3d", "-2d")) in cases:
                    continue
                seen = BASELINES[name].seen(patient)
                brain = seen.stack.brain
                cases[name, score].append(
                    Case.of(
                        *(patient.name, seen.anomaly_map(score), patient.lesion_mask, brain),
                        *(patient.spacing, np.zeros(len(brain), np.bool_)),
                    )
                )
        for (name, score), found in cases.items():
            best = search(found or cases[name, score.replace("-3d", "-2d")])
            if best is None:
                raise SystemExit("error: there is no lesion mask to choose settings by")
            chosen[titles[name, score]] = best.params.model_dump()
        write_text(file, json.dumps(chosen, indent=1))
    subjects = []
    for (name, score), title in titles.items():
        plain = BASELINES[name].settings(score, "healthy-quantile", "flair")
        if plain is None:
            raise SystemExit(f"error: {title} has no fixed threshold")
        masks = dict(zip(SETTINGS, (plain, cead.PostprocessParams(**chosen[title])), strict=True))
        key = json.dumps({setting: params.model_dump() for setting, params in masks.items()})
        subjects.append(Free(title, key, masks, score, baseline=BASELINES[name]))
    return subjects


def patients(part: str, data: Path, work: Path) -> Iterator[Patient]:
    """Give the patients of a part; ``PART, SIDE`` are those of a part with a coil that is brighter there."""
    plain, _, side = part.partition(", ")
    if side:
        strength, axis = SHADES[side]
        for patient in scans(plain, data, work):
            shaded = coil(patient.volume(), patient, strength, axis)
            yield replace(patient, sequences={patient.sequence: shaded})
    elif part == "calm":
        for name in CALIBRATING:
            folder = data / "nichart" / name
            mask = folder / "wmh_AUTOMATIC.nii.gz"
            yield replace(
                cead.load_patient(folder / "flair_brain.DERIVED.nii.gz", sequence="flair", mask=mask),
                name=name,
            )
    else:
        yield from scans(plain, data, work)


def record(seen: Seen, patient: Patient, part: str) -> Record:
    """Return what is kept of a scan under a map."""
    reference = patient.lesion_mask if patient.lesion_mask is not None else np.zeros_like(seen.brain)
    kept: Record = {"name": patient.name, "curve": dice_curve(seen, reference)}
    kept["ap"] = average_precision(seen.values, reference, seen.brain)
    for setting, mask in seen.masks.items():
        counts, match = confusion(mask, reference), match_lesions(mask, reference, patient.spacing)
        kept[f"{setting}/counts"] = (counts.tp, counts.fp, counts.fn)
        kept[f"{setting}/lesions"] = (
            *(len(match.lesions), len(match.found)),
            *(len(match.detections), len(match.false_detections)),
        )
        # Outside the mask, where there is one: what is marked in healthy tissue.
        kept[f"{setting}/ml"] = volume_ml(mask & ~reference, patient.spacing)
    if part == "phantoms":
        labels, count = ndimage.label(reference, np.ones((3, 3, 3)))
        voxels = ndimage.sum_labels(reference, labels, range(1, count + 1))
        found = candidates(seen.values, reference, seen.brain, share=SHARE)
        kept |= {"scores": found.scores, "changes": found.changes, "highest": found.lesions}
        kept["mm"] = (6 * np.asarray(voxels) * np.prod(patient.spacing) / np.pi) ** (1 / 3)
    return kept


def dice_curve(seen: Seen, reference: Mask) -> Values:
    """Return the Dice of the map itself above each threshold of `GRID`; lesion outside the brain is missed."""
    lesion = np.sort(seen.values[reference & seen.brain])
    other = np.sort(seen.values[seen.brain & ~reference])
    tp = lesion.size - np.searchsorted(lesion, GRID, side="right")
    fp = other.size - np.searchsorted(other, GRID, side="right")
    return np.asarray(2 * tp / np.maximum(tp + fp + np.count_nonzero(reference), 1), np.float32)


def measure(
    subjects: Sequence[Subject], parts: Sequence[str], data: Path, work: Path, out: Path, few: int | None
) -> None:
    """Measure what is not measured yet: all maps of a scan, then the next scan."""
    for part in parts:
        missing = [subject for subject in subjects if load(out, subject, part) is None]
        if not missing:
            continue
        kept: dict[str, list[Record]] = {subject.name: [] for subject in missing}
        for patient in islice(patients(part, data, work), few):
            for subject in missing:
                kept[subject.name].append(record(subject.look(patient), patient, part))
        let_patient_go()
        for subject in missing:
            _save(out, subject, part, kept[subject.name])
        print(f"{part}: {len(kept[missing[0].name])} scans, {len(missing)} maps", file=sys.stderr, flush=True)


RAGGED = ("scores", "changes", "highest", "mm")
"""What is of another length in each patient."""


def _file(out: Path, subject: Subject, part: str) -> Path:
    return out / subject.name / f"{part}.npz"


def _save(out: Path, subject: Subject, part: str, records: Sequence[Record]) -> None:
    arrays: dict[str, Any] = {"meta": np.array(json.dumps({"version": VERSION, "key": subject.key}))}
    for name in records[0]:
        if name in RAGGED:
            arrays[name] = np.concatenate([each[name] for each in records])
            arrays[f"{name}/lengths"] = np.array([len(each[name]) for each in records])
        else:
            arrays[name] = np.array([each[name] for each in records])
    file = _file(out, subject, part)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def load(out: Path, subject: Subject, part: str) -> dict[str, Any] | None:
    """Return what was kept of a part under a map; None if it is not measured, or was with other weights or settings."""
    try:
        with np.load(_file(out, subject, part), allow_pickle=False) as stored:
            if json.loads(str(stored["meta"])) != {"version": VERSION, "key": subject.key}:
                return None
            found = {name: stored[name] for name in stored.files if name != "meta"}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    for name in RAGGED:
        if name in found:
            found[name] = np.split(found[name], np.cumsum(found[f"{name}/lengths"])[:-1])
    return found
