"""The figures of an evaluation as Markdown: ``table.md``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..calibration.rules import FEW
from ..detection.rules import RULES, VALIDATION, is_optimistic
from ..metrics import INTERVALS
from ..metrics.lesion_sizes import SIZES
from ..wording import UNDEFINED, counted, number, span
from .columns import AVERAGES, FROC, MIXTURE, Column, columns, plain, row_values
from .groups import by_group
from .paired_comparison import TWIN_AVERAGES
from .paper import PAPER_NOTE
from .results import Evaluation, OverSeeds, Row, Twins
from .seen import not_known


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
        *_section("Over seeds", _over_seeds(evaluation)),
        *_section("Models", _models(evaluation)),
        *_section("Ranking", _ranking(evaluation)),
        *_section("Lesions by size", _sizes(evaluation)),
        *_section("In the mixture of a published test set", _mixture(evaluation)),
        *_section("Groups of patients", _groups(evaluation)),
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


def printed(evaluation: Evaluation) -> Iterator[str]:
    """Yield the figures as lines for a terminal, one per model, rule and score."""
    shown = columns("model", "rule", "score", *("dice_patient", "dice_pooled", "chosen_on"))
    return aligned([[one.title for one in shown], *_texts(evaluation, evaluation.rows, shown, notes=False)])


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table for a terminal, its columns side by side."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _head(evaluation: Evaluation) -> list[str]:
    parts = {part: len(names) for part, names in evaluation.parts.items()}
    reported = max((row.averages.patients for row in evaluation.rows if row.averages), default=0)
    lesions = max((row.lesion_patients for row in evaluation.rows), default=0)
    sequences = evaluation.sequences or (evaluation.sequence,)
    bounds = " and ".join(f"`{rule.name}`" for rule in RULES if rule.optimistic)
    return [
        f"Cohort `{_cell(evaluation.cohort.name)}`, sequence{'s' if len(sequences) > 1 else ''} "
        f"{', '.join(sequences)}: {counted(reported, 'patient')} reported, "
        f"{lesions} of them with lesions; "
        + (
            f"{len(evaluation.folds)} folds, each with settings that the others chose "
            if evaluation.folds
            else f"{counted(parts.get('validation', 0), 'validation patient')} "
        )
        + (f"(split `{_cell(evaluation.split_name)}`)" if evaluation.split_name else "(no split)")
        + f"; {counted(len(evaluation.skipped), 'patient')} skipped.",
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
    choosers = evaluation.choosers
    if choosers >= FEW or not any(row.rule == VALIDATION for row in evaluation.rows):
        return ""
    if not choosers:
        return (
            "No validation patient chose settings by a lesion mask: those of rule `validation` come from the models' "
            "cards, if they have any, and the rule to compare by is `healthy-quantile`."
        )
    return (
        f"The settings of rule `validation` were chosen on the lesion masks of {counted(choosers, 'patient')}, fewer "
        f"than {FEW}: they are largely a matter of chance, and the rule to compare by is `healthy-quantile`."
    )


def _figures(evaluation: Evaluation) -> list[str]:
    return _table(
        evaluation,
        evaluation.rows,
        *columns("model", "paper", "score", "rule", "sequence", *INTERVALS),
        *plain("lesion_sensitivity", "false_positives_per_patient", "lesion_f1", "healthy_ml"),
        *plain("threshold", "healthy_above", "chosen_on"),
    )


def _baselines(evaluation: Evaluation) -> list[str]:
    """Describe the method of each baseline; the score of a row shows which of several was used."""
    methods = {(row.model, row.score or UNDEFINED): row.method for row in evaluation.rows if row.method}
    if not methods:
        return []
    return [
        "They have no network and do not depend on the models of the table. To be better than the baselines is to be "
        "better than the best of them under the same rule.",
        "",
        *(f"- `{model}` ({score}): {method}." for (model, score), method in methods.items()),
    ]


SEEDS_ABOUT = (
    "Models that differ only by the seed of their training: mean ± standard deviation over the seeds, and in brackets "
    "the 95 % bootstrap interval of the mean over seeds and patients. All averages: `seeds.csv`."
)


def over_seeds_table(
    evaluation: Evaluation,
) -> tuple[list[str], list[tuple[list[str], list[tuple[str, str]]]]]:
    """Return the averages over seeds: titles, and for each model, score and rule what it is, and figures and intervals.

    There are no rows without seeds.
    """
    found: dict[tuple[str, ...], dict[str, OverSeeds]] = {}
    for each in evaluation.over_seeds:
        key = (
            f"{each.model} ({each.seeds} seeds)",
            each.score or UNDEFINED,
            each.rule + (" (optimistic)" if is_optimistic(each.rule) else ""),
            *_sequence(evaluation, each.sequence),
        )
        found.setdefault(key, {})[each.average] = each
    titles = ["model", "score", "rule", *_sequence(evaluation, "sequence"), *AVERAGES]
    return titles, [([*key], [over_seeds_text(own[name]) for name in AVERAGES]) for key, own in found.items()]


def over_seeds_text(found: OverSeeds) -> tuple[str, str]:
    """Return an average over seeds and its interval in words."""
    return f"{number(found.mean)} ± {number(found.deviation)}", span(found.interval)


def _over_seeds(evaluation: Evaluation) -> list[str]:
    titles, rows = over_seeds_table(evaluation)
    lines = ([*key, *(" ".join(filter(None, cell)) for cell in cells)] for key, cells in rows)
    return [SEEDS_ABOUT, "", *_lines(titles, lines)] if rows else []


def _ranking(evaluation: Evaluation) -> list[str]:
    found = {(row.model, row.score, row.sequence): row for row in evaluation.rows if row.froc}
    if not found:
        return []
    return [
        "From the maps without post-processing, whatever the rule. FROC: share of the lesions found at the given false "
        "positives per patient under one threshold for all patients, and the mean of the seven; candidates are the "
        "connected components of the brightest tenth of each brain at every threshold. AUPRO: area under the "
        "per-region overlap. Dice ceiling: the highest `dice_pooled` under any one threshold; optimistic.",
        "",
        *_table(
            evaluation,
            found.values(),
            *columns("model", "score", "sequence", "auroc", "auprc", "aupro", "dice_ceiling", *FROC),
        ),
    ]


def _models(evaluation: Evaluation) -> list[str]:
    if not evaluation.models:
        return []
    quality = columns("psnr", "psnr_brain", "ssim")
    return [
        "AUROC and AUPRC: voxels inside the brain of all reported patients. PSNR and SSIM: means over the healthy "
        "slices of the reported patients (lesion-free, at least 15 % brain)"
        + (f", sequence {evaluation.sequence}." if len(evaluation.sequences) > 1 else "."),
        "",
        *_lines(
            ("model", "AUROC", "AUPRC", *(column.title for column in quality), "healthy slices"),
            (
                (
                    model.name,
                    _by_score(evaluation, model.name, "auroc"),
                    _by_score(evaluation, model.name, "average_precision"),
                    *(column.text(model.quality) for column in quality),
                    str(model.quality["slices"]),
                )
                for model in evaluation.models
            ),
        ),
    ]


def _by_score(evaluation: Evaluation, model: str, name: str) -> str:
    found = {
        ", ".join((row.score or UNDEFINED, *_sequence(evaluation, row.sequence))): getattr(row, name)
        for row in evaluation.rows
        if row.model == model and row.averages
    }
    return ", ".join(f"{number(value)} ({label})" for label, value in found.items()) or UNDEFINED


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
        *_table(
            evaluation,
            shown,
            *columns("model", "score", "rule", "sequence"),
            *columns(*(f"sensitivity_{size.column}" for size in SIZES)),
            *plain("lesion_precision", "hd95", "hd95_patients", "lesionwise_dice", "lesionwise_hd95"),
        ),
    ]


def mixture_about(evaluation: Evaluation) -> str:
    """Return what the averages in a published mixture of slices are; empty without one."""
    if evaluation.mixture is None:
        return ""
    lesion, healthy = evaluation.mixture
    return (
        f"The published test set had {lesion} slices with lesion and {healthy} without, and does not say which average "
        "its Dice is. Here the slices without lesion are weighted to stand in this ratio to those with, so that no "
        "slice has to be drawn. A printed Dice outside of lowest to highest is none of these averages of such a "
        f"detector. A detector that finds nothing has {healthy / (lesion + healthy):.3f} where empty counts 1."
    )


def _mixture(evaluation: Evaluation) -> list[str]:
    about = mixture_about(evaluation)
    shown = [row for row in evaluation.rows if row.averages is not None]
    if not about or not shown:
        return []
    names = (f"mixture_{name}" for name in MIXTURE)
    return [
        about,
        "",
        *_table(
            evaluation,
            shown,
            *columns("model", "paper", "score", "rule", "sequence", *names, "mixture_range"),
        ),
    ]


def _groups(evaluation: Evaluation) -> list[str]:
    found = by_group(evaluation)
    if not found:
        return []
    shown = columns("model", "score", "rule", "sequence", *GROUP)
    several = len(evaluation.sequences) > 1
    shown = tuple(one for one in shown if several or one.name != "sequence")
    return [
        "The same settings for all groups. Differences between small groups are largely a matter of chance: see the "
        "intervals. Under every rule, with `--every-rule`: `by_group.csv`.",
        "",
        *_lines(
            ("by", "group", *(one.title or one.name for one in shown)),
            (
                (what, group, *(one.cell(values) for one in shown))
                for what, group, row in found
                for values in [row_values(evaluation, row)]
            ),
        ),
    ]


GROUP = ("patients", "dice_patient", "lesion_sensitivity", "false_positives_per_patient", "healthy_ml")
"""The figures of a group of patients."""


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
        "The effect of context encoding, or of fine-tuning: the figure of the model minus that of its twin, the same "
        "network trained without it, or the model before it, over the patients that both have. The intervals are "
        "paired: every resample draws the same patients for both. An interval that contains 0 leaves open which of the "
        "two is better; one that does not is about these two trainings and excludes the variation between seeds. "
        "Nothing is corrected for the number of comparisons.",
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
    if twins is None:
        return UNDEFINED
    shown = number(twins.difference, signed=True), span(twins.interval, signed=True)
    return " ".join(filter(None, shown))


def _parts(evaluation: Evaluation) -> list[str]:
    if not any(evaluation.parts.values()):
        return []
    return [
        "The patients of each part, without the skipped ones.",
        "",
        *(f"- {part} ({len(names)}): {', '.join(names) or '–'}" for part, names in evaluation.parts.items()),
    ]


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


def _table(evaluation: Evaluation, rows: Iterable[Row], *shown: Column) -> list[str]:
    """Return rows as a table; sequences have a column only if there are several."""
    several = len(evaluation.sequences) > 1
    shown = tuple(one for one in shown if several or one.name != "sequence")
    return _lines([one.title for one in shown], _texts(evaluation, rows, shown))


def _texts(
    evaluation: Evaluation, rows: Iterable[Row], shown: Sequence[Column], *, notes: bool = True
) -> Iterator[list[str]]:
    for row in rows:
        values = row_values(evaluation, row)
        yield [one.cell(values) if notes else one.text(values) for one in shown]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []


def _lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in cells]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
