"""The paper's table on phantoms, and which of the paper's claims show there, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from napari_cead.models.specs import MODEL_NAMES

from .card import AVERAGES, CHOOSING, FIGURES, NOT_A_DEVICE, Finished, against_free, figures_row, named
from .claims import DENSE, RESAMPLES, Claim, paired, paper_claims
from .measures import figure
from .recipe import COMMAND, GENERATED, PATIENTS, SEED
from .results import PAPER_SCORE, RULES, Results, dice_by_patient
from .tables import MISSING, between, listing, number, table

ONE_TRAINING = "there is one training of each model, so that they say nothing about other seeds."

RULE_TITLES = {
    "validation": "Settings chosen on the validation patients",
    "healthy-quantile": "Threshold from healthy slices",
    "oracle": "Settings chosen on the test patients themselves: optimistic",
}


def results_page(models: Sequence[Finished], results: Results) -> str:
    """Return ``results-phantoms.md``.

    Args:
        models: The models, in the order of the table.
        results: The evaluation on the test patients.
    """
    paper = results.values["paper"]
    lines = [
        "# Results on phantoms",
        "",
        GENERATED,
        "",
        f"The {len(models)} bundled models (size `small`) on {results.patients} test phantoms "
        f"({results.lesion_patients} with lesions) that no model was trained or calibrated on; {PATIENTS} phantoms in "
        f"all, seed {SEED}, split by patient. {NOT_A_DEVICE}",
        "",
        "**Phantoms are synthetic.** Their lesions were drawn by the program, on an average brain. These figures "
        "compare models with each other and with the free baselines, and do not say how well anything works on people.",
        "",
        f"{AVERAGES} In brackets: 95 % bootstrap intervals over patients ({results.values['resamples']:,} resamples); "
        f"{ONE_TRAINING} {CHOOSING} The [baselines](metrics.md#baselines-without-a-network) know no network and go "
        "through the same rules, on the scan's own grid; `nothing` detects nothing.",
        "",
        f"Column *paper*: {paper['note']}",
        "",
        f"## The paper's table, score `{PAPER_SCORE}`",
        "",
    ]
    for rule in RULES:
        scored = [(model.name, PAPER_SCORE) for model in models]
        lines += [f"### {RULE_TITLES[rule]} (`{rule}`)", "", *_table(scored, rule, results), ""]
    suggested = [(model.name, model.card.suggestions[0].score) for model in models]
    if any(score != PAPER_SCORE for _, score in suggested):
        lines += [
            "## The score that each model suggests",
            "",
            f"Under rule `{RULES[0]}`; each model suggests the score that did best on the validation patients.",
            "",
            *_table(suggested, RULES[0], results, scores=True),
            "",
        ]
    lines += _quality(models, results)
    lines += _against_free(suggested, results)
    lines += _claims(claims_of(models, results), models, results)
    lines += [
        "## How to make this page again",
        "",
        "```sh",
        COMMAND,
        "```",
        "",
        "The figures are those of `results.json`, which that command writes; each model's card is in "
        "[models/](models/).",
    ]
    return "\n".join(lines) + "\n"


def claims_of(models: Iterable[Finished], results: Results) -> list[Claim]:
    """Hold the claims of the paper against the figures, with its score and the rule reported first."""
    models = list(models)
    return paper_claims(
        dice={
            model.name: dice_by_patient(results.row(model.name, PAPER_SCORE, RULES[0])) for model in models
        },
        ssim={model.name: figure(model.measures, "ssim") for model in models},
        psnr={model.name: figure(model.measures, "psnr_brain") for model in models},
        lesion_residual={model.name: figure(model.measures, "lesion_residual") for model in models},
    )


def _table(
    models: Iterable[tuple[str, str]], rule: str, results: Results, *, scores: bool = False
) -> list[str]:
    """Return a line for each model and score, and the baselines."""
    paper = results.values["paper"]["dice"]
    rows: list[Sequence[str]] = []
    for name, score in models:
        label = f"[`{name}`](models/{name}.md)" + (f" `{score}`" if scores else "")
        row = results.row(name, score, rule)
        cells = [label, *[MISSING] * len(FIGURES)] if row is None else figures_row(label, row)
        rows.append([cells[0], number(paper.get(name)), *cells[1:]])
    free = [(named(row), row) for row in results.free(rule)]
    for label, row in (*free, ("`nothing`", results.nothing())):
        cells = figures_row(f"baseline {label}", row)
        rows.append([cells[0], MISSING, *cells[1:]])
    return table(("model", "paper", *FIGURES), rows)


def _quality(models: Iterable[Finished], results: Results) -> list[str]:
    rows: list[Sequence[str]] = []
    for model in models:
        quality = results.model(model.name)["quality"]
        inside, outside = (
            _mean(figure(model.measures, key)) for key in ("lesion_residual", "brain_residual")
        )
        row = results.row(model.name, PAPER_SCORE, RULES[0])
        rows.append(
            (
                f"`{model.name}`",
                number(quality["ssim"]),
                number(quality["psnr"], 2),
                number(quality["psnr_brain"], 2),
                number(inside),
                number(outside),
                number(inside / outside, 2),
                number(None if row is None else row["auroc"]),
                number(None if row is None else row["average_precision"]),
            )
        )
    for free in results.free(RULES[0]):
        dashes = [MISSING] * 6
        ranks = (number(free["auroc"]), number(free["average_precision"]))
        rows.append((f"baseline {named(free)}", *dashes, *ranks))
    return [
        "## How healthy slices and lesions are reconstructed",
        "",
        "SSIM and PSNR: means over the healthy slices of the test patients. Residuals: mean |x − x̂| of the voxels in "
        "lesions and in the rest of the brain, means over patients, on the model's grid. AUROC and AUPRC: residual "
        "(of a baseline: its map) of the lesion's voxels against all others of the brain.",
        "",
        *table(
            (
                "model",
                "SSIM",
                "PSNR (dB)",
                "PSNR in the brain (dB)",
                "residual in lesions",
                "elsewhere",
                "ratio",
                "AUROC",
                "AUPRC",
            ),
            rows,
        ),
        "",
    ]


def _mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values) if values else float("nan")


def _against_free(models: Iterable[tuple[str, str]], results: Results) -> list[str]:
    strongest = results.strongest(RULES[0])
    if strongest is None:
        return []
    rows: list[Sequence[str]] = []
    verdicts = []
    for name, score in models:
        verdict, found = against_free(name, score, results)
        verdicts.append(verdict)
        rows.append((f"`{name}`", f"`{score}`", MISSING if found is None else found.text(), f"**{verdict}**"))
    counts = [
        f"{verdicts.count(kind)} {words}"
        for kind, words in (
            ("better", "better"),
            ("worse", "worse"),
            ("undecided", "not to be told apart from it"),
        )
        if verdicts.count(kind)
    ]
    return [
        "## Against the strongest baseline",
        "",
        f"Difference of the Dice of each patient's volume from that of {named(strongest)}, the baseline with the "
        f"highest `dice_patient` here ({number(strongest['dice_patient'])}), both under rule `{RULES[0]}`, the models "
        f"with the score they suggest. Of {len(verdicts)} models, {listing(counts)}.",
        "",
        *table(("model", "score", "difference [95 %]", "verdict"), rows),
        "",
    ]


def _claims(claims: Sequence[Claim], models: Sequence[Finished], results: Results) -> list[str]:
    rows = [
        (
            claim.text,
            item.pair,
            item.figure,
            item.text(),
            MISSING if item.difference is None else str(item.difference.patients),
            f"**{item.verdict}**",
        )
        for claim in claims
        for item in claim.comparisons
    ]
    verdicts: list[str] = [item.verdict for claim in claims for item in claim.comparisons]
    counts = listing(
        [
            f"{verdicts.count(verdict)} {words}"
            for verdict, words in (
                ("agrees", "agree"),
                ("disagrees", "disagree"),
                ("undecided", "are undecided"),
            )
        ]
    )
    return [
        "## Do the paper's claims show here?",
        "",
        f"Of {len(rows)} comparisons of these trainings {counts}.",
        "",
        *(f"- {claim.sentence()}" for claim in claims),
        "",
        *_scale(models, results),
        f"Each verdict rests on the mean of the paired differences of the test patients (Dice of the volume with score "
        f"`{PAPER_SCORE}` and rule `{RULES[0]}`; SSIM and PSNR in the brain of their healthy slices; mean residual of "
        f"their lesions' voxels) with a 95 % bootstrap interval over patients ({RESAMPLES:,} resamples): *agrees* if "
        "all of it is on the side that the paper claims, *disagrees* if all of it is on the other side, *undecided* if "
        "it holds 0. The verdicts are about these trainings, for the intervals are over patients alone: two trainings "
        "of `ce-unet` that differ in their seed alone differ by 0.007 in Dice on strokes and by 0.018 on an MS patient "
        "([levers](levers.md#training)), and what another seed does to these models was not measured. A difference of "
        "0.01 may be chance, whatever its interval. Nothing is corrected for the number of comparisons.",
        "",
        *table(("claim", "compared", "figure", "difference [95 %]", "patients", "verdict"), rows),
        "",
        "Context encoding and Dice under each rule:",
        "",
        *table(("compared", *(f"`{rule}`" for rule in RULES)), _by_rule(models, results)),
        "",
    ]


def _scale(models: Sequence[Finished], results: Results) -> list[str]:
    """Say how large the figures are whose differences are compared."""
    found = {model.name: results.row(model.name, PAPER_SCORE, RULES[0]) for model in models}
    dice = sorted((row["dice_patient"], name) for name, row in found.items() if row is not None)
    free = results.strongest(RULES[0])
    if not dice or free is None:
        return []
    (low, worst), (high, best) = dice[0], dice[-1]
    return [
        f"For scale: `dice_patient` with score `{PAPER_SCORE}` and rule `{RULES[0]}` runs from {number(low)} "
        f"(`{worst}`) to {number(high)} (`{best}`); that of the strongest baseline, {named(free)}, is "
        f"{number(free['dice_patient'])}.",
        "",
    ]


def _by_rule(models: Sequence[Finished], results: Results) -> list[Sequence[str]]:
    def dice(name: str, rule: str) -> dict[str, float]:
        return dice_by_patient(results.row(name, PAPER_SCORE, rule))

    there = {model.name for model in models}
    rows: list[Sequence[str]] = []
    for base in (name for name in MODEL_NAMES if not name.startswith("ce-")):
        twin = f"ce-{base}"
        if {base, twin} <= there:
            found = [paired(dice(twin, rule), dice(base, rule)) for rule in RULES]
            rows.append(
                [
                    f"{twin.upper()} − {base.upper()}" + ("" if base in DENSE else " (the paper: lower)"),
                    *(MISSING if item is None else item.text() for item in found),
                ]
            )
    return rows


def summary_lines(models: Sequence[Finished], results: Results) -> list[str]:
    """Return the table of the bundled models for ``models.md``."""
    strongest = results.strongest(RULES[0])
    rows: list[Sequence[str]] = []
    for model in models:
        score = model.card.suggestions[0].score
        row = results.row(model.name, score, RULES[0])
        dice = (
            MISSING
            if row is None
            else number(row["dice_patient"]) + between(row["intervals"]["dice_patient"])
        )
        quality = results.model(model.name)["quality"]
        rows.append(
            (
                f"[`{model.name}`](models/{model.name}.md)",
                f"{model.card.parameters:,}",
                f"{model.size / 1e6:.2f} MB",
                number(quality["ssim"]),
                number(quality["psnr_brain"], 2),
                f"`{score}`",
                dice,
                against_free(model.name, score, results)[0],
            )
        )
    for free in results.free(RULES[0]):
        dice = number(free["dice_patient"]) + between(free["intervals"]["dice_patient"])
        rows.append((f"baseline `{free['model']}`", *[MISSING] * 4, f"`{free['score']}`", dice, MISSING))
    rows.append(("baseline `nothing`", *[MISSING] * 5, number(results.nothing()["dice_patient"]), MISSING))
    header = (
        "model",
        "weights",
        "on disk",
        "SSIM",
        "PSNR in the brain (dB)",
        "suggested score",
        "`dice_patient`",
        "against the strongest baseline",
    )
    return [
        f"Figures of {results.patients} test phantoms: SSIM and PSNR of healthy slices, `dice_patient` under rule "
        f"`{RULES[0]}` with its 95 % bootstrap interval. The last column says whether that Dice is worse or better "
        f"than that of the strongest baseline, {MISSING if strongest is None else named(strongest)}, patient by "
        "patient, or undecided (the interval of the difference holds 0).",
        "",
        *table(header, rows),
    ]
