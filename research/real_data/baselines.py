"""The block of ``results-detail.md`` about the baselines without a network, and how far above them models are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_cead.detection.baselines import BASELINES
from napari_cead.metrics import PatientCounts, averages, bootstrap, bootstrap_difference
from tables import listing

from .cells import Figures, lines_of, model_cell, number, percent, score_cell
from .choosing import best, per_patient
from .figures import KINDS, NOTHING, RESAMPLES, differences, patients_of, rows_of
from .scans import MS, STROKE, validation_names
from .tally import Measured

BEGIN, END = (
    "<!-- written by research/real.py, baselines: begin -->",
    "<!-- written by research/real.py, baselines: end -->",
)

TITLES = {baseline.title("flair"): baseline for baseline in BASELINES.values()}
"""The baselines by their names in the table."""

RULE = "validation"


@dataclass(frozen=True)
class Entry:
    """One map with its figures.

    Attributes:
        found: What was measured.
        rows: Its figures by (kind, rule).
    """

    found: Measured
    rows: Mapping[tuple[str, str], Figures]

    @property
    def name(self) -> str:
        return str(self.found.meta["model"])

    @property
    def score(self) -> str:
        return str(self.found.meta["score"])

    def figure(self, kind: str, average: str, scans: str = STROKE) -> Figures:
        found: Figures = self.rows[kind, RULE][scans][average]
        return found


def entries(measured: Iterable[Measured], base: Measured, strict: Iterable[str]) -> list[Entry]:
    """Return measured maps with their figures."""
    names = frozenset(strict)
    return [
        Entry(found, {(row["kind"], row["rule"]): row for row in rows_of(found, base, names)})
        for found in measured
    ]


def chosen_by_patients(found: Measured) -> float:
    """Return the highest ``dice_patient`` of the 109 validation patients, post-processed under one threshold."""
    chosen = set(validation_names(found.meta["patients"][STROKE]))
    use = np.array([name in chosen for name in found.meta["patients"][STROKE]])
    tally = found.tallies[STROKE]
    tp, fp, fn = np.moveaxis(per_patient(tally.searched.astype(np.int64), tally.patient)[use], -1, 0)
    return float((2 * tp / np.maximum(2 * tp + fp + fn, 1)).mean(axis=0).max())


def standing(free: Sequence[Entry]) -> list[Entry]:
    """Return one entry of each baseline: of several scores the one that the validation patients choose."""
    by_name: dict[str, list[Entry]] = {}
    for entry in free:
        by_name.setdefault(entry.name, []).append(entry)
    return [max(group, key=lambda entry: chosen_by_patients(entry.found)) for group in by_name.values()]


def block(free: Sequence[Entry], models: Sequence[Entry], page: str) -> list[str]:
    """Return the lines of the block.

    Args:
        free: The baselines under all their scores.
        models: The models that were measured.
        page: The page, of which the figures of all other models are taken.
    """
    chosen = standing(free)
    strongest = {
        (kind, average): max(chosen, key=lambda entry: entry.figure(kind, average)["value"])
        for kind, average in (*((kind, name) for kind in KINDS for name in DICE), ("raw", "AUPRC"))
    }
    taken = next(entry.score for entry in chosen if entry.name == "flair-tissue-smooth")
    sizes = ", ".join(
        f"`{entry.score}` {chosen_by_patients(entry.found):.3f}"
        for entry in free
        if entry.name == "flair-tissue-smooth"
    )
    return [
        "Made by `python research/real.py --data DATA --out FOLDER --only measure table --models ce-unet --docs "
        "docs/explanation/results-detail.md --block baselines`, on the patients, folds and rules of the tables above.",
        "",
        "- [What the baselines are](../reference/metrics.md#baselines-without-a-network).",
        f"- Of the four sizes of `flair-tissue-smooth`, `{taken}` stands for it: the highest `dice_patient` of the 109 "
        f"validation patients, post-processed ({sizes}; in plane and in 3-D are the same on single slices). "
        "`dice_pooled` would choose ever larger sizes.",
        "- AUPRC and AUROC are exact, from the order of all voxels.",
        "",
        *_figures([*free, *models], chosen),
        "",
        *_elsewhere([*free, *models], chosen),
        "",
        "### Above the strongest baseline",
        "",
        "The figure minus that of the strongest baseline of its column under the same rule: "
        + listing(sorted({f"`{entry.name}`" for entry in strongest.values()}))
        + ". Paired 95 % intervals where the maps were at hand: not of the eight. Of each model the paper's score, and "
        "the one with the highest `dice_pooled`, raw.",
        "",
        *_above(strongest, models, page),
        "",
        *_held_out(chosen, models),
    ]


DICE = ("dice_pooled", "dice_patient")

COLUMNS = {
    ("raw", "dice_pooled"): "`dice_pooled`, raw",
    ("raw", "dice_patient"): "`dice_patient`, raw",
    ("post", "dice_pooled"): "`dice_pooled`, post-processed",
    ("post", "dice_patient"): "`dice_patient`, post-processed",
    ("raw", "AUPRC"): "AUPRC",
}


def _figures(every: Sequence[Entry], chosen: Sequence[Entry]) -> list[str]:
    rows = []
    for entry in every:
        post = entry.rows["post", RULE][STROKE]
        rows.append(
            (
                _name(entry, chosen),
                score_cell(entry.score),
                *(number(entry.figure(kind, name)) for kind in KINDS for name in DICE),
                *(number(entry.figure("raw", name)) for name in ("AUPRC", "AUROC")),
                number(post["lesion_sensitivity"]),
                number(post["lesion_f1"]),
                number(post["false_positives_per_patient"], 2),
                number(post["froc_mean"]),
            )
        )
    return lines_of(
        (
            *("stroke, rule `validation`", "score"),
            *(COLUMNS[kind, name] for kind in KINDS for name in DICE),
            *("AUPRC", "AUROC", "lesion-wise sensitivity", "lesion-wise F1", "false positives per patient"),
            "FROC mean",
        ),
        rows,
    )


def _elsewhere(every: Sequence[Entry], chosen: Sequence[Entry]) -> list[str]:
    rows = []
    for entry in every:
        post = entry.rows["post", RULE]
        rows.append(
            (
                _name(entry, chosen),
                score_cell(entry.score),
                *(percent(post[name]["share_of_brain"], False, 2) for name in post if "lesion-free" in name),
                number(entry.rows["raw", "oracle"][MS]["dice_pooled"]),
                number(entry.figure("raw", "dice_pooled", MS)),
                number(entry.rows["post", "oracle"][MS]["dice_pooled"]),
                number(entry.figure("raw", "AUPRC", MS)),
                number(entry.figure("raw", "AUROC", MS)),
                number(post[MS]["froc_mean"]),
            )
        )
    free = [name for name in every[0].rows["post", RULE] if "lesion-free" in name]
    return lines_of(
        (
            *("elsewhere", "score"),
            *(f"share of brain marked, {name} slices" for name in free),
            "MS: Dice, raw, `oracle` (optimistic)",
            "MS: Dice, raw, threshold from stroke",
            "MS: Dice, post-processed, `oracle` (optimistic)",
            *("MS: AUPRC", "MS: AUROC", "MS: FROC mean"),
        ),
        rows,
    )


def _above(strongest: Mapping[tuple[str, str], Entry], models: Sequence[Entry], page: str) -> list[str]:
    rows = [
        (
            model_cell(name),
            score_cell(score),
            *(
                "–"
                if values.get(key) is None
                else f"{values[key] - strongest[key].figure(*key)['value']:+.3f}"
                for key in COLUMNS
            ),
        )
        for name, score, values in written(page, {entry.name for entry in models})
    ]
    for entry in models:
        cells = []
        for kind, average in COLUMNS:
            rule = "–" if average == "AUPRC" else RULE
            cells.append(
                next(
                    number(row, signed=True)
                    for row in differences(entry.found, strongest[kind, average].found)
                    if (row["kind"], row["rule"], row["average"]) == (kind, rule, average)
                )
            )
        rows.append((model_cell(entry.name), score_cell(entry.score), *cells))
    return lines_of(("model", "score", *COLUMNS.values()), rows)


def written(page: str, others: Iterable[str]) -> list[tuple[str, str, dict[tuple[str, str], float]]]:
    """Return the point figures that a page's table has of models, two scores each: the paper's and the best.

    Args:
        page: A page with the table of every model and score.
        others: Models that are not wanted, for their maps are at hand.
    """
    known, left_out = set(others), set(TITLES)
    found: dict[str, dict[str, dict[tuple[str, str], float]]] = {}
    inside = False
    for line in page.splitlines():
        if line.startswith("#"):
            inside = line == "### Every model, every score"
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        cells[0] = cells[0].removeprefix("baseline ")
        if (
            not inside
            or not line.startswith("| ")
            or cells[0] in known | left_out | {"model", "---", NOTHING}
        ):
            continue
        values = {
            key: float(cells[place].split()[0])
            for key, place in (
                (("raw", "dice_pooled"), 2),
                (("post", "dice_pooled"), 4),
                (("raw", "AUPRC"), 6),
            )
        }
        found.setdefault(cells[0], {})[cells[1]] = values
    return [
        (name, score, scores[score])
        for name, scores in found.items()
        for score in dict.fromkeys(
            ("residual", max(scores, key=lambda one: scores[one]["raw", "dice_pooled"]))
        )
    ]


def _held_out(chosen: Sequence[Entry], models: Sequence[Entry]) -> list[str]:
    """Compare on the patients that are not for validation, under the threshold that the others choose."""
    found = [(entry, *_split(entry.found)) for entry in (*chosen, *models)]
    free = found[: len(chosen)]
    rows = []
    for average in DICE:
        values = [averages(counts).as_dict()[average] for _, counts, _ in free]
        base = free[int(np.argmax(values))]
        for entry, counts, threshold in found:
            interval = bootstrap(counts, RESAMPLES)[average]
            apart = averages(counts).as_dict()[average] - max(values)
            paired = bootstrap_difference(counts, base[1], RESAMPLES)[average]
            rows.append(
                (
                    f"`{average}`",
                    _name(entry, chosen),
                    score_cell(entry.score),
                    f"{threshold:.3f}",
                    number({"value": averages(counts).as_dict()[average], "interval": interval}),
                    "strongest"
                    if entry is base[0]
                    else number({"value": apart, "interval": paired}, signed=True),
                )
            )
    return [
        f"Under the threshold with the highest `dice_pooled` of the 109, on the other {len(free[0][1])}, raw:",
        "",
        *lines_of(("average", "map", "score", "threshold", "figure", "minus the strongest baseline"), rows),
    ]


def _split(found: Measured) -> tuple[list[PatientCounts], float]:
    """Return the counts of the patients that do not choose, and the threshold that the others have chosen."""
    names = found.meta["patients"][STROKE]
    chosen = set(validation_names(names))
    use = np.array([name in chosen for name in names])
    tally = found.tallies[STROKE]
    every = per_patient(tally.raw(), tally.patient)
    place = best(every[use])
    counts: Any = patients_of(tally, tally.raw()[:, place])
    return [one for one, own in zip(counts, use, strict=True) if not own], place / found.meta["bins"]


def _name(entry: Entry, chosen: Sequence[Entry]) -> str:
    if entry.name not in TITLES:
        return model_cell(entry.name)
    mark = "" if any(entry is one for one in chosen) else " (not chosen)"
    return f"baseline `{entry.name}`{mark}"


def with_block(page: Path, lines: Sequence[str]) -> str:
    """Return a page with what stands between the two comments replaced."""
    from .report import replaced

    return replaced(page.read_text(encoding="utf-8"), "\n".join(lines), page, (BEGIN, END))
