"""A ``ce-unet`` from nothing, on the data of the bundled one, the default model of Explore: one command.

python tools/bundle_ce_unet.py --data ../shared/data --work DIR [--seed 0]

makes, each step only if it has not been done yet:

    DIR/phantoms            100 lesion-free synthetic patients, 3 mm x 1.5 mm x 1.5 mm
    DIR/store               their slices and those of soop_axial/lesion_free, 128 x 128 pixels of 1.5 mm
    DIR/calibration         the same validation slices, and 109 patients of soop_axial/lesion for the thresholds
    DIR/runs/ce-unet        the training: 18 epochs, 9,468 updates, about half an hour on one processor core
    sample_data/models/ce-unet

The bundled one was trained on from an earlier model: see ``docs/models/ce-unet.md``. No slice with an outlined lesion
is trained on. The 109 are ``validation_names`` of ``benchmarks/real_data``: the other 435 lesion patients are for the
figures in ``docs/results.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle_model import Bundle, make
from train_bundled import ROOT, ended, say

from napari_cead.atomic import make_folder, write_text
from napari_cead.cli.console import progress
from napari_cead.patients.phantom import write_cohort
from napari_cead.training import SliceStore, prepare

sys.path.insert(0, str(ROOT / "benchmarks"))
from real_data.scans import validation_names

PHANTOMS, SEED, SHAPE = 100, 778, (50, 160, 160)
RECIPE: dict[str, Any] = {"size": "small", "image_size": 128, "epochs": 18, "precision": "bf16"}
GRID: dict[str, Any] = {
    "assume_healthy": True,
    "min_brain": 0.03,
    "intensity": "volume-tissue",
    "spacing": (1.5, 1.5),
    "image_size": 128,
}
DESCRIPTION = (
    "A context encoder with skip connections that takes simulated lesions out of FLAIR slices. Trained on {real} "
    "lesion-free slices of stroke patients (SOOP, one axial level, OpenNeuro ds004889; Absher et al. 2024, "
    "doi:10.1038/s41597-024-03667-5) and on lesion-free slices of {phantoms} synthetic patients at all levels. Not "
    "trained on lesions, and not a medical device: bright tissue that nobody outlined in the training slices may be "
    "taken for normal or not."
)


def make_stores(data: Path, work: Path) -> tuple[SliceStore, SliceStore]:
    """Return the store to train on and the one that chooses thresholds."""
    soop = data / "soop_axial"
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
    healthy = _folder_of(work / "cohort", phantoms=work / "phantoms" / "train", soop=soop / "lesion_free")
    with progress("slices") as on_progress:
        store = prepare(healthy, work / "store", validation=0.1, test=0, on_progress=on_progress, **GRID)
    parts = {name: [patient.name for patient in store.patients_of(name)] for name in ("train", "validation")}
    lesions = sorted(file.stem for file in (soop / "lesion" / "flair").glob("*.png"))
    parts["validation"] += validation_names(lesions)
    parts["test"] = sorted(set(lesions) - set(parts["validation"]))
    split = work / "split.json"
    write_text(split, json.dumps(parts))
    every = _folder_of(
        work / "all", phantoms=work / "phantoms" / "train", free=soop / "lesion_free", lesion=soop / "lesion"
    )
    with progress("slices for thresholds") as on_progress:
        others = prepare(every, work / "calibration", split=split, on_progress=on_progress, **GRID)
    return store, others


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
    parser.add_argument("--data", type=Path, required=True, help="folder with soop_axial")
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
        store, others = make_stores(options.data, work)
        real = sum("soop" in Path(patient.source).parts for patient in store.patients_of("train"))
        phantoms = len(store.patients_of("train")) - real
        folder = make(
            Bundle(
                name=options.name,
                model="ce-unet",
                work=work,
                data=store.path,
                out=options.out,
                recipe=RECIPE | {"seed": options.seed, "epochs": options.epochs, "learning_rate": options.lr},
                init_from=options.init_from,
                description=DESCRIPTION.format(real=real, phantoms=phantoms),
                device=options.device,
                calibrate_on=others.path,
            )
        )
        say(f"{folder}: trained on {real} real slices and {phantoms} phantoms")

    return ended(work_on_it)


if __name__ == "__main__":
    sys.exit(main())
