"""``report.html``: one self-contained page that needs no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ...detection.rules import RULES, is_optimistic
from ...errors import extra
from ...metrics import FALSE_POSITIVES
from ..paper import PAPER_NOTE
from ..results import Evaluation, Row, SlicePicture
from ..rules import QUANTILE, QUANTILE_OF_DENOISERS
from ..seen import not_known
from .charts import Chart, Line, curve_chart, pair_chart, point_chart, strip_chart
from .pictures import DETECTED_COLOR, REFERENCE_COLOR, Panels, color_stops, panels
from .rows import AVERAGES, Labels, TableRow, number, table_rows, value_of
from .summary import best_row, headline_rule, sentences, tiles

COLUMNS: tuple[tuple[str, str], ...] = (
    ("lesion sensitivity", "share of all lesions with at least one detected voxel"),
    ("lesion precision", "share of all detections (connected components) that touch a lesion"),
    ("lesion F1", "harmonic mean of lesion sensitivity and lesion precision"),
    ("FP / patient", "false positives: detections without a lesion voxel, mean over patients"),
    ("precision", "share of the detected voxels that are lesion, all patients together"),
    ("recall", "share of the lesion voxels that are detected, all patients together"),
    (
        "HD95 (mm)",
        "95th percentile Hausdorff distance between the surfaces of the two masks, mean over the patients with both "
        "lesion and detection; their number is shown below",
    ),
    ("detected (mL)", "volume of the detected mask, mean over patients"),
    (
        "FP mL, healthy",
        "volume of the detected mask in patients without lesion, all of it false, mean over these patients; their "
        "number is shown below",
    ),
    (
        "AUROC",
        "area under the receiver operating characteristic curve, over the brain voxels of all patients, before any "
        "threshold",
    ),
    ("AUPRC", "area under the precision-recall curve (average precision), over the same voxels"),
    (
        "FROC",
        "mean of the share of the lesions found at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per patient, before "
        "post-processing; a separate table shows the seven",
    ),
)
"""Columns of the table beside the averages, with their meaning."""

AVERAGE_NAMES = {
    "dice_patient": "mean over patients of the Dice of the whole volume; patients with neither lesion nor detection "
    "are left out",
    "dice_pooled": "one Dice of all voxels of all patients",
    "dice_lesion_slices": "mean over the slices with lesion",
    "dice_all_slices": "mean over all slices with brain, where a slice with neither lesion nor detection counts 1: a "
    "detector that finds nothing scores high here",
}


@dataclass(frozen=True)
class _RulePanel:
    """The part of the page for one rule."""

    name: str
    about: str
    optimistic: bool
    table: list[TableRow]
    notes: list[str]
    averages: list[Chart]
    patients: list[Chart]
    left_out: str
    sizes: list[Chart]
    twins: list[Chart]


@dataclass(frozen=True)
class _Picture:
    """One slice with its caption."""

    kind: str
    patient: str
    slice: int
    dice: str
    rule: str
    threshold: float | None
    panels: Panels


@dataclass(frozen=True)
class _Album:
    """The slices of one model."""

    model: str
    detail: str
    best: bool
    pictures: list[_Picture]


def html_report(evaluation: Evaluation) -> str:
    """Return an evaluation as one HTML page with embedded pictures and style, and without scripts.

    Args:
        evaluation: From ``evaluate``.

    Raises:
        MissingExtraError: If jinja2 or matplotlib is not installed.
    """
    with extra("evaluate", "The report"):
        import matplotlib  # noqa: F401  # the charts need it: better now than halfway
        from jinja2 import Environment, StrictUndefined

    # Everything is escaped: names of patients and models may be any text.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = Path(__file__).with_name("template.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(_values(evaluation)) + "\n"


def _values(evaluation: Evaluation) -> dict[str, Any]:
    """Return the values for the template."""
    labels = Labels(evaluation)
    rule = headline_rule(labels)
    stops = color_stops()
    return {
        "evaluation": evaluation,
        "share_above": _share_above(evaluation.quantile),
        "sequences": labels.sequences,
        "not_known": not_known(evaluation.rows),
        "sentences": sentences(evaluation, labels),
        "tiles": tiles(evaluation, evaluation.rows),
        "chosen_rule": rule,
        "rules": [_rule_panel(evaluation, labels, name) for name in labels.rules()],
        "averages": [(name, AVERAGE_NAMES[name]) for name in AVERAGES],
        "columns": COLUMNS,
        "methods": _methods(evaluation, labels),
        "froc_points": [str(Fraction(number)) for number in FALSE_POSITIVES],
        "froc": _froc(evaluation, labels),
        "paper_note": PAPER_NOTE,
        "curves": _curves(evaluation, labels),
        "curve_patients": max((curve.patients for curve in evaluation.curves), default=0),
        "albums": _albums(evaluation, labels, rule),
        "colors": {"reference": REFERENCE_COLOR, "detected": DETECTED_COLOR, "map": ", ".join(stops)},
        "qualities": [
            (
                model,
                number(model.quality.get("psnr"), 2),
                number(model.quality.get("psnr_brain"), 2),
                number(model.quality.get("ssim")),
                model.quality.get("slices", 0),
            )
            for model in evaluation.models
        ],
    }


def _methods(evaluation: Evaluation, labels: Labels) -> list[tuple[str, str]]:
    """Return the method of each baseline, by its name and, if it has several, its score."""
    found = {
        " · ".join(part for part in (row.model, labels.detail(row.model, row.score, "")) if part): row.method
        for row in evaluation.rows
        if row.method
    }
    return list(found.items())


def _froc(evaluation: Evaluation, labels: Labels) -> list[tuple[str, str, bool, list[str]]]:
    """Return name, detail, whether it is a baseline, and the sensitivities of each map, whatever the rule."""
    found = {(row.model, row.score, row.sequence): row for row in evaluation.rows if row.froc}
    return [
        (
            row.model,
            labels.detail(row.model, row.score, row.sequence),
            labels.baseline(row),
            [number(value) for value in (*row.froc, row.froc_mean)],
        )
        for row in found.values()
    ]


def _about(rule: str) -> str:
    """Return what a rule does; nothing is known here of one whose package is missing."""
    if rule == "none":
        return "No rule was asked for."
    return RULES.find(rule).about if rule in RULES else ""


def _share_above(quantile: float | None) -> str:
    """Return in words the share that rule `healthy-quantile` leaves above a threshold."""
    if quantile is None:
        return f"{1 - QUANTILE:.3g} (for denoisers {1 - QUANTILE_OF_DENOISERS:.3g})"
    return f"{1 - quantile:.3g}"


def _rule_panel(evaluation: Evaluation, labels: Labels, rule: str) -> _RulePanel:
    rows = labels.of_rule(rule)
    with_figures = [row for row in rows if row.averages is not None]
    optimistic = is_optimistic(rule)
    undefined = max((row.averages.both_empty_patients for row in with_figures if row.averages), default=0)
    return _RulePanel(
        name=rule,
        about=_about(rule).format(share=_share_above(evaluation.quantile)),
        optimistic=optimistic,
        table=table_rows(labels, rows),
        notes=[
            " ".join((row.model, labels.detail(row.model, row.score, row.sequence))).strip() + f": {row.note}"
            for row in rows
            if row.note and not row.optimistic
        ],
        averages=[_averages_chart(labels, rows, name, optimistic) for name in AVERAGES],
        patients=_patient_charts(labels, with_figures, rule),
        left_out=f"Up to {undefined} of the patients have no Dice (neither lesion nor detection) and no point."
        if undefined
        else "",
        sizes=_size_charts(labels, with_figures, optimistic),
        twins=_twin_charts(evaluation, labels, rule, optimistic),
    )


def _averages_chart(labels: Labels, rows: Sequence[Row], name: str, optimistic: bool) -> Chart:
    lines = [labels.line(row, (value_of(row, name),), row.intervals.get(name)) for row in rows]
    free = [value_of(row, name) for row in rows if labels.baseline(row) and row.score is not None]
    best = max((value for value in free if math.isfinite(value)), default=None)
    return point_chart(lines, name, reference=best, hollow=optimistic)


def _patient_charts(labels: Labels, rows: Sequence[Row], rule: str) -> list[Chart]:
    """Return the strip of all rows, and the best model's patients against the best baseline."""
    dice = [(row, {item.name: item.counts.total.dice() for item in row.patients}) for row in rows]
    lines = [labels.line(row, tuple(values.values())) for row, values in dice if values]
    charts = [strip_chart(lines, "Dice of the volume")] if lines else []
    best = best_row(labels, rule)
    raw = None if best is None else labels.best_baseline(rule, best.sequence)
    if best is not None and raw is not None:
        model, other = (next(values for row, values in dice if row is found) for found in (best, raw))
        pairs = [(other[name], value) for name, value in model.items() if name in other]
        charts.append(pair_chart(pairs, raw.model, best.model))
    return charts


