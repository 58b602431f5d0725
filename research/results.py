"""The figures of a finished model on the shared pack, beside maps without a network and an earlier model: one command.

    python research/results.py --data DATA --work WORK --model ce-unet --against FOLDER --docs docs

Through the product's own interface (``cead.load_patient``, ``cead.detect``, ``cead.postprocess``), one pass of the
network per scan. What is measured already is left out, part by part, so that the command can be repeated; ``--parts``
measures some parts alone (parts can be measured side by side), ``--only write`` measures nothing. Writes
``research/results.json``; with ``--docs`` also the two figures in ``docs/images``, the tables of ``results.md``
and all maps in ``results-detail.md``. ``--few N`` tries it on the first N scans of each part, whose counts and
``results.json`` are kept apart.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawing import draw_sizes, draw_thresholds
from measuring import GRID, PARTS, SETTINGS, Free, Model, Subject, free_subjects, load, measure
from napari_cead.atomic import write_text
from napari_cead.errors import CeadWarning
from napari_cead.metrics import Candidates
from napari_cead.metrics.froc import froc
from page import write_detail, write_page

MODEL, EARLIER = "model", "earlier"
ALLOWED = 1.0
"""False detections per patient at which sensitivity is read by size."""
SIZES = (0.0, 4.0, 5.0, 7.0, 10.0, np.inf)
"""Bounds of the sizes, mm: the diameter of the ball of equal volume."""
RESAMPLES = 1000

Arrays = Mapping[str, Any]
Numbers = NDArray[np.float64]


def per_patient(arrays: Arrays) -> dict[str, Numbers]:
    """Return, by figure, one number per scan whose mean over scans is the figure."""
    # A lesion that lies outside the brain altogether, as one of the 109, has no precision: none of it is found.
    found: dict[str, Numbers] = {"AP": np.nan_to_num(np.asarray(arrays["ap"], np.float64))}
    best = int(np.mean(arrays["curve"], axis=0, dtype=np.float64).argmax())
    # One threshold for all scans of the part: the best one for them, which nobody would know.
    found["best"] = arrays["curve"][:, best].astype(np.float64)
    for setting in SETTINGS:
        tp, fp, fn = arrays[f"{setting}/counts"].astype(np.float64).T
        found[f"Dice, {setting}"] = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
        found[f"nothing found, {setting}"] = (tp == 0).astype(np.float64)
        lesions, hit, _, false = arrays[f"{setting}/lesions"].astype(np.float64).T
        found[f"found, {setting}"], found[f"false, {setting}"] = hit, false
        found["lesions"] = lesions
    return found


def healthy(arrays: Arrays) -> dict[str, Any]:
    """Return what is marked in healthy scans, mL."""
    return {
        f"mL, {setting}": {
            "median": float(np.median(arrays[f"{setting}/ml"])),
            "each": [round(float(ml), 2) for ml in arrays[f"{setting}/ml"]],
        }
        for setting in SETTINGS
    }


def draws(scans: int) -> NDArray[np.int64]:
    """Return which scans each resample draws: those of ``napari_cead.metrics.bootstrap``."""
    return np.random.default_rng(0).integers(scans, size=(RESAMPLES, scans))


def interval(values: Numbers) -> list[float] | None:
    """Return the middle 95 % of the means of resamples; None where there are too few scans for that."""
    if len(values) < 20:
        return None
    return [
        round(float(end), 4) for end in np.quantile(values[draws(len(values))].mean(axis=1), [0.025, 0.975])
    ]


def pooled(arrays: Arrays, setting: str) -> float:
    """Return the Dice of the voxels of all scans together."""
    tp, fp, fn = arrays[f"{setting}/counts"].sum(axis=0)
    return float(2 * tp / max(2 * tp + fp + fn, 1))


def figures(arrays: Arrays) -> dict[str, Any]:
    """Return the figures of a part with lesions under one map."""
    values = per_patient(arrays)
    found: dict[str, Any] = {"scans": len(arrays["name"])}
    for name, each in values.items():
        if name == "lesions" or name.startswith("found"):
            found[name] = int(each.sum())
        else:
            found[name] = {"mean": float(each.mean()), "interval": interval(each)}
    found["best threshold"] = float(GRID[int(np.mean(arrays["curve"], axis=0, dtype=np.float64).argmax())])
    found |= {f"pooled Dice, {setting}": pooled(arrays, setting) for setting in SETTINGS}
    if found["scans"] < 20:
        found["each"] = {
            str(scan): {
                name: round(float(values[name][number]), 4)
                for name in ("AP", *(f"Dice, {setting}" for setting in SETTINGS))
            }
            for number, scan in enumerate(arrays["name"])
        }
    return found


def travel(curves: Mapping[str, Numbers]) -> dict[str, Any]:
    """Return, by part, the Dice of a map above the threshold that is best for the 109, and above its own best one.

    Args:
        curves: By part, the mean Dice at each threshold of `GRID`.
    """
    kept = int(np.argmax(curves["strokes"]))
    return {
        part: {
            "kept": float(GRID[kept]),
            "Dice": float(curve[kept]),
            "best": float(GRID[int(np.argmax(curve))]),
            "best Dice": float(np.max(curve)),
        }
        for part, curve in curves.items()
    }


COMPARED = ("best", "AP", *(f"{what}, {each}" for each in SETTINGS for what in ("Dice", "nothing found")))


def differences(one: Arrays, other: Arrays) -> dict[str, Any]:
    """Return the figures of one map minus those of another on the same scans, with paired intervals."""
    if list(one["name"]) != list(other["name"]):
        raise SystemExit("error: two maps were not measured on the same scans")
    first, second = per_patient(one), per_patient(other)
    gaps = {name: first[name] - second[name] for name in COMPARED}
    return {name: {"mean": float(gap.mean()), "interval": interval(gap)} for name, gap in gaps.items()}


def by_size(arrays: Arrays) -> dict[str, Any]:
    """Return the share of lesions found by size, at `ALLOWED` false detections per patient."""
    cohort = [
        Candidates(scores, changes, highest)
        for scores, changes, highest in zip(
            arrays["scores"], arrays["changes"], arrays["highest"], strict=True
        )
    ]
    scores, where = np.unique(np.concatenate([each.scores for each in cohort]), return_inverse=True)
    changes = np.zeros(len(scores), np.int64)
    np.add.at(changes, where, np.concatenate([each.changes for each in cohort]))
    many = np.flatnonzero(np.cumsum(changes[::-1]) > ALLOWED * len(cohort))
    threshold = float(scores[::-1][many[0]]) if many.size else 0.0
    hit = np.concatenate([each.lesions for each in cohort]) > np.float32(threshold)
    if not np.isclose(hit.mean(), froc(cohort, (ALLOWED,))[0]):
        raise SystemExit("error: the share found differs from that of napari_cead.metrics")
    mm = np.concatenate(arrays["mm"])
    bins = np.digitize(mm, SIZES[1:-1])
    return {
        "threshold": threshold,
        "all": float(hit.mean()),
        "bins": [
            {"lesions": int((bins == number).sum()), "found": int(hit[bins == number].sum())}
            for number in range(len(SIZES) - 1)
        ],
    }


def described(subject: Subject) -> dict[str, Any]:
    """Return what a map is."""
    found: dict[str, Any] = {"score": subject.score}
    if isinstance(subject, Model):
        card = subject.detector.card
        found |= {"model": card.name, "sha256": card.sha256, "parameters": card.parameters}
    return found | {"settings": {name: params.model_dump() for name, params in subject.masks.items()}}


def gather(subjects: Sequence[Subject], out: Path) -> dict[str, Any]:
    """Return everything that the pages and figures are made of."""
    kept = {
        (subject.name, part): arrays
        for subject in subjects
        for part in PARTS
        if (arrays := load(out, subject, part)) is not None
    }
    results: dict[str, Any] = {
        "maps": {subject.name: described(subject) for subject in subjects},
        "without a network": [subject.name for subject in subjects if isinstance(subject, Free)],
        "missing": sorted(
            f"{subject.name}: {part}"
            for subject in subjects
            for part in PARTS
            if (subject.name, part) not in kept
        ),
        "parts": {},
        "differences": {},
        "travel": {},
        "sizes": {"mm": [size if np.isfinite(size) else None for size in SIZES], "maps": {}},
        "thresholds": {"grid": GRID.tolist(), "maps": {}},
    }
    curves: dict[str, dict[str, Numbers]] = {}
    for (name, part), arrays in kept.items():
        calm = part in ("free", "healthy", "calm")
        results["parts"].setdefault(part, {})[name] = healthy(arrays) if calm else figures(arrays)
        if part == "phantoms":
            results["sizes"]["maps"][name] = by_size(arrays)
        if not calm and ", " not in part:
            curves.setdefault(name, {})[part] = np.mean(arrays["curve"], axis=0, dtype=np.float64)
        if name == MODEL and not calm:
            results["differences"][part] = {
                other: differences(arrays, kept[other, part])
                for other in results["maps"]
                if other != name and (other, part) in kept
            }
    for name, of_parts in curves.items():
        if "strokes" in of_parts:
            results["travel"][name] = travel(of_parts)
        if name in (MODEL, EARLIER):
            rounded = {part: [round(dice, 4) for dice in curve.tolist()] for part, curve in of_parts.items()}
            results["thresholds"]["maps"][name] = rounded
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="holds the phantoms of the protocol")
    parser.add_argument("--model", help="folder or name of the model; --only measure needs none")
    parser.add_argument("--against", help="folder of an earlier model")
    parser.add_argument("--out", type=Path, help="folder of the counts; WORK/results unless given")
    parser.add_argument("--docs", type=Path, help="folder of the pages to write")
    parser.add_argument("--parts", help="parts to measure, with ; between them; all unless given")
    parser.add_argument("--only", choices=("measure", "write"), help="do only this")
    parser.add_argument("--few", type=int, metavar="N", help="the first N scans of each part, to try it")
    options = parser.parse_args()
    out: Path = options.out or options.work / "results"
    if options.few:
        out /= f"first-{options.few}"  # never taken for the whole
    warnings.simplefilter("ignore", CeadWarning)
    out.mkdir(parents=True, exist_ok=True)
    if not options.model and options.only != "measure":
        parser.error("which --model?")
    subjects: list[Subject] = [Model.load(MODEL, options.model)] if options.model else []
    if options.against:
        subjects.append(Model.load(EARLIER, options.against))
    subjects += free_subjects(options.data, options.work, out, options.few)
    parts = options.parts.split(";") if options.parts else PARTS
    if wrong := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(wrong))}; there are {'; '.join(PARTS)}")
    if options.only != "write":
        measure(subjects, parts, options.data, options.work, out, options.few)
    if options.only == "measure":
        return
    results = gather(subjects, out)
    if results["missing"] and not options.few:
        raise SystemExit(f"error: not measured yet: {', '.join(results['missing'])}")
    place = out if options.few else Path(__file__).parent
    write_text(place / "results.json", json.dumps(results, indent=1) + "\n")
    print(place / "results.json")
    if options.docs:
        draw_thresholds(results, options.docs / "images" / "results-thresholds.png")
        draw_sizes(results, options.docs / "images" / "results-sizes.png")
        write_page(results, options.docs / "explanation" / "results.md")
        write_detail(results, options.docs / "explanation" / "results-detail.md")


if __name__ == "__main__":
    main()
