"""From counts to figures: every score of every model under every rule, without and with post-processing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.evaluation.ranking import ranking
from napari_cead.metrics import (
    PatientCounts,
    averages,
    bootstrap,
    bootstrap_difference,
    bootstrap_ratio,
    lesion_f1,
)

from .choosing import Counts, dice_pooled, per_patient
from .resampling import RESAMPLES, drawn, interval, pooled, rankings
from .scans import FREE, MS, STROKE
from .tally import Measured, Tally

BASELINE, NOTHING = "flair-asymmetry", "nothing"
"""What ratios are to, the strongest baseline without a network on the strokes; and the one that detects nothing."""

STRICT = "strictly lesion-free"
"""The slices of `FREE` with almost no bright tissue."""

KINDS = ("raw", "post")
"""The map cut at the threshold, and after the paper's post-processing."""

RULES = ("healthy-quantile", "validation", "oracle")

ON_LESIONS = ("dice_pooled", "dice_patient", "dice_lesion_slices", "precision", "recall")
"""Averages over the slices with lesions; `dice_all_slices` is over these and the lesion-free ones."""

BLUR = 0.005
"""How far bins may move a ranking figure from the exact one, for its resamples to be taken from them."""

Figures = dict[str, Any]


def measured_nothing(found: Measured) -> Measured:
    """Return what a detector that marks nothing would have left, given what another one has."""
    tallies = {}
    for name, tally in found.tallies.items():
        counts = tally.counts["validation"].copy()
        lesions = tally.lesions["validation"].copy()
        counts[:, 2] += counts[:, 0]
        counts[:, :2], lesions[:, 1:] = 0, 0
        lesion, other = (np.zeros_like(part) for part in (tally.lesion, tally.other))
        lesion[:, 0], other[:, 0] = tally.lesion.sum(axis=1), tally.other.sum(axis=1)
        tallies[name] = replace(
            tally, lesion=lesion, other=other, counts={"validation": counts}, lesions={"validation": lesions}
        )
    kept = {key: value for key, value in found.meta.items() if key != "exact"}
    rules = {"validation": dict.fromkeys((STROKE, FREE, MS), 1.0)}
    meta = {**kept, "model": NOTHING, "score": "–", "thresholds": dict.fromkeys(KINDS, rules)}
    return Measured(meta, tallies)


def rows_of(found: Measured, baseline: Measured, strict: Iterable[str]) -> list[Figures]:
    """Return the rows of one score of one model.

    Args:
        found: Its counts.
        baseline: Those of `BASELINE`, for the ratios.
        strict: Names of the strictly lesion-free slices.
    """
    names = frozenset(strict)
    chosen = {STRICT: [name in names for name in found.meta["patients"][FREE]]}
    chosen[FREE] = [True] * len(chosen[STRICT])
    ranks = {name: _ranking(found, baseline, name) for name in (STROKE, MS)}
    rows = []
    for kind in KINDS:
        for rule in RULES:
            thresholds = found.meta["thresholds"][kind].get(rule)
            if thresholds is None:
                continue
            on_stroke = counts_of(found, STROKE, kind, rule)
            row: Figures = {
                "model": found.meta["model"],
                "score": found.meta["score"],
                "rule": rule,
                "kind": kind,
                "optimistic": rule == "oracle",
                "thresholds": {**thresholds, STROKE: _of_folds(thresholds[STROKE], found.meta["folds"])},
                STROKE: {"patients": len(on_stroke), **_with_intervals(on_stroke), **ranks[STROKE]},
                MS: {**_plain(counts_of(found, MS, kind, rule)), **ranks[MS]},
            }
            if rule in baseline.meta["thresholds"][kind]:
                row[STROKE]["dice_pooled_ratio"] = _ratio(found, baseline, kind, rule)
            if kind == "post":
                for name in (STROKE, MS):
                    row[name] |= _lesion_wise(
                        found.tallies[name].lesions[rule], found.meta.get("exact", {}).get(name)
                    )
            if FREE in thresholds:
                free = counts_of(found, FREE, kind, rule)
                row[STROKE]["dice_all_slices"] = _with_intervals([*on_stroke, *free], ("dice_all_slices",))[
                    "dice_all_slices"
                ]
                voxels = found.tallies[FREE].voxels
                for name, use in chosen.items():
                    row[name] = _false_positives(free, voxels, np.array(use))
            rows.append(row)
    return rows


