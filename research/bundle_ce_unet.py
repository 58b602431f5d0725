"""A ``ce-unet`` from nothing, on the data of the bundled one, the default model of Explore: one command.

python research/bundle_ce_unet.py --data DATA --work DIR [--seed 0]

makes, each step only if it has not been done yet:

    DIR/phantoms            60 lesion-free synthetic patients, 3 mm x 1 mm x 1 mm
    DIR/clean               soop_axial/lesion_free and nichart with their bright spots painted over
    DIR/store               the slices of both, 192 x 192 pixels of 1 mm
    DIR/runs/ce-unet        the training: 24 epochs, 10,440 updates, about an hour and a half on one processor core
    sample_data/models/ce-unet

No slice with an outlined lesion is trained on. The threshold is what 0.1 % of the healthy voxels of three sources
exceed; that share, and the radii and area, were chosen on the parts of the protocol, whose lesion masks were in sight.
Which scans are held back is written in ``research/protocol.py``, and why in ``research/README.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle_model import ROOT, Bundle, ended, make, say
from clean import clean_nichart, clean_soop
from napari_cead.atomic import make_folder, write_text
from napari_cead.cli.console import progress
from napari_cead.phantom import write_cohort
from napari_cead.training import SliceStore, prepare
from napari_cead.zoo import Suggestion
from protocol import CALIBRATING

PHANTOMS, SEED, SHAPE = 60, 1778, (50, 240, 240)
RECIPE: dict[str, Any] = {"size": "small", "image_size": 192, "epochs": 24, "precision": "bf16"}
GRID: dict[str, Any] = {
    "assume_healthy": True,
    "skull_ok": True,
    "min_brain": 0.03,
    "intensity": "volume-tissue",
    "spacing": (1.0, 1.0),
    "image_size": 192,
    "png_spacing": (1.0, 1.0, 1.0),
}
SHAPE_OF_MASKS: dict[str, float | int] = {"closing_radius": 1, "area_fraction": 0.2, "dilation_radius": 0}
QUANTILE = 0.999
"""Radii, area and healthy quantile of the suggestion: chosen by the protocol of ``research/README.md``."""

VALIDATING = 5, 33
"""Phantoms and slices of ``soop_axial`` that are not trained on."""

DESCRIPTION = (
    "A context encoder with skip connections that takes simulated lesions out of FLAIR slices and says where they "
    "were. Trained on {real} lesion-free slices of stroke patients (SOOP, one axial level, OpenNeuro ds004889; Absher "
    "et al. 2024, doi:10.1038/s41597-024-03667-5), on {volumes} volumes of elderly adults (sample data of CBICA's "
    "NiChart, all levels; SBIA/CBICA Software License 1.1), the bright spots of both painted over, and on {phantoms} "
    "synthetic patients. Not trained on lesions, and not a medical device."
)


def make_store(data: Path, work: Path, grid: Mapping[str, Any] = GRID) -> SliceStore:
    """Return the store of the slices to train on; its validation slices also measure what healthy tissue gives."""
    if not (work / "phantoms").exists():
        with progress("phantoms") as on_progress:
            write_cohort(
                work / "phantoms",
                PHANTOMS,
                seed=SEED,
                lesions=0,
                varied=True,
                shape=SHAPE,
                on_progress=on_progress,
            )
    if not (work / "clean").exists():
        say(f"{work / 'clean'}: painting over")
        clean_nichart(data, work / "clean.part")
        clean_soop(data, work / "clean.part")
        (work / "clean.part").rename(work / "clean")
    places = {
        "phantoms": work / "phantoms" / "train",
        "soop": work / "clean" / "soop",
        "nichart": work / "clean" / "nichart",
    }
    phantoms, volumes = (
        sorted(folder.name for folder in places[name].iterdir()) for name in ("phantoms", "nichart")
    )
    slices = sorted(file.stem for file in (places["soop"] / "flair").glob("*.png"))
    few, some = VALIDATING
    drawn = np.random.default_rng(0).choice(slices, some, replace=False)
    validation = [*phantoms[-few:], *sorted(map(str, drawn)), *CALIBRATING]
    train = [name for name in (*phantoms, *slices, *volumes) if name not in validation]
    parts: dict[str, list[str]] = {"train": train, "validation": validation, "test": []}
    split = work / "split.json"
    write_text(split, json.dumps(parts))
    with progress("slices") as on_progress:
        return prepare(
            _folder_of(work / "cohort", **places),
            work / "store",
            split=split,
            on_progress=on_progress,
            **grid,
        )


def _folder_of(folder: Path, **parts: Path) -> Path:
    """Return a folder that holds links to others: one cohort of several."""
    make_folder(folder)
    for name, target in parts.items():
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(target.resolve(), target_is_directory=True)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with soop_axial and nichart")
    parser.add_argument("--work", type=Path, required=True, help="folder of everything that is not kept")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--init-from", help="model to go on from, for instance an earlier ce-unet")
    parser.add_argument("--epochs", type=int, default=RECIPE["epochs"])
    parser.add_argument("--lr", type=float, help="learning rate at the start")
    parser.add_argument("--name", default="ce-unet")
    parser.add_argument("--out", type=Path, default=ROOT / "sample_data" / "models")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    options = parser.parse_args(arguments)
    work = options.work.expanduser().resolve()

    def work_on_it() -> None:
        store = make_store(options.data, work)
        sources = [Path(patient.source).parts for patient in store.patients_of("train")]
        real, volumes = (sum(name in parts for parts in sources) for name in ("soop", "nichart"))
        phantoms = len(sources) - real - volumes
        folder = make(
            Bundle(
                name=options.name,
                model="ce-unet",
                work=work,
                data=store.path,
                out=options.out,
                recipe=RECIPE | {"seed": options.seed, "epochs": options.epochs, "learning_rate": options.lr},
                init_from=options.init_from,
                description=DESCRIPTION.format(real=real, volumes=volumes, phantoms=phantoms),
                device=options.device,
                start=(Suggestion(score="fused", rule="healthy-quantile", params=SHAPE_OF_MASKS),),
                quantile=QUANTILE,
            )
        )
        say(f"{folder}: trained on {real} real slices, {volumes} real volumes and {phantoms} phantoms")

    return ended(work_on_it)


if __name__ == "__main__":
    sys.exit(main())
