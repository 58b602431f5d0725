"""The figures of an evaluation as Markdown: ``table.md``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from ..detection.rules import RULES, VALIDATION, is_optimistic
from ..metrics import FALSE_POSITIVES, INTERVALS
from .paper import PAPER_DICE, PAPER_NOTE
from .results import Evaluation, Row, SizeStratum, Twins
from .rules import FEW
from .seen import mark_of, not_known
from .strata import SIZES
from .twins import TWIN_AVERAGES


def table(evaluation: Evaluation) -> str:
    """Return the figures as Markdown, beside those of the paper."""
    noted = [row for row in evaluation.rows if row.note and not row.optimistic]
    lines = [
        "# Evaluation",
        "",
        *_head(evaluation),
        "",
        *_figures(evaluation),
        "",
        f"Column *paper*: {PAPER_NOTE}",
        *_section("Baselines", _baselines(evaluation)),
        *_section("Models", _models(evaluation)),
        *_section("Ranking", _ranking(evaluation)),
        *_section("Lesions by size", _sizes(evaluation)),
        *_section("Twins", _twins(evaluation)),
        *_section("Notes", [f"- {row.model}, {row.score}, {row.rule}: {row.note}" for row in noted]),
        *_section("Trained on", _trained_on(evaluation)),
        *_section("Warnings", [f"- {text}" for text in evaluation.warnings]),
        *_section("Patients", _parts(evaluation)),
        *_section(
            "Skipped patients",
            [f"- {item.name} ({item.part or 'no part'}): {item.reason}" for item in evaluation.skipped],
        ),
    ]
    return "\n".join(lines) + "\n"


def _head(evaluation: Evaluation) -> list[str]:
    parts = {part: len(names) for part, names in evaluation.parts.items()}
    reported = max((row.averages.patients for row in evaluation.rows if row.averages), default=0)
    lesions = max((row.lesion_patients for row in evaluation.rows), default=0)
    sequences = evaluation.sequences or (evaluation.sequence,)
    bounds = " and ".join(f"`{rule.name}`" for rule in RULES if rule.optimistic)
    return [
        f"Cohort `{_cell(evaluation.cohort.name)}`, sequence{'s' if len(sequences) > 1 else ''} "
        f"{', '.join(sequences)}: {reported} patients reported, "
        f"{lesions} of them with lesions; "
        + (
            f"{len(evaluation.folds)} folds, each with settings that the others chose "
            if evaluation.folds
            else f"{parts.get('validation', 0)} validation patients "
        )
        + (f"(split `{_cell(evaluation.split.name)}`)" if evaluation.split else "(no split)")
        + f"; {len(evaluation.skipped)} patients skipped.",
        "",
        "`dice_patient` is the mean over patients of the Dice of the volume, `dice_pooled` the Dice of all voxels, "
        "`dice_lesion_slices` the mean over slices that hold lesion; `dice_all_slices` counts slices without lesion "
        "and detection as 1, so that a detector that finds nothing scores high. In brackets: 95 % bootstrap "
        f"intervals over patients ({evaluation.resamples} resamples). Rows of rule {bounds} are optimistic: their "
        "settings were chosen on the very patients that are reported. They are a bound on the `dice_patient` of the "
        "other rules, and on no other figure. FP mL, healthy: what is marked in a patient without lesion, all of it "
        "false (– where there is none).",
        *(["", few] if (few := few_choosers(evaluation)) else []),
    ]


def few_choosers(evaluation: Evaluation) -> str:
    """Return the sentence for an evaluation with settings chosen on few lesion masks; empty for others."""
    number = evaluation.choosers
    if number >= FEW or not any(row.rule == VALIDATION for row in evaluation.rows):
        return ""
    if not number:
        return (
            "No validation patient chose settings by a lesion mask: those of rule `validation` come from the models' "
            "cards, if they have any, and the rule to compare by is `healthy-quantile`."
        )
    patients = "1 patient" if number == 1 else f"{number} patients"
    return (
        f"The settings of rule `validation` were chosen on the lesion masks of {patients}, fewer than {FEW}: they are "
        "largely a matter of chance, and the rule to compare by is `healthy-quantile`."
    )


def _figures(evaluation: Evaluation) -> list[str]:
    architectures = {model.name: model.architecture for model in evaluation.models}
    rows = []
    for row in evaluation.rows:
        paper = PAPER_DICE.get(architectures.get(row.model, ""))
        figures = ["–"] * len(INTERVALS)
        if row.averages is not None:
            values = row.averages.as_dict()
            figures = [_number(values[name]) + _interval(row.intervals.get(name)) for name in INTERVALS]
        rows.append(
            (
                row.model,
                "–" if paper is None else f"{paper:.3f}",
                row.score or "–",
                _rule(row),
                *_sequence(evaluation, row.sequence),
                *figures,
                _number(row.lesion_sensitivity),
                _number(row.false_positives_per_patient, 1),
                _number(row.lesion_f1),
                _number(row.healthy_ml, 2),
                row.threshold or "–",
                row.chosen or "–",
            )
        )
    return _lines(
        (
            *("model", "paper", "score", "rule"),
            *_sequence(evaluation, "sequence"),
            *INTERVALS,
            *("lesion_sensitivity", "FP / patient", "lesion_f1", "FP mL, healthy", "threshold", "chosen by"),
        ),
        rows,
    )


def _baselines(evaluation: Evaluation) -> list[str]:
    """Describe the method of each baseline; the score of a row shows which of several was used."""
    methods = {(row.model, row.score or "–"): row.method for row in evaluation.rows if row.method}
    if not methods:
        return []
    return [
        "They have no network and do not depend on the models of the table. To be better than the baselines is to be "
        "better than the best of them under the same rule.",
        "",
        *(f"- `{model}` ({score}): {method}." for (model, score), method in methods.items()),
    ]


def _ranking(evaluation: Evaluation) -> list[str]:
    found = {(row.model, row.score or "–", row.sequence): row for row in evaluation.rows if row.froc}
    if not found:
        return []
    return [
        "From the maps without post-processing, whatever the rule. FROC: share of the lesions found at the given false "
        "positives per patient under one threshold for all patients, and the mean of the seven; candidates are the "
        "connected components of the brightest tenth of each brain at every threshold.",
        "",
        *_lines(
            (
                *("model", "score"),
                *_sequence(evaluation, "sequence"),
                *("AUROC", "AUPRC"),
                *(f"FROC at {Fraction(number)}" for number in FALSE_POSITIVES),
                "FROC mean",
            ),
            (
                (
                    model,
                    score,
                    *_sequence(evaluation, sequence),
                    _number(row.auroc),
                    _number(row.average_precision),
                    *(_number(value) for value in row.froc),
                    _number(row.froc_mean),
                )
                for (model, score, sequence), row in found.items()
            ),
        ),
    ]


def _models(evaluation: Evaluation) -> list[str]:
    if not evaluation.models:
        return []
    return [
        "AUROC and AUPRC: voxels inside the brain of all reported patients. PSNR and SSIM: means over the healthy "
        "slices of the reported patients (lesion-free, at least 15 % brain)"
        + (f", sequence {evaluation.sequence}." if len(evaluation.sequences) > 1 else "."),
        "",
        *_lines(
            ("model", "AUROC", "AUPRC", "PSNR (dB)", "PSNR in the brain (dB)", "SSIM", "healthy slices"),
            (
                (
                    model.name,
                    _by_score(evaluation, model.name, "auroc"),
                    _by_score(evaluation, model.name, "average_precision"),
                    _number(model.quality["psnr"], 2),
                    _number(model.quality["psnr_brain"], 2),
                    _number(model.quality["ssim"]),
                    str(model.quality["slices"]),
                )
                for model in evaluation.models
            ),
        ),
    ]


def _by_score(evaluation: Evaluation, model: str, name: str) -> str:
    found = {
        ", ".join((row.score or "–", *_sequence(evaluation, row.sequence))): getattr(row, name)
        for row in evaluation.rows
        if row.model == model and row.averages
    }
    return ", ".join(f"{_number(value)} ({label})" for label, value in found.items()) or "–"


def _sizes(evaluation: Evaluation) -> list[str]:
    shown = [row for row in evaluation.rows if row.averages is not None and row.strata]
    if not shown:
        return []
    return [
        "Share of the lesions found, by the diameter of the ball of the lesion's volume (of the disk of its "
        "area if a patient has one slice), with its interval and the numbers. `lesion_precision` is the share of "
        "the detections that touch a lesion. HD95 is the mean of the 95th percentile Hausdorff distance over the "
        "patients with both lesion and detection; their number is beside it.",
        "",
        *_lines(
            (
                *("model", "score", "rule"),
                *_sequence(evaluation, "sequence"),
                *(size.label for size in SIZES),
                *("lesion_precision", "HD95 (mm)", "patients with HD95"),
            ),
            (
                (
                    row.model,
                    row.score or "–",
                    _rule(row),
                    *_sequence(evaluation, row.sequence),
                    *(_stratum(stratum) for stratum in row.strata),
                    _number(row.lesion_precision),
                    _number(row.hd95, 1),
                    str(row.hd95_patients),
                )
                for row in shown
            ),
        ),
    ]


def _stratum(stratum: SizeStratum) -> str:
    if not stratum.lesions:
        return "–"
    share = _number(stratum.sensitivity) + _interval(stratum.interval)
    return f"{share} ({stratum.found} of {stratum.lesions})"


def _twins(evaluation: Evaluation) -> list[str]:
    pairs: dict[tuple[str, ...], dict[str, Twins]] = {}
    for twins in evaluation.twins:
        key = (twins.model, twins.twin, twins.score, twins.rule, twins.sequence)
        pairs.setdefault(key, {})[twins.average] = twins
    if not pairs:
        return []
    rows = []
    for (model, twin, score, rule, sequence), found in pairs.items():
        rows.append(
            (
                model,
                twin,
                score,
                rule + (" (optimistic)" if is_optimistic(rule) else ""),
                *_sequence(evaluation, sequence),
                *(_difference(found.get(name)) for name in TWIN_AVERAGES),
                str(max(item.patients for item in found.values())),
            )
        )
    return [
        "The effect of context encoding: the figure of the model minus that of its twin, the same network trained "
        "without it, over the patients that both have. The intervals are paired: every resample draws the same "
        "patients for both. An interval that contains 0 leaves open which of the two is better; one that does not is "
        "about these two trainings and excludes the variation between seeds. Nothing is corrected for the number of "
        "comparisons.",
        "",
        *_lines(
            (
                *("model", "twin", "score", "rule"),
                *_sequence(evaluation, "sequence"),
                *TWIN_AVERAGES,
                "patients",
            ),
            rows,
        ),
    ]


def _difference(twins: Twins | None) -> str:
    if twins is None or twins.difference != twins.difference:
        return "–"
    if twins.interval is None:
        return f"{twins.difference:+.3f}"
    return f"{twins.difference:+.3f} [{twins.interval[0]:+.3f}, {twins.interval[1]:+.3f}]"


def _parts(evaluation: Evaluation) -> list[str]:
    if not any(evaluation.parts.values()):
        return []
    return [
        "The patients of each part, without the skipped ones.",
        "",
        *(f"- {part} ({len(names)}): {', '.join(names) or '–'}" for part, names in evaluation.parts.items()),
    ]


def _rule(row: Row) -> str:
    mark = mark_of(row)
    return row.rule + (" (optimistic)" if row.optimistic else "") + (f" ({mark})" if mark else "")


def _trained_on(evaluation: Evaluation) -> list[str]:
    models = not_known(evaluation.rows)
    if not models:
        return []
    return [
        f"Not known for {', '.join(models)}: the card does not say which scans the model, or a base model, was "
        "trained on."
    ]


def _sequence(evaluation: Evaluation, text: str) -> tuple[str, ...]:
    """Return a cell of the column of sequences, which exists only with several sequences."""
    return (text,) if len(evaluation.sequences) > 1 else ()


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []


def _lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in cells]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