def differences(first: Measured, second: Measured) -> list[Figures]:
    """Return the figures of one model minus those of another under the same score, with paired intervals.

    Every resample draws the same patients for both; each has the thresholds that the rule chose for it.
    """
    rows = []
    for kind in KINDS:
        for rule in RULES:
            if any(rule not in one.meta["thresholds"][kind] for one in (first, second)):
                continue
            one, other = (counts_of(found, STROKE, kind, rule) for found in (first, second))
            values = [averages(counts).as_dict() for counts in (one, other)]
            intervals = bootstrap_difference(one, other, RESAMPLES)
            rows += [
                {
                    **_pair(first, second, rule, kind, name),
                    "value": values[0][name] - values[1][name],
                    "interval": intervals[name],
                }
                for name in ON_LESIONS
            ]
    for number, name in enumerate(("AUPRC", "AUROC")):
        (point, drawn_one), (point_other, drawn_other) = (
            _ranks(found, STROKE)[number] for found in (first, second)
        )
        rows.append(
            {
                **_pair(first, second, "–", "raw", name),
                "value": point - point_other,
                "interval": interval(drawn_one - drawn_other),
            }
        )
    return rows


def counts_of(found: Measured, name: str, kind: str, rule: str) -> list[PatientCounts]:
    """Return the counts of each patient of a set at the thresholds of a rule."""
    tally = found.tallies[name]
    if kind == "post":
        return patients_of(tally, tally.counts[rule])
    return patients_of(tally, _raw_at(tally, found.meta["thresholds"]["raw"][rule][name], found.meta["bins"]))


def _raw_at(tally: Tally, threshold: float | Sequence[float], bins: int) -> Counts:
    """Return the counts (S, 3) of the map above a threshold, one for all or one for each patient."""
    each = np.broadcast_to(threshold, int(tally.patient.max()) + 1)[tally.patient]
    above = np.rint(each * bins).astype(np.int64)  # all thresholds are multiples of a bin
    raw = tally.raw()
    nothing = np.stack([np.zeros(len(raw), np.int64)] * 2 + [raw[:, 0, [0, 2]].sum(axis=1)], axis=-1)
    chosen = raw[np.arange(len(raw)), np.minimum(above, bins - 1)]
    return np.where((above >= bins)[:, None], nothing, chosen)


def _of_folds(thresholds: float | Sequence[float], fold: Sequence[int]) -> float | list[float]:
    """Return one threshold for each fold in place of one for each patient."""
    if not isinstance(thresholds, list):
        return thresholds
    return [thresholds[fold.index(number)] for number in sorted(set(fold))]


def patients_of(tally: Tally, counts: NDArray[np.integer]) -> list[PatientCounts]:
    """Return the counts (S, 3) of slices as those of their patients."""
    ends = np.flatnonzero(np.diff(tally.patient)) + 1  # slices lie patient by patient
    return [
        PatientCounts(*rows.astype(np.int64).T, voxels > 0)
        for rows, voxels in zip(np.split(counts, ends), np.split(tally.voxels, ends), strict=True)
    ]


def _with_intervals(counts: Sequence[PatientCounts], names: Iterable[str] = ON_LESIONS) -> Figures:
    values, intervals = averages(counts).as_dict(), bootstrap(counts, RESAMPLES)
    return {name: {"value": values[name], "interval": intervals[name]} for name in names}


def _plain(counts: Sequence[PatientCounts]) -> Figures:
    """Return the averages over one patient, who has no intervals."""
    values = averages(counts).as_dict()
    return {name: {"value": values[name], "interval": None} for name in (*ON_LESIONS, "dice_all_slices")}


def _totals(found: Measured, kind: str, rule: str) -> Counts:
    return np.array(
        [[one.total.tp, one.total.fp, one.total.fn] for one in counts_of(found, STROKE, kind, rule)]
    )


