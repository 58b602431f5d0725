"""The tables: ``results.json``, a long one, and the block of ``results-detail.md`` written from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_cead import __version__
from napari_cead.atomic import to_json, write_text
from napari_cead.calibration.rules import QUANTILE, QUANTILE_OF_DENOISERS
from napari_cead.detection import suggested
from napari_cead.zoo import ModelCard
from tables import aside

from .cells import (
    Figures,
    lines_of,
    marked,
    model_cell,
    number,
    rule_cell,
    score_cell,
    threshold,
)
from .figures import BASELINE, KINDS, NOTHING, STRICT
from .scans import FREE, MS, STROKE

SCHEMA_VERSION = 1

BEGIN, END = (
    "<!-- written by research/real.py: begin -->",
    "<!-- written by research/real.py: end -->",
)

COMMAND = "python research/real.py --data DATA --out FOLDER --docs docs/explanation/results-detail.md"

KIND_NAMES = {"raw": "raw", "post": "post-processed"}


@dataclass(frozen=True)
class Results:
    """Everything that the tables are made of.

    Attributes:
        rows: Of every model, score, kind and rule.
        differences: Context-encoding models minus their twins.
        cards: ``model.json`` by name of the model.
        missing: Models of the paper that were not measured.
    """

    rows: Sequence[Figures]
    differences: Sequence[Figures]
    cards: Mapping[str, Figures]
    missing: Sequence[str]

    def described(self) -> dict[str, Any]:
        kept = ("name", "description", "preprocessing", "sha256", "parameters")
        return {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "command": COMMAND,
            "missing": list(self.missing),
            "models": {
                name: {key: card.get(key) for key in kept} | {"training": _training(card)}
                for name, card in self.cards.items()
            },
            "rows": list(self.rows),
            "differences": list(self.differences),
        }

    def row(self, model: str, score: str, kind: str, rule: str) -> Figures | None:
        """Return one row, None if there is none."""
        wanted = (model, score, kind, rule)
        return next(
            (row for row in self.rows if (row["model"], row["score"], row["kind"], row["rule"]) == wanted),
            None,
        )

    def subjects(self) -> list[tuple[str, str]]:
        """Return models with scores, in the order of the table."""
        return list(dict.fromkeys((row["model"], row["score"]) for row in self.rows))

    def chief_scores(self, model: str) -> list[str]:
        """Return the paper's score and the one that the model suggests first; of a baseline, its own."""
        if model not in self.cards:
            return [score for name, score in self.subjects() if name == model]
        card = ModelCard.model_validate(self.cards[model])
        return list(dict.fromkeys(("residual", suggested(card)[0])))


def write(results: Results, out: Path, docs: Path | None) -> None:
    """Write ``results.json`` and ``table.md``, which has every row, into a folder, and a page's block with its tables.

    Args:
        results: The figures.
        out: The folder.
        docs: A page with the two comments `BEGIN` and `END`.
    """
    write_text(out / "results.json", to_json(results.described()))
    write_text(out / "table.md", "\n".join(long_page(results)) + "\n")
    if docs is not None:
        write_text(
            docs, replaced(docs.read_text(encoding="utf-8"), "\n".join(aside(block(results), docs)), docs)
        )


