"""The pages about the paper's eight, from ``eight.json`` and the models: cards, their pictures, and tables."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from napari_cead.atomic import make_folder, write_text
from napari_cead.models.specs import MODEL_NAMES
from napari_cead.patients import Patient
from napari_cead.zoo import ModelCard, load_card, load_model
from pictures import draw_examples, examples, loss_curve
from tables import aside, between_markers, listing, number, signed, table

GENERATED = "<!-- written by research/eight.py: changes by hand are lost -->"
COMMAND = "python research/eight.py --data DATA --work DIR"
PAPER = dict(zip(MODEL_NAMES, (0.302, 0.405, 0.317, 0.463, 0.302, 0.326, 0.169, 0.083), strict=True))
"""The Dice that the paper prints, on BrainMetShare."""

FAMILIES: Mapping[str, str] = {
    "ae": "an autoencoder with coordinate convolutions",
    "vae1": "a variational autoencoder with coordinate convolutions",
    "vae2": "a variational autoencoder, without coordinate convolutions",
    "vq-vae": "a vector-quantised variational autoencoder",
}
TITLES: Mapping[str, str] = {
    "test-strokes": "435 strokes, one slice each",
    "ms": "multiple sclerosis, `patient26`",
    "hyperintensities": "hyperintensities, six volumes (*automatic* masks)",
    "phantoms": "ten phantoms, 12 metastases each",
}
NOT_A_DEVICE = "**Research software, not a medical device.** Do not use it for diagnosis or treatment."

INTRODUCTION = f"""# The paper's eight on all axial levels

{GENERATED}