def _size_charts(labels: Labels, rows: Sequence[Row], optimistic: bool) -> list[Chart]:
    """Return one chart for each lesion size that occurs."""
    charts = []
    sizes = {stratum.label: stratum.lesions for row in rows for stratum in row.strata if stratum.lesions}
    order = {stratum.label: stratum.low_mm for row in rows for stratum in row.strata}
    for label in sorted(sizes, key=order.__getitem__):
        lines = [
            labels.line(row, (stratum.sensitivity,), stratum.interval)
            for row in rows
            for stratum in row.strata
            if stratum.label == label
        ]
        lesions = f"{sizes[label]} lesion{'' if sizes[label] == 1 else 's'}"
        charts.append(point_chart(lines, f"{label} · {lesions}", hollow=optimistic))
    return charts


def _twin_charts(evaluation: Evaluation, labels: Labels, rule: str, optimistic: bool) -> list[Chart]:
    """Return one chart for each average that twins are compared by, all on one scale."""
    twins = [item for item in evaluation.twins if item.rule == rule]
    ends = [abs(end) for item in twins for end in (item.difference, *(item.interval or ()))]
    far = max((end for end in ends if math.isfinite(end)), default=0.0)
    reach = max(math.ceil(far * 1.1 * 20) / 20, 0.05)
    charts = []
    for name in AVERAGES:
        lines = [
            Line(
                f"{item.model} − {item.twin}",
                labels.chart_detail(item.model, item.score, item.sequence),
                (item.difference,),
                item.interval,
            )
            for item in twins
            if item.average == name
        ]
        if lines:
            charts.append(point_chart(lines, name, limits=(-reach, reach), reference=0.0, hollow=optimistic))
    return charts