def replaced(page: str, text: str, name: Path, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """Return a page with what stands between two comments replaced."""
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (begin and end):
        raise SystemExit(
            f"error: {name}: there are no comments {marks[0]} and {marks[1]}; put them where the table belongs"
        )
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def block(results: Results) -> list[str]:
    """Return the lines of the compact tables."""
    baseline = next(row for row in results.rows if row["model"] == BASELINE)
    patients, free, strict = (
        baseline[STROKE]["patients"],
        baseline[FREE]["slices"],
        baseline[STRICT]["slices"],
    )
    lines = [
        f"Made by `{COMMAND}`; all rows and averages are in FOLDER/table.md.",
        "",
        f"- **Test data**: {patients} stroke patients with one FLAIR slice each, in which an infarct is outlined, "
        "and one MS patient (all slices). No model was trained on them. Not BrainMetShare.",
        f"- **Training data** of the eight: lesion-free slices of {_train_patients(results)} other stroke patients; "
        f"size `small`, {_epochs(results)} epochs, one training and one seed each. `ce-unet` is the bundled model.",
        "- The eight have seen **one axial level** (MNI z = +18 mm), that of the stroke slices; the MS patient has "
        "all. `ce-unet` was trained on phantoms of all levels too.",
        f"- **False positives** are of all {free} lesion-free slices, **which models were trained or calibrated on**, "
        f"and of the {strict} of them with almost no bright tissue.",
        "- **raw**: the map cut at the threshold, over the voxels of the brain. **post-processed**: with the paper's "
        "defaults (closing 2, area opening 60 %, dilation 1), over all voxels.",
        "- Rule **`validation`**: five folds over the stroke patients, the same in every row, each under the threshold "
        "with the highest `dice_pooled` of the other four. The MS patient and the lesion-free slices are under the "
        "best threshold for all stroke patients.",
        "- Rule **`oracle`** (optimistic): the best threshold for the very scans that are reported. Rule "
        f"**`healthy-quantile`**: the threshold on the model's card, below which {100 * QUANTILE:g} % of the brain of "
        f"its healthy validation slices lie, of `ce-unet` {100 * QUANTILE_OF_DENOISERS:g} %.",
        "- In brackets: 95 % bootstrap intervals over patients (1,000 resamples; ratios and differences paired). AUPRC "
        "and AUROC are over the voxels of all patients; they have no interval where the bins of the resamples blur "
        f"them. Ratios are to `{BASELINE}` under the same rule, the strongest baseline without a network on the "
        "strokes.",
        "- The score `intensity` of the eight is `flair-threshold`, that of `ce-unet` raw FLAIR scaled by its tissue, "
        "at 1.5 mm.",
    ]
    if results.missing:
        lines += ["- **Not measured yet**: " + ", ".join(f"`{name}`" for name in results.missing) + "."]
    lines += ["", "### Every model, every score", "", *_every(results)]
    lines += ["", "### The paper's score, and the one that each model suggests, by rule", ""]
    lines += [
        "All post-processed. Each stroke patient has one slice, so `dice_patient` and "
        "`dice_lesion_slices` are one.",
        "",
    ]
    lines += _by_rule(results, "post")
    lines += ["", "### What context encoding adds", "", *_twins(results)]
    return lines


def long_page(results: Results) -> list[str]:
    """Return the lines of the long table."""
    lines = [
        "# Results on real scans: all rows",
        "",
        f"Written by `{COMMAND}`; data, splits and rules: [results-detail.md](results-detail.md). About stroke and "
        "multiple sclerosis, not about BrainMetShare. Research software, not a medical device.",
        "",
        "Optimistic rows are marked. Thresholds of rule `validation`: the lowest and the highest of the five folds, "
        "then the one for all other scans.",
    ]
    for kind in KINDS:
        lines += ["", f"## Stroke: {KIND_NAMES[kind]}", "", *_by_rule(results, kind, every=True)]
    for kind in KINDS:
        lines += ["", f"## MS patient: {KIND_NAMES[kind]}", "", *_ms(results, kind)]
    lines += ["", "## Ranking of voxels", "", *_ranking(results)]
    lines += ["", "## Context-encoding models minus their twins", "", *_twins(results, every=True)]
    return lines


def _every(results: Results) -> list[str]:
    rows = []
    for model, score in results.subjects():
        raw, post = (results.row(model, score, kind, "validation") for kind in KINDS)
        oracle = results.row(model, score, "raw", "oracle")
        if raw is None or post is None:
            continue
        stroke, ms = raw[STROKE], raw[MS]
        informed = model != NOTHING
        rows.append(
            (
                model_cell(model),
                score_cell(score),
                number(stroke["dice_pooled"]),
                number(stroke.get("dice_pooled_ratio"), 2),
                number(post[STROKE]["dice_pooled"]),
                number(post[STROKE].get("dice_pooled_ratio"), 2),
                number(stroke["AUPRC"] if informed else None),
                number(stroke["AUPRC_ratio"] if informed else None, 2),
                number(stroke["AUROC"] if informed else None),
                number(None if oracle is None else oracle[MS]["dice_pooled"]),
                number(ms["dice_pooled"]),
                number(ms["AUPRC"] if informed else None),
            )
        )
    return lines_of(
        (
            "model",
            "score",
            "`dice_pooled`, raw, `validation`",
            "ratio",
            "`dice_pooled`, post-processed, `validation`",
            "ratio",
            "AUPRC",
            "ratio",
            "AUROC",
            "MS: Dice, raw, `oracle` (optimistic)",
            "MS: Dice, raw, threshold from stroke",
            "MS: AUPRC",
        ),
        rows,
    )


def _by_rule(results: Results, kind: str, every: bool = False) -> list[str]:
    rows = []
    for row in results.rows:
        if row["kind"] != kind or not (every or row["score"] in results.chief_scores(row["model"])):
            continue
        stroke = row[STROKE]
        rows.append(
            (
                model_cell(row["model"]),
                score_cell(row["score"]),
                rule_cell(row),
                threshold(row["thresholds"]),
                number(stroke["dice_pooled"]),
                *((number(stroke.get("dice_pooled_ratio"), 2),) if every else ()),
                number(stroke["dice_patient"]),
                *((number(stroke["dice_lesion_slices"]),) if every else ()),
                number(stroke.get("dice_all_slices")),
                number(stroke["precision"]),
                number(stroke["recall"]),
                *(
                    (number(stroke["lesion_sensitivity"]), number(stroke["false_positives_per_patient"], 2))
                    if kind == "post"
                    else ()
                ),
                *(cell for name in (FREE, STRICT) for cell in marked(row.get(name), intervals=every)),
                *(() if every else (number(row[MS]["dice_pooled"]),)),
            )
        )
    healthy = [
        f"{what}, {name} slices"
        for name in (FREE, STRICT)
        for what in ("share of brain marked", "slices with a mark")
    ]
    return lines_of(
        (
            *("model", "score", "rule", "threshold", "`dice_pooled`"),
            *(("ratio",) if every else ()),
            "`dice_patient`" if every else "`dice_patient` = `dice_lesion_slices`",
            *(("`dice_lesion_slices`",) if every else ()),
            "`dice_all_slices` (with lesion-free slices)",
            *("precision", "recall"),
            *(("lesion-wise sensitivity", "false positives per patient") if kind == "post" else ()),
            *healthy,
            *(() if every else ("MS: Dice",)),
        ),
        rows,
    )


def _ms(results: Results, kind: str) -> list[str]:
    averages = ("dice_pooled", "dice_lesion_slices", "dice_all_slices", "precision", "recall")
    wise = ("lesion_sensitivity", "false_positives_per_patient") if kind == "post" else ()
    rows = [
        (
            model_cell(row["model"]),
            score_cell(row["score"]),
            rule_cell(row),
            threshold({MS: row["thresholds"].get(MS)}),
            *(number(row[MS][name]) for name in averages),
            *(number(row[MS][name], 2) for name in wise),
        )
        for row in results.rows
        if row["kind"] == kind
    ]
    titles = {
        "lesion_sensitivity": "lesion-wise sensitivity",
        "false_positives_per_patient": "false positives",
    }
    return lines_of(
        (
            *("model", "score", "rule", "threshold", "`dice_pooled` = `dice_patient`"),
            *(titles.get(name, f"`{name}`") for name in (*averages[1:], *wise)),
        ),
        rows,
    )


def _ranking(results: Results) -> list[str]:
    rows = []
    for model, score in results.subjects():
        row = results.row(model, score, "raw", "validation")
        if row is not None and model != NOTHING:
            figures = [row[STROKE][name] for name in ("AUPRC", "AUPRC_ratio", "AUROC", "AUROC_ratio")]
            figures += [row[MS][name] for name in ("AUPRC", "AUROC")]
            rows.append((model_cell(model), score_cell(score), *(number(figure) for figure in figures)))
    return lines_of(
        ("model", "score", "AUPRC, stroke", "ratio", "AUROC, stroke", "ratio", "AUPRC, MS", "AUROC, MS"), rows
    )


def _twins(results: Results, every: bool = False) -> list[str]:
    if not results.differences:
        return ["No pair of a model and its twin is measured yet."]
    columns = {
        "AUPRC": ("raw", "–", "AUPRC"),
        "AUROC": ("raw", "–", "AUROC"),
        **{
            f"`{average}`, {KIND_NAMES[kind]}, `{rule}`": (kind, rule, average)
            for kind in KINDS
            for rule in (("healthy-quantile", "validation", "oracle") if every else ("validation",))
            for average in (("dice_pooled", "dice_patient") if every or kind == "post" else ("dice_pooled",))
        },
    }
    found: dict[tuple[str, str, str], dict[tuple[str, str, str], Figures]] = {}
    for row in results.differences:
        key = (row["model"], row["twin"], row["score"])
        found.setdefault(key, {})[row["kind"], row["rule"], row["average"]] = row
    rows = [
        (
            model_cell(model),
            model_cell(twin),
            score_cell(score),
            *(number(values.get(column), signed=True) for column in columns.values()),
        )
        for (model, twin, score), values in found.items()
    ]
    patients = results.differences[0]["patients"]
    return [
        "The figure of the model minus that of its twin, trained alike but without context encoding, over the "
        f"{patients} stroke patients; paired intervals, over patients alone, of one training each. Two seeds of "
        "`ce-unet` differ by 0.007 on strokes and by 0.018 on the MS patient ([levers](levers.md#training)): "
        "differences of 0.01 to 0.02 may be noise of training. Nothing is corrected for multiplicity.",
        "",
        *lines_of(("model", "twin", "score", *columns), rows),
    ]


def _train_patients(results: Results) -> str:
    return " / ".join(sorted({str(card["training"]["patients"]) for card in _eight(results)})) or "–"


def _epochs(results: Results) -> str:
    return " / ".join(sorted({str(card["training"]["epochs"]) for card in _eight(results)})) or "–"


def _eight(results: Results) -> list[Figures]:
    return [card for card in results.cards.values() if card["spec"]["family"] in ("ae", "vae", "vqvae")]


def _training(card: Figures) -> dict[str, Any]:
    kept = (
        "patients",
        "validation_patients",
        "data_fingerprint",
        "epochs",
        "batch_size",
        "seed",
        "best_epoch",
        "minutes",
    )
    return {key: card["training"].get(key) for key in kept}
