"""The card of one bundled model, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_cead.evaluation.baselines import BASELINES
from napari_cead.evaluation.rules import QUANTILE
from napari_cead.training import SliceStore
from napari_cead.zoo import ModelCard

from .claims import Difference, paired
from .measures import Measures, figure
from .recipe import COMMAND, GENERATED, PATIENTS, PRESET, SEED
from .results import DICE, RULES, Results, Row, dice_by_patient
from .tables import MISSING, between, number, table

FAMILIES: Mapping[str, str] = {
    "ae": "an autoencoder with coordinate convolutions",
    "vae1": "a variational autoencoder with coordinate convolutions",
    "vae2": "a variational autoencoder, without coordinate convolutions",
    "vq-vae": "a vector-quantised variational autoencoder",
}

NOT_A_DEVICE = "**Research software, not a medical device.** Do not use it for diagnosis or treatment."

AVERAGES = (
    "`dice_patient` is the mean over patients of the Dice of the volume, `dice_pooled` the Dice of all voxels, "
    "`dice_lesion_slices` the mean over slices that hold lesion; `dice_all_slices` counts slices without lesion and "
    "detection as 1, so that a detector that finds nothing scores high."
)

CHOOSING = (
    "Rule `validation` takes the threshold and morphology with the best `dice_patient` of the validation patients, "
    f"`healthy-quantile` the threshold that {100 * (1 - QUANTILE):g} % of their healthy brain voxels pass, and "
    "`oracle` the best settings for the very patients that are reported: optimistic, and no result."
)


@dataclass(frozen=True)
class Finished:
    """What a card is made of.

    Attributes:
        card: The model's own card.
        size: Bytes on disk.
        log: Lines of the training's log, numbers by column.
        start: What the training said when it began; empty if that was not kept.
        measures: Figures of the test patients.
    """

    card: ModelCard
    size: int
    log: Sequence[Mapping[str, float]]
    start: Mapping[str, Any]
    measures: Measures

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.card.name


def family(name: str) -> str:
    """Return in words what a design is, with its article."""
    context = ", trained with context encoding" if name.startswith("ce-") else ""
    return FAMILIES[name.removeprefix("ce-")] + context


def card_page(model: Finished, store: SliceStore, results: Results, example: str) -> str:
    """Return the card.

    Args:
        model: The model.
        store: The store that it was trained on.
        results: The evaluation on the test patients.
        example: Name of the test patient in the picture.
    """
    name = model.name
    lines = [
        f"# `{name}`",
        "",
        GENERATED,
        "",
        f"{model.card.description} It is {family(name)}. {NOT_A_DEVICE}",
        "",
        *_what(model),
        *_data(model, store),
        *_training(model),
        *_losses(model),
        f"![Losses by epoch]({name}-loss.png)",
        "",
        "## What it makes of a slice",
        "",
        f"![Input, reconstruction and residual]({name}-examples.jpg)",
        "",
        f"Slices of the test phantom `{example}` (that with the median lesion volume; the same slices on every card, "
        "chosen without looking at any model). Row 0 is anterior, the patient's right is on the left. Contour: the "
        "lesion mask, which is the tumour's core; its oedema, bright on FLAIR, is not in the mask and may reach into "
        "slices without lesion. The residual is shown in the brain alone, in the same colours on every card.",
        "",
        *_figures(name, results),
        *_quality(model, results),
        *_not(name, results),
        *_reproduce(name, model),
    ]
    return "\n".join(lines) + "\n"


def _what(model: Finished) -> list[str]:
    card, spec = model.card, model.card.spec
    latent = f"{spec.codes} codes of length {spec.latent}" if spec.codes else f"a vector of {spec.latent}"
    suggested = card.suggestions[0]
    settings = ", ".join(
        f"{key.replace('_', ' ')} {value:g}"
        for key, value in suggested.params.items()
        if key not in ("min_area_mm2", "inside_brain")
    )
    rows = [
        (
            "design",
            f"`{spec.name}` at size `{spec.size}`: {family(spec.name)}; see [the designs](../models.md)",
        ),
        ("feature maps", ", ".join(map(str, spec.feature_maps))),
        ("latent space", latent),
        ("image", f"{spec.image_size} × {spec.image_size} pixels of {card.preprocessing.spacing[0]:g} mm"),
        ("weights", f"{card.parameters:,}, {'half' if card.dtype == 'float16' else 'single'} precision"),
        ("size on disk", f"{model.size / 1e6:.2f} MB"),
        ("sha256 of the weights", f"`{card.sha256}`"),
        ("suggested", f"score `{suggested.score}`, rule `{suggested.rule}`: {settings}"),
    ]
    return ["## What it is", "", *table(("", ""), rows), ""]


def _data(model: Finished, store: SliceStore) -> list[str]:
    rows = []
    for part in ("train", "validation", "test"):
        patients = store.patients_of(part)
        slices = sum(len(patient.numbers) for patient in patients)
        lesion = sum(patient.labels.count(1) for patient in patients)
        rows.append(
            (part, str(len(patients)), f"{slices:,}", f"{lesion:,}", f"{len(store.healthy_rows(part)):,}")
        )
    used = f"lesion-free, ≥ {store.settings.min_brain:.0%} brain"
    return [
        "## Data",
        "",
        f"**Phantoms only**: {PATIENTS} synthetic patients on the ICBM-152 average brain (`napari-cead phantom`, seed "
        f"{SEED}), sequence {store.settings.sequence}. No real scan, and nothing of BrainMetShare, went into it.",
        "",
        *table(("part", "patients", "slices with brain", "with lesion", used), rows),
        "",
        f"Split by {store.split_kind}, seed {store.seed}: no patient is in two parts. Training saw the last column of "
        "*train*, and *validation* chose the epoch and the settings; *test* is for the figures below alone. "
        f"Fingerprint of the store: `{model.card.training['data_fingerprint']}`.",
        "",
    ]


def _training(model: Finished) -> list[str]:
    training = model.card.training
    rows = [
        ("preset", f"`{PRESET}`"),
        ("epochs", f"{training['epochs']} of {training['planned_epochs']}, {training['steps']:,} updates"),
        ("batch", f"{training['batch_size']} slices"),
        ("optimiser", f"Adam, {training['schedule']} learning rate, peak {training['learning_rate']:g}"),
        ("augmentation", _augmentation(training["augmentation"])),
    ]
    if model.card.spec.context_encoding:
        rows.append(("context encoding", _corruption(training["corruption"])))
    if model.card.spec.family == "vae":
        rows.append(("weight of the divergence", f"{training['beta']:g}"))
    if model.card.spec.codes:
        decay = training["codebook_decay"]
        learns = "by its loss" if decay is None else f"by moving averages (decay {decay:g})"
        reset = ", codes that an epoch did not use are moved" if training["reset_dead_codes"] else ""
        rows.append(("codebook", f"{learns}{reset}; commitment {training['commitment']:g}"))
    rows += [
        ("seed", str(training["seed"])),
        ("time", f"{training['minutes']:g} minutes"),
        ("device", _device(model.start)),
        ("precision", _precision(model.start)),
        (
            "versions",
            ", ".join(f"{key} {training['versions'][key]}" for key in ("napari-cead", "torch", "numpy")),
        ),
    ]
    return ["## Training", "", *table(("", ""), rows), ""]


def _augmentation(values: Mapping[str, Any] | None) -> str:
    if values is None:
        return "none"
    flip = "flips, " if values["flip"] else ""
    return (
        f"{flip}size ±{values['scale']:.0%}, rotation ±{values['rotation']:g}°, shift ±{values['shift']:.0%}, "
        f"brightness ±{values['intensity']:.0%}"
    )


def _corruption(values: Mapping[str, Any]) -> str:
    if values["kind"] != "squares":
        return str(values["kind"])
    low, high = values["squares"]
    count = f"{low}" if low == high else f"{low} to {high}"
    return f"{count} square{'s' if high > 1 else ''} a slice, side up to {values['largest_side']:.0%} of the image"


def _device(start: Mapping[str, Any]) -> str:
    kinds = {"cpu": "processor (CPU)", "cuda": "graphics card (CUDA)", "mps": "Apple GPU (MPS)"}
    return kinds.get(str(start.get("device", "")).split(":")[0], "not recorded")


def _precision(start: Mapping[str, Any]) -> str:
    kinds = {"bf16-mixed": "bfloat16, mixed", "32-true": "single (float32)"}
    return kinds.get(str(start.get("precision")), "not recorded")


def _losses(model: Finished) -> list[str]:
    training, spec = model.card.training, model.card.spec
    best = next(line for line in model.log if int(line["epoch"]) == training["best_epoch"])
    terms = {"ae": None, "vae": "divergence", "vqvae": "codebook and commitment"}
    names = [("loss", "{}_loss"), ("reconstruction", "{}_reconstruction")]
    if latent := terms[spec.family]:
        names.append((latent, "{}_latent"))
    if spec.context_encoding:
        names.append(("context encoding", "{}_context"))
    rows = []
    for part in ("train", "validation"):
        values = [best.get(column.format(part)) for _, column in names]
        rows.append((part, *(MISSING if value is None else f"{value:.4g}" for value in values)))
    reduced = (
        "means over pixels" if spec.family == "vqvae" else "squared errors summed over the pixels of a slice"
    )
    # The kept epoch is the last one only if the loss still fell.
    falling = (
        " (the last one: the loss was still falling)" if training["best_epoch"] == training["epochs"] else ""
    )
    lines = [
        f"Epoch {training['best_epoch']}{falling} had the smallest loss on the healthy validation slices and was kept "
        f"({reduced}):",
        "",
        *table((f"epoch {training['best_epoch']}", *(name for name, _ in names)), rows),
        "",
    ]
    if spec.codes:
        last = model.log[-1]
        lines += [
            f"Of its {spec.codes} codes the kept epoch used {best['used_codes']:.0f}, the last one "
            f"{last['used_codes']:.0f}.",
            "",
        ]
    return lines


def figures_row(name: str, row: Row) -> list[str]:
    """Return a line of a table of figures: name, the averages of Dice with intervals, lesion-wise figures."""
    return [
        name,
        *(number(row[key]) + between(row["intervals"].get(key)) for key in DICE),
        number(row["lesion_sensitivity"]),
        number(row["false_positives_per_patient"], 1),
    ]


def named(row: Row) -> str:
    """Return a baseline as it is called in a table: with its score where it has several."""
    several = len(BASELINES[row["model"].split("-", 1)[1]].maps) > 1
    return f"`{row['model']}`" + (f" `{row['score']}`" if several else "")


FIGURES = (*(f"`{name}`" for name in DICE), "lesions found", "false detections / patient")
"""Columns that `figures_row` fills after the name."""


def _figures(name: str, results: Results) -> list[str]:
    rows: list[list[str]] = []
    for rule in RULES:
        for score in results.scores(name):
            if row := results.row(name, score, rule):
                threshold = f"{row['params']['threshold']:.3g}"
                rows.append([f"`{score}`", _rule(rule), threshold, *figures_row("", row)[1:]])
        for row in results.free(rule):
            threshold = f"{row['params']['threshold']:.3g}"
            rows.append([f"baseline {named(row)}", _rule(rule), threshold, *figures_row("", row)[1:]])
    rows.append(["baseline `nothing`", MISSING, MISSING, *figures_row("", results.nothing())[1:]])
    return [
        "## Figures on the test phantoms",
        "",
        f"{results.patients} test phantoms, {results.lesion_patients} with lesions. {AVERAGES} In brackets: 95 % "
        f"bootstrap intervals over patients, not over trainings: there was one. {CHOOSING} The "
        "[baselines](../metrics.md#baselines-without-a-network) know no network and go through the same rules; "
        "`nothing` detects nothing.",
        "",
        *table(("score", "rule", "threshold", *FIGURES), rows),
        "",
    ]


def _rule(rule: str) -> str:
    return f"`{rule}`" + (" (optimistic)" if rule == "oracle" else "")


def _quality(model: Finished, results: Results) -> list[str]:
    quality = results.model(model.name)["quality"]
    inside, outside = (_mean(model.measures, key) for key in ("lesion_residual", "brain_residual"))
    return [
        f"Healthy slices of these patients ({quality['slices']:,}) are reconstructed with SSIM {quality['ssim']:.3f}, "
        f"PSNR {quality['psnr']:.2f} dB, and {quality['psnr_brain']:.2f} dB in the brain alone. The mean absolute "
        f"residual is {inside:.3f} in lesions and {outside:.3f} in the rest of the brain (means over patients).",
        "",
    ]


def _mean(measures: Measures, name: str) -> float:
    values = figure(measures, name)
    return sum(values.values()) / len(values) if values else float("nan")


def against_free(name: str, score: str, results: Results) -> tuple[str, Difference | None]:
    """Compare a model with the strongest baseline without a network under rule `validation`.

    Returns:
        ``"worse"``, ``"better"`` or ``"undecided"``, and the paired difference of the Dice of the volume.
    """
    found = paired(
        dice_by_patient(results.row(name, score, RULES[0])), dice_by_patient(results.strongest(RULES[0]))
    )
    if found is None or found.low <= 0 <= found.high:
        return "undecided", found
    return ("better" if found.mean > 0 else "worse"), found


def _not(name: str, results: Results) -> list[str]:
    strongest = results.strongest(RULES[0])
    best = MISSING if strongest is None else named(strongest)
    words = {
        "worse": f"It finds **less than the strongest baseline without a network**, {best},",
        "better": f"It finds more than the strongest baseline without a network, {best},",
        "undecided": f"It cannot be told apart from the strongest baseline without a network, {best},",
    }
    lines = []
    for score in results.scores(name):
        verdict, found = against_free(name, score, results)
        if found is not None:
            lines.append(
                f"- {words[verdict]} under score `{score}` and rule `validation`: difference of the Dice of "
                f"{found.patients} patients {found.text()}, 95 % bootstrap interval."
            )
    return [
        "## What it is not",
        "",
        "- Not a medical device, and not tested on people: these figures are about synthetic patients whose lesions "
        "the program itself drew. They say nothing about BrainMetShare or any other real scan.",
        *lines,
        "- Not the network of the paper: size `small` has a fraction of its weights, and another training.",
        "",
    ]


def _reproduce(name: str, model: Finished) -> list[str]:
    return [
        "## How to make it again",
        "",
        "```sh",
        f"{COMMAND} --models {name}",
        "```",
        "",
        "makes the phantoms, prepares them, trains, chooses the settings, evaluates and writes this card. The weights "
        "are the same bit for bit only with the same versions, device, precision and number of threads.",
    ]