def _curves(evaluation: Evaluation, labels: Labels) -> list[Chart]:
    found = [
        value
        for curve in evaluation.curves
        for value in (*curve.raw_dice_pooled, *curve.processed_dice_patient)
        if math.isfinite(value)
    ]
    top = min(max(math.ceil(max(found, default=0.0) * 1.05 * 10) / 10, 0.1), 1.0)
    charts = []
    for curve in evaluation.curves:
        chosen = {
            row.rule: float(np.median([params.threshold for params in row.settings]))
            for row in evaluation.rows
            if (row.model, row.score, row.sequence) == (curve.model, curve.score, curve.sequence)
            and row.settings
        }
        detail = labels.chart_detail(curve.model, curve.score, curve.sequence)
        charts.append(curve_chart(curve, chosen, top, detail))
    return charts


def _albums(evaluation: Evaluation, labels: Labels, rule: str) -> list[_Album]:
    """Return the slices by model, score and sequence, in the order of the evaluation."""
    groups: dict[tuple[str, str, str], list[SlicePicture]] = {}
    for picture in evaluation.pictures:
        groups.setdefault((picture.model, picture.score, picture.sequence), []).append(picture)
    best = best_row(labels, rule)
    shown = None if best is None else (best.model, best.score, best.sequence)
    shown = shown if shown in groups else next(iter(groups), None)
    return [
        _Album(
            model=key[0],
            detail=labels.detail(*key),
            best=key == shown,
            pictures=[_picture(picture) for picture in pictures],
        )
        for key, pictures in groups.items()
    ]


def _picture(picture: SlicePicture) -> _Picture:
    return _Picture(
        kind=picture.kind,
        patient=picture.patient,
        slice=picture.slice,
        dice=number(picture.dice),
        rule=picture.rule,
        threshold=picture.threshold,
        panels=panels(picture),
    )