The paper's eight designs at size `small`, each trained {{times}} on lesion-free slices of all axial levels:
phantoms, elderly adults (NiChart) and stroke patients (SOOP), the bright spots of the real ones painted over.
The models of seed 0 are [bundled](../reference/models.md#the-bundled-models). {NOT_A_DEVICE}

- **Map at its best**: the Dice above the one threshold that is best for all scans of the row (optimistic).
  **AP**: average precision over the voxels of a scan. **As it comes**: what `napari_cead.detect` gives with no
  setting touched; 1 % of the healthy validation voxels exceed its threshold.
- All are means over scans and seeds (lowest and highest seed in brackets). The last row has the strongest map
  without a network, figure by figure.
- *paper* is the Dice that Paolini, Boracchi and Matteucci print, on BrainMetShare, without saying which average
  it is: it cannot be compared with the other columns.
- [The data](results.md#data-and-method). The phantoms are of the training's generator.
"""

EXAMPLE = """Slices of the phantom `{example}`, the same on every card, chosen without looking at any model.
Contour: the lesion mask. It is the tumour's core; its oedema, bright on FLAIR, is not in it. The residual is shown
in the brain alone, in the same colours on every card."""

LIMITS = f"""## Limits

- Not a medical device. It has met no metastasis of a real patient and nothing of BrainMetShare.
- It is not the network of the paper: size `small` has a fraction of its weights, and another training.
- One training: another seed may give other figures.

## Make it again

<!-- not run: needs the public data -->
```bash
{COMMAND} --bundle
```

The weights are the same bit for bit only with the same versions, device, precision and number of threads.
"""

ALONE = """ **There is one
training of each: intervals are over scans alone, and another seed may differ by as much.**"""

COMPARED = """## Does context encoding help?

With it minus without it, on the same scans, with the same seeds. In brackets: the middle 95 % of a bootstrap
over scans *and* seeds, where there are 20 scans or more. Nothing is corrected for multiplicity.{alone}
"""

Found = Mapping[str, Any]


def write_cards(found: Found, models: Path, runs: Path, patient: Patient, docs: Path) -> list[Path]:
    """Write the eight cards and their pictures.

    Args:
        found: What ``eight.py`` measured.
        models: Folder of the models of seed 0.
        runs: Folder of their trainings.
        patient: The patient of the example pictures.
        docs: Folder of the documentation.
    """
    folder, written = make_folder(docs / "reference" / "models"), []
    chosen = examples(patient)
    for name in MODEL_NAMES:
        detector = load_model(models / name, "cpu")
        with (runs / name / "log.csv").open(encoding="utf-8", newline="") as stream:
            log = [
                {key: float(value) for key, value in line.items() if value} for line in csv.DictReader(stream)
            ]
        curve, drawn, page = (folder / f"{name}{end}" for end in ("-loss.png", "-examples.jpg", ".md"))
        training, spec = detector.card.training, detector.card.spec
        loss_curve(log, training["best_epoch"], spec.context_encoding, spec.codes, curve)
        draw_examples(detector, chosen, drawn)
        write_text(page, _card(detector.card, found, patient.name))
        written += [curve, drawn, page]
    return written


def write_results(found: Found, models: Path, docs: Path) -> list[Path]:
    """Write the page of results and the table in ``docs/reference/models.md``.

    Args:
        found: What ``eight.py`` measured.
        models: Folder of the models of seed 0.
        docs: Folder of the documentation.
    """
    page, overview = docs / "explanation" / "results-eight.md", docs / "reference" / "models.md"
    write_text(page, "\n".join(aside(_results(found).splitlines(), page)) + "\n")
    lines = _overview(found, {name: load_card(models / name) for name in MODEL_NAMES})
    write_text(overview, between_markers(overview.read_text(encoding="utf-8"), "bundled", lines))
    return [page, overview]


def seeds_of(found: Found, model: str) -> list[int]:
    """Return the seeds that a design was trained with."""
    return [int(name.split(".seed")[1]) for name in found["maps"] if name.split(".seed")[0] == model]


def over_seeds(found: Found, model: str, part: str, figure: str) -> list[float]:
    """Return a figure of each training of a design."""
    values = []
    for seed in seeds_of(found, model):
        value = found["maps"][f"{model}.seed{seed}"][part][figure]
        values.append(value["mean"] if "mean" in value else value["median"])
    return values


def strongest(found: Found, part: str, figure: str) -> tuple[str, float]:
    """Return the map without a network that has the best figure, and the figure."""
    free = {
        name: figures[part][figure]["mean"] for name, figures in found["maps"].items() if ".seed" not in name
    }
    name = max(free, key=lambda each: free[each])
    return name, free[name]


def _spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean over seeds, and the lowest and highest where there are several."""
    text = number(mean(values), digits)
    return (
        text if len(values) == 1 else f"{text} ({number(min(values), digits)}–{number(max(values), digits)})"
    )


def _card(card: ModelCard, found: Found, example: str) -> str:
    name, spec, training = card.name, card.spec, card.training
    words = FAMILIES[name.removeprefix("ce-")]
    if spec.context_encoding:
        words += ", trained with context encoding"
    suggested, preprocessing = card.suggestions[0], card.preprocessing
    settings = [
        ("design", f"`{name}` at size `{spec.size}`; see [the designs](../models.md)"),
        ("image", f"{spec.image_size} × {spec.image_size} pixels of {preprocessing.spacing[0]:g} mm"),
        ("intensities", f"`{preprocessing.intensity}`"),
        ("weights", f"{card.parameters:,}, {'half' if card.dtype == 'float16' else 'single'} precision"),
        ("sha256", f"`{card.sha256}`"),
        (
            "score, rule",
            f"`{suggested.score}`, `{suggested.rule}`: threshold {suggested.params['threshold']:.3g}",
        ),
        (
            "training",
            f"{training['epochs']} epochs, {training['steps']:,} updates of {training['batch_size']} slices, "
            f"{training['schedule']} learning rate with a peak of {training['learning_rate']:g}; seed "
            f"{training['seed']}, {training['minutes']:.0f} minutes on one processor core; epoch "
            f"{training['best_epoch']} was kept",
        ),
    ]
    rows = []
    for part, title in TITLES.items():
        for figure, label in (("best", "Dice, map at its best"), ("AP", "AP"), ("Dice, as it comes",) * 2):
            own = found["maps"][f"{name}.seed0"][part][figure]["mean"]
            best, value = strongest(found, part, figure)
            rows.append(
                (title if figure == "best" else "", label, number(own), f"{number(value)} (`{best}`)")
            )
    return "\n".join(
        (
            f"# `{name}`",
            "",
            GENERATED,
            "",
            f"{card.description} It is {words}. {NOT_A_DEVICE}",
            "",
            *table(("", ""), settings),
            "",
            f"![Losses by epoch]({name}-loss.png)",
            "",
            f"![Input, reconstruction and residual]({name}-examples.jpg)",
            "",
            EXAMPLE.format(example=example),
            "",
            "## Figures",
            "",
            *table(("data", "figure", f"`{name}`", "strongest map without a network"), rows),
            "",
            "[All eight, every seed, and what context encoding does](../../explanation/results-eight.md), with the "
            "definitions.",
            "",
            LIMITS,
        )
    )


def _overview(found: Found, cards: Mapping[str, ModelCard]) -> list[str]:
    rows = []
    for name in MODEL_NAMES:
        figures = [_spread(over_seeds(found, name, part, "best")) for part in TITLES]
        rows.append((f"[`{name}`](models/{name}.md)", f"{cards[name].parameters:,}", *figures))
    free = [strongest(found, part, "best") for part in TITLES]
    rows.append(
        ("strongest map without a network", "–", *(f"{number(value)} `{name}`" for name, value in free))
    )
    return [
        "Dice of the map at its best threshold, the mean over scans and seeds (lowest and highest seed in brackets). "
        "[More figures](../explanation/results-eight.md).",
        "",
        *table(("model", "weights", *TITLES.values()), rows),
    ]


def _results(found: Found) -> str:
    trained = {name: seeds_of(found, name) for name in MODEL_NAMES}
    counts = sorted({len(seeds) for seeds in trained.values()})
    said = "once" if counts[-1] == 1 else f"with {' or '.join(map(str, counts))} seeds"
    lines = [INTRODUCTION.format(times=said), "## Figures", ""]
    lines += [
        "[One table](../reference/models.md#the-bundled-models) has each map at its best. All figures:",
        "",
    ]
    for part, title in TITLES.items():
        free = {figure: strongest(found, part, figure) for figure in ("best", "AP", "Dice, as it comes")}
        rows = [
            (
                f"`{name}`",
                number(PAPER[name]),
                *(_spread(over_seeds(found, name, part, figure)) for figure in free),
            )
            for name in MODEL_NAMES
        ]
        rows.append(
            ("without a network", "–", *(f"{number(value)} `{name}`" for name, value in free.values()))
        )
        lines += [f"### {title[0].upper()}{title[1:]}", ""]
        lines += [*table(("model", "paper", "map at its best", "AP", "as it comes"), rows), ""]
    lines += ["### Healthy scans: mL marked as it comes", ""]
    rows = []
    for name in [*MODEL_NAMES, *(each for each in found["maps"] if ".seed" not in each)]:
        if ".seed" in name or name not in MODEL_NAMES:
            values = {
                part: [found["maps"][name][part]["mL, as it comes"]["median"]] for part in ("free", "healthy")
            }
        else:
            values = {part: over_seeds(found, name, part, "mL, as it comes") for part in ("free", "healthy")}
        rows.append((f"`{name}`", *(_spread(each, 1) for each in values.values())))
    lines += [*table(("map", "five lesion-free phantoms, median", "`visits/long04`"), rows), ""]
    lines += _verdict(found)
    return "\n".join(lines)


def _verdict(found: Found) -> list[str]:
    rows: list[Sequence[str]] = []
    shown: dict[tuple[str, str], list[str]] = {}
    for plain, verdict in found["context encoding"].items():
        for part, title in TITLES.items():
            cells, ways = [], set()
            for figure in ("best", "AP"):
                gap = verdict[part][figure]
                ends = gap["interval"]
                cells.append(
                    signed(gap["mean"]) + (f" [{signed(ends[0])}, {signed(ends[1])}]" if ends else "")
                )
                cells.append(", ".join(signed(value) for value in gap["by seed"]))
                ways.add("" if not ends or ends[0] <= 0 <= ends[1] else "raises" if ends[0] > 0 else "lowers")
            if len(ways) == 1 and (way := ways.pop()):
                shown.setdefault((way, title), []).append(f"`{plain}`")
            rows.append((f"`ce-{plain}` − `{plain}`", title, *cells))
    several = any(len(verdict["seeds"]) > 1 for verdict in found["context encoding"].values())
    said = [f"it {way} both figures of {listing(names)} ({title})" for (way, title), names in shown.items()]
    words = "; ".join(said or ["no difference of both figures is shown"])
    words = (
        f"{words[0].upper()}{words[1:]}. Elsewhere nothing is shown."
        if said
        else f"{words[0].upper()}{words[1:]}."
    )
    return [
        COMPARED.format(alone="" if several else ALONE),
        f"**{words}**",
        "",
        *table(("pair", "data", "map at its best", "by seed", "AP", "by seed"), rows),
        "",
        "<!-- not run: needs the public data -->",
        "```bash",
        COMMAND,
        "```",
        "",
    ]
