"""The paper's eight designs on all axial levels, with several seeds: trained, measured, and compared in pairs.

    python research/eight.py --data DATA --work DIR [--seeds 0,1,2] [--models ae,ce-ae]

makes, each step only if it has not been done yet:

    DIR/phantoms, DIR/clean, DIR/store   the data of ``bundle_ce_unet.py``, on the paper's grid (196 x 196 of 0.94 mm)
    DIR/runs/NAME.seedN                  a training: preset ``small``, 12 epochs
    DIR/results/NAME.seedN               its figures, per scan, through the product's own interface
    research/eight.json                  the figures of every training that has ended, here or before, and the verdict
    docs/                                the page of results and its tables
    sample_data/models                   with --bundle: the models of seed 0, and their cards

Seed 0 of all designs comes first. A command that was broken off goes on where it was when it is given again.

The verdict: for each design, the figures with context encoding minus those without it, on the same scans and with the
same seeds. The interval is a bootstrap that draws scans and seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle_ce_unet import make_store
from bundle_model import ROOT, Bundle, ended, make, say
from eight_pages import write_cards, write_results
from measuring import Model, load, measure
from napari_cead.atomic import write_text
from napari_cead.errors import CeadWarning
from napari_cead.models.specs import MODEL_NAMES
from napari_cead.patients import load_patient
from napari_cead.zoo import export_model
from results import RESAMPLES, figures, healthy, per_patient

GRID: dict[str, Any] = {"assume_healthy": True, "skull_ok": True, "min_brain": 0.03}
"""What differs from the defaults of ``prepare`` (196 x 196 pixels of 0.94 mm, ``volume-percentile``)."""

RECIPE: dict[str, Any] = {
    "size": "small",
    "epochs": 12,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "schedule": "one-cycle",
}
AUGMENTATION = {"scale": 0.06, "rotation": 6, "shift": 0.02}

PARTS = ("test-strokes", "ms", "hyperintensities", "phantoms")
CALM = ("free", "healthy")
COMPARED = ("best", "AP", "Dice, as it comes")
PER_SCAN = "per scan"

DESCRIPTION = (
    "{title} (size small) trained on {slices:,} lesion-free FLAIR slices of all axial levels: {phantoms} phantoms "
    "(synthetic patients), {volumes} volumes of elderly adults (sample data of CBICA's NiChart; SBIA/CBICA Software "
    "License 1.1) and {real} slices of stroke patients at one level (SOOP, OpenNeuro ds004889; Absher et al. 2024, "
    "doi:10.1038/s41597-024-03667-5), the bright spots of both painted over. Not a medical device."
)


def train_one(model: str, seed: int, options: argparse.Namespace, work: Path) -> Path:
    """Train and finish one design with one seed; return its folder."""
    from napari_cead.corruption.augmentation import Augmentation

    store = make_store(options.data, work, GRID)
    sources = [Path(patient.source).parts for patient in store.patients_of("train")]
    real, volumes = (sum(name in parts for parts in sources) for name in ("soop", "nichart"))
    words = DESCRIPTION.format(
        title=model.upper(),
        slices=len(store.healthy_rows("train")),
        phantoms=len(sources) - real - volumes,
        volumes=volumes,
        real=real,
    )
    return make(
        Bundle(
            name=model,
            model=model,
            work=work / f"seed{seed}",
            data=store.path,
            out=work / f"seed{seed}" / "models",
            recipe=RECIPE | {"seed": seed, "augmentation": Augmentation(**AUGMENTATION)},
            description=words,
            device="cpu",
        )
    )


def gather(out: Path, seeds: Sequence[int], work: Path) -> dict[str, Any]:
    """Return the figures of every training that has ended, those of the maps without a network, and the verdict."""
    found: dict[str, Any] = {"maps": {}, "context encoding": {}}
    file = Path(__file__).with_suffix(".json")
    before = json.loads(file.read_text(encoding="utf-8"))["maps"] if file.is_file() else {}
    seeds = sorted({*seeds, *(int(name.split(".seed")[1]) for name in before if ".seed" in name)})
    for model in MODEL_NAMES:
        for seed in seeds:
            name, folder = f"{model}.seed{seed}", work / f"seed{seed}" / "models" / model
            entry = before.get(name, {})
            if folder.is_dir():
                subject = Model.load(name, str(folder))
                parts = {part: load(out, subject, part) for part in (*PARTS, *CALM)}
                if all(parts.values()):
                    measured = {part: arrays for part, arrays in parts.items() if arrays is not None}
                    entry = {"sha256": subject.detector.card.sha256, "score": subject.score}
                    entry |= _figures(measured)
                    entry[PER_SCAN] = {part: per_scan(measured[part]) for part in PARTS}
            if entry:
                found["maps"][name] = entry
    # The maps without a network were measured on the same scans by results.py.
    earlier = json.loads(Path(__file__).with_name("results.json").read_text(encoding="utf-8"))
    for name in earlier["without a network"]:
        found["maps"][name] = {part: earlier["parts"][part][name] for part in (*PARTS, *CALM)}
    kept = {name: entry[PER_SCAN] for name, entry in found["maps"].items() if PER_SCAN in entry}
    for plain in (name for name in MODEL_NAMES if not name.startswith("ce-")):
        both = [seed for seed in seeds if {f"{plain}.seed{seed}", f"ce-{plain}.seed{seed}"} <= set(kept)]
        if both:
            found["context encoding"][plain] = {"seeds": both} | {
                part: verdict(
                    [kept[f"ce-{plain}.seed{seed}"][part] for seed in both],
                    [kept[f"{plain}.seed{seed}"][part] for seed in both],
                )
                for part in PARTS
            }
    return found


def per_scan(arrays: Mapping[str, Any]) -> dict[str, str]:
    """Return the figures that are compared, one number per scan in a line; they stay when the training is gone."""
    values = per_patient(arrays)
    return {name: " ".join(f"{value:.5g}" for value in values[name]) for name in COMPARED}


def _figures(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {part: healthy(arrays) if part in CALM else figures(arrays) for part, arrays in parts.items()}


def verdict(encoded: Sequence[Mapping[str, Any]], plain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return context encoding minus none, by figure: the mean, its 95 % interval, and the mean of each seed.

    Args:
        encoded: By seed, the figures of `per_scan`.
        plain: The same seeds and scans.
    """
    found = {}
    for name in COMPARED:
        gaps: NDArray[np.float64] = np.stack(
            [
                np.subtract(*(np.array(each[name].split(), np.float64) for each in (one, other)))
                for one, other in zip(encoded, plain, strict=True)
            ]
        )
        seeds, scans = gaps.shape
        draw = np.random.default_rng(0)
        means = [
            gaps[draw.integers(seeds, size=seeds)][:, draw.integers(scans, size=scans)].mean()
            for _ in range(RESAMPLES)
        ]
        ends = np.quantile(means, [0.025, 0.975]).round(4).tolist() if scans >= 20 else None
        found[name] = {
            "mean": round(float(gaps.mean()), 4),
            "interval": ends,
            "by seed": gaps.mean(axis=1).round(4).tolist(),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of everything that is not kept")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--models", default=",".join(MODEL_NAMES))
    parser.add_argument("--only", choices=("train", "measure"), help="do only this")
    parser.add_argument(
        "--bundle", action="store_true", help="bundle the models of seed 0 and write their cards"
    )
    options = parser.parse_args(arguments)
    work: Path = options.work.expanduser().resolve()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    models = options.models.split(",")
    out = work / "results"

    def work_on_it() -> None:
        warnings.simplefilter("ignore", CeadWarning)
        out.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            for model in models:
                folder = work / f"seed{seed}" / "models" / model
                if options.only != "measure" and not folder.is_dir():
                    say(f"{train_one(model, seed, options, work)}: trained")
                if options.only != "train" and folder.is_dir():
                    subject = Model.load(f"{model}.seed{seed}", str(folder))
                    measure([subject], (*PARTS, *CALM), options.data, work, out, None)
        if options.only == "train":
            return
        file = Path(__file__).with_suffix(".json")
        write_text(file, json.dumps(gather(out, seeds, work), indent=1) + "\n")
        say(str(file))
        found, bundled = json.loads(file.read_text(encoding="utf-8")), ROOT / "sample_data" / "models"
        written = []
        if options.bundle:
            for model in MODEL_NAMES:
                export_model(work / "seed0" / "models" / model, bundled / model)
            patient = load_patient(work / "criterion_lesions" / "train" / "Mets_005")
            runs = work / "seed0" / "runs"
            written += write_cards(found, work / "seed0" / "models", runs, patient, ROOT / "docs")
        for page in (*written, *write_results(found, bundled, ROOT / "docs")):
            say(str(page))

    return ended(work_on_it)


if __name__ == "__main__":
    sys.exit(main())