def _ratio(found: Measured, baseline: Measured, kind: str, rule: str) -> Figures:
    one, base = (_totals(which, kind, rule) for which in (found, baseline))
    draws = drawn(len(one))
    return {
        "value": float(dice_pooled(one) / dice_pooled(base)),
        "interval": interval(pooled(draws, one) / pooled(draws, base)),
    }


@lru_cache(maxsize=4)  # of the baseline they are asked for again and again
def _ranks(found: Measured, name: str) -> list[tuple[float, NDArray[np.float64]]]:
    """Return AUPRC and AUROC over the voxels of all patients, each with its resamples (NaN where bins blur it)."""
    tally = found.tallies[name]
    lesion, other = (
        per_patient(part.astype(np.int64), tally.patient) for part in (tally.lesion, tally.other)
    )
    auroc, auprc = ranking(ScoreHistograms(lesion.sum(axis=0), other.sum(axis=0)))
    points = binned = (auprc, auroc)
    if "exact" in found.meta:  # the bins are for the resamples
        points = tuple(found.meta["exact"][name][figure] for figure in ("AUPRC", "AUROC"))
    draws = drawn(len(lesion))
    # A map that crowds in a few bins (squared residuals do) would have its exact figure beside another one's interval.
    return [
        (point, values if abs(point - rough) <= BLUR else np.full_like(values, np.nan))
        for point, rough, values in zip(points, binned, rankings(draws @ lesion, draws @ other), strict=True)
    ]


def _ranking(found: Measured, baseline: Measured, name: str) -> Figures:
    figures: Figures = {}
    several = len(found.meta["patients"][name]) > 1
    for label, (value, draws), (base, base_draws) in zip(
        ("AUPRC", "AUROC"), _ranks(found, name), _ranks(baseline, name), strict=True
    ):
        figures[label] = {"value": value, "interval": interval(draws) if several else None}
        figures[f"{label}_ratio"] = {
            "value": value / base,
            "interval": interval(draws / base_draws) if several else None,
        }
    return figures


def _lesion_wise(lesions: NDArray[np.integer], exact: Figures | None) -> Figures:
    there, found, detections, false = lesions.T.astype(float)
    one = np.ones_like(there)
    return {
        "lesion_sensitivity": {
            "value": float(found.sum() / there.sum()),
            "interval": bootstrap_ratio(found.tolist(), there.tolist(), RESAMPLES),
        },
        "false_positives_per_patient": {
            "value": float(false.mean()),
            "interval": bootstrap_ratio(false.tolist(), one.tolist(), RESAMPLES),
        },
        "lesion_f1": {
            "value": lesion_f1(
                found.sum() / there.sum(),
                1 - false.sum() / detections.sum() if detections.sum() else float("nan"),
            ),
            "interval": None,
        },
        "froc_mean": {"value": None if exact is None else float(np.mean(exact["FROC"])), "interval": None},
        "lesions": int(there.sum()),
        "detections": int(detections.sum()),
    }


def _false_positives(
    counts: Sequence[PatientCounts], voxels: NDArray[np.integer], use: NDArray[np.bool_]
) -> Figures:
    """Return how much is marked where there is no lesion: slices are patients here."""
    marked = np.array([one.total.fp for one in counts], float)[use]
    inside = voxels[use].astype(float)
    return {
        "slices": int(use.sum()),
        "share_of_brain": {
            "value": float(marked.sum() / inside.sum()),
            "interval": bootstrap_ratio(marked.tolist(), inside.tolist(), RESAMPLES),
        },
        "share_of_slices": {
            "value": float((marked > 0).mean()),
            "interval": bootstrap_ratio((marked > 0).astype(float).tolist(), [1.0] * len(marked), RESAMPLES),
        },
    }


def _pair(first: Measured, second: Measured, rule: str, kind: str, average: str) -> Mapping[str, Any]:
    return {
        "model": first.meta["model"],
        "twin": second.meta["model"],
        "score": first.meta["score"],
        "rule": rule,
        "kind": kind,
        "average": average,
        "patients": len(first.meta["patients"][STROKE]),
    }
