"""``report.html``: one self-contained page that needs no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...calibration.rules import QUANTILE, QUANTILE_OF_DENOISERS
from ...detection.rules import RULES, is_optimistic
from ...errors import extra
from ...wording import counted, number
from ..columns import AVERAGES, FROC, MIXTURE, Column, Values, columns, lesion_values, row_values
from ..groups import by_group
from ..leading import leading_rule
from ..paper import PAPER_NOTE
from ..results import Evaluation, Row, SlicePicture
from ..seen import mark_of, not_known
from ..table import GROUP, SEEDS_ABOUT, mixture_about, over_seeds_table
from .charts import Chart, Line, curve_chart, point_chart
from .pictures import DETECTED_COLOR, REFERENCE_COLOR, color_stops, panels
from .rows import Labels, best_values, value_of
from .summary import best_row, headline, sentences, tiles

FIGURES = columns(
    "paper",
    *AVERAGES,
    *("lesion_sensitivity", "lesion_f1", "false_positives_per_patient", "healthy_ml", "threshold"),
)
"""The columns of the first table of a rule."""

MORE = columns(
    *("lesion_precision", "precision", "recall", "hd95", "lesionwise_dice", "lesionwise_hd95"),
    *("detected_ml", "healthy_above"),
)
"""The columns of the second: both together would be wider than a screen."""

RANKING = columns("auroc", "auprc", "aupro", "dice_ceiling", "froc_mean")
"""The columns of the maps themselves, whatever the rule."""

FROC_POINTS = columns(*FROC)

MIXED = columns("paper", *(f"mixture_{name}" for name in MIXTURE), "mixture_range")
"""The columns of the averages in a published mixture of slices."""

GROUPED = columns(*GROUP)

QUALITY = columns("psnr", "psnr_brain", "ssim")

LESIONS: tuple[Column, ...] = (
    Column("lesion", "lesion", "number of the lesion in the patient", 0),
    Column("diameter_mm", "diameter (mm)", "diameter of the ball of its volume", 1),
    Column("volume", "volume (mL)", "its volume", find=lambda row: row["volume_mm3"] / 1000),
    Column(
        "overlap",
        "detected (mL)",
        "its volume that was detected",
        find=lambda row: row["overlap_mm3"] / 1000,
    ),
    Column(
        "found",
        "found",
        "whether one of its voxels was detected",
        write=lambda row: "found" if row["found"] else "missed",
    ),
)
"""The columns of the lesions of a patient."""


@dataclass(frozen=True)
class _RulePanel:
    """The part of the page for one rule."""

    name: str
    about: str
    optimistic: bool
    table: list[tuple[Row, Values]]
    best: dict[str, float]
    notes: list[str]
    averages: list[Chart]
    sizes: list[Chart]
    twins: list[Chart]


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
    rule = leading_rule(evaluation)
    stops = color_stops()
    return {
        "evaluation": evaluation,
        "share_above": _share_above(evaluation.quantile),
        "sequences": labels.sequences,
        "not_known": not_known(evaluation.rows),
        "headline": headline(evaluation, labels),
        "lead_chart": _lead_chart(labels, rule),
        "sentences": sentences(evaluation, labels),
        "tiles": tiles(evaluation, evaluation.rows),
        "chosen_rule": rule,
        "rules": [_rule_panel(evaluation, labels, name) for name in labels.rules()],
        "labels": labels,
        "mark_of": mark_of,
        "number": number,
        "panels_of": panels,
        "columns": FIGURES,
        "more": MORE,
        "ranking": RANKING,
        "froc_points": FROC_POINTS,
        "mixed": MIXED,
        "mixture_about": mixture_about(evaluation),
        "grouped": GROUPED,
        "groups": _groups(evaluation, labels, rule),
        "over_seeds": over_seeds_table(evaluation),
        "over_seeds_about": SEEDS_ABOUT.replace("`", ""),
        "quality": QUALITY,
        "best": best_row(labels, rule),
        "people": _people(labels, rule),
        "lesion_columns": LESIONS,
        "methods": _methods(evaluation, labels),
        "maps": _maps(evaluation, labels),
        "froc": any(row.froc for row in evaluation.rows),
        "twin_kinds": [*dict.fromkeys(item.kind for item in evaluation.twins)],
        "paper_note": PAPER_NOTE,
        "curves": _curves(evaluation, labels),
        "curve_patients": max((curve.patients for curve in evaluation.curves), default=0),
        "albums": _albums(evaluation, labels, rule),
        "colors": {"reference": REFERENCE_COLOR, "detected": DETECTED_COLOR, "map": ", ".join(stops)},
    }


def _methods(evaluation: Evaluation, labels: Labels) -> list[tuple[str, str]]:
    """Return the method of each baseline, by its name and, if it has several, its score."""
    found = {
        " · ".join(part for part in (row.model, labels.detail(row.model, row.score, "")) if part): row.method
        for row in evaluation.rows
        if row.method
    }
    return list(found.items())


def _maps(evaluation: Evaluation, labels: Labels) -> list[tuple[str, str, bool, Values]]:
    """Return name, detail, whether it is a baseline, and the values of each map, whatever the rule."""
    found: dict[tuple[str, str | None, str], Row] = {}
    for row in evaluation.rows:
        key = row.model, row.score, row.sequence
        if row.score is not None and (key not in found or row.froc or found[key].averages is None):
            found[key] = row
    return [
        (
            row.model,
            labels.detail(row.model, row.score, row.sequence),
            labels.baseline(row),
            row_values(evaluation, row),
        )
        for row in found.values()
    ]


def _groups(
    evaluation: Evaluation, labels: Labels, rule: str
) -> list[tuple[str, list[tuple[str, str, str, bool, Values]]]]:
    """Return the figures of each group under the best model and the best baseline of a rule, by what is known.

    Each has the group, the model, its detail, whether it is a baseline, and the values.
    """
    best = best_row(labels, rule)
    if best is None:
        return []
    raw = labels.best_baseline(rule, best.sequence)
    wanted = {(row.model, row.score, row.rule, row.sequence) for row in (best, raw) if row is not None}
    found: dict[str, list[tuple[str, str, str, bool, Values]]] = {}
    for what, group, row in by_group(evaluation):
        if (row.model, row.score, row.rule, row.sequence) in wanted:
            detail = labels.detail(row.model, row.score, row.sequence)
            found.setdefault(what, []).append(
                (group, row.model, detail, labels.baseline(row), row_values(evaluation, row))
            )
    return list(found.items())


def _people(labels: Labels, rule: str) -> list[tuple[str, str, Sequence[Values]]]:
    """Return the patients under the best model of a rule: name, figures and lesions."""
    best = best_row(labels, rule)
    if best is None:
        return []
    people: list[tuple[str, str, Sequence[Values]]] = []
    for patient in best.patients:
        figures = (
            f"Dice {number(patient.counts.total.dice())}",
            f"{patient.lesions_found} of {counted(patient.lesions, 'lesion')} found",
            counted(patient.false_detections, "false detection"),
            f"{number(patient.detected_ml, 2)} of {number(patient.reference_ml, 2)} mL detected",
        )
        people.append((patient.name, " · ".join(figures), list(lesion_values(best, patient))))
    return people


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
    return _RulePanel(
        name=rule,
        about=_about(rule).format(share=_share_above(evaluation.quantile)),
        optimistic=optimistic,
        table=[(row, row_values(evaluation, row)) for row in rows],
        best=best_values(rows),
        notes=[
            " ".join((row.model, labels.detail(row.model, row.score, row.sequence))).strip() + f": {row.note}"
            for row in rows
            if row.note and not row.optimistic
        ],
        averages=[_averages_chart(labels, rows, name, optimistic) for name in AVERAGES],
        sizes=_size_charts(labels, with_figures, optimistic),
        twins=_twin_charts(evaluation, labels, rule, optimistic),
    )


def _lead_chart(labels: Labels, rule: str) -> Chart | None:
    """Return the one figure that the page leads with: each row of the rule of the summary by ``dice_patient``."""
    if best_row(labels, rule) is None:
        return None
    return _averages_chart(labels, labels.of_rule(rule), AVERAGES[0], is_optimistic(rule))


def _averages_chart(labels: Labels, rows: Sequence[Row], name: str, optimistic: bool) -> Chart:
    lines = [labels.line(row, value_of(row, name), row.intervals.get(name)) for row in rows]
    free = [value_of(row, name) for row in rows if labels.baseline(row) and row.score is not None]
    best = max((value for value in free if math.isfinite(value)), default=None)
    return point_chart(lines, name, reference=best, hollow=optimistic)


def _size_charts(labels: Labels, rows: Sequence[Row], optimistic: bool) -> list[Chart]:
    """Return one chart for each lesion size that occurs."""
    charts = []
    sizes = {stratum.label: stratum.lesions for row in rows for stratum in row.strata if stratum.lesions}
    order = {stratum.label: stratum.low_mm for row in rows for stratum in row.strata}
    for label in sorted(sizes, key=order.__getitem__):
        lines = [
            labels.line(row, stratum.sensitivity, stratum.interval)
            for row in rows
            for stratum in row.strata
            if stratum.label == label
        ]
        charts.append(point_chart(lines, f"{label} · {counted(sizes[label], 'lesion')}", hollow=optimistic))
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
                item.difference,
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


def _albums(
    evaluation: Evaluation, labels: Labels, rule: str
) -> list[tuple[str, str, bool, list[SlicePicture]]]:
    """Return model, detail, whether it is the best model, and the slices, in the order of the evaluation."""
    groups: dict[tuple[str, str, str], list[SlicePicture]] = {}
    for picture in evaluation.pictures:
        groups.setdefault((picture.model, picture.score, picture.sequence), []).append(picture)
    best = best_row(labels, rule)
    shown = None if best is None else (best.model, best.score, best.sequence)
    shown = shown if shown in groups else next(iter(groups), None)
    return [(key[0], labels.detail(*key), key == shown, pictures) for key, pictures in groups.items()]
