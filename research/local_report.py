"""What fine-tuning on local healthy scans does to the detection of lesions: before and after, as it is.

python research/local_report.py DATA --out DIR [--model ce-vae1] [--epochs 5] [--device auto] [--names FILE]

DATA holds ``lesion_free`` (healthy scans) and ``lesion`` (others, with lesion masks); no name may be in both. The
healthy scans are split into training and validation, all others are test patients: nothing is ever chosen on them,
but by rule `oracle`, which says so. Every step is a command of the program, which is printed:

    DIR/split.json, DIR/store     the split, and the slices on the model grid
    DIR/run                       the fine-tuned model
    DIR/before_after.json         both models on the healthy validation slices
    DIR/evaluation                both on the test patients, beside all baselines without a network; `healthy-quantile`
                                  is chosen on the validation slices for all of them
    DIR/evaluation-own            the same with the settings that each model brings along
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from napari_cead import cli
from napari_cead.atomic import to_json, write_text
from napari_cead.patients import find_patients
from napari_cead.zoo import find_model, load_card

HEALTHY, LESIONS = "lesion_free", "lesion"
VALIDATION = 0.15


def split(
    healthy: Iterable[str], lesions: Iterable[str], *, only: set[str] | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Return the names of the patients of each part.

    Args:
        healthy: Names of the healthy scans.
        lesions: Names of the scans with lesions.
        only: The healthy scans to use; None: all.
        seed: Of the split of the healthy ones.

    Raises:
        ValueError: If a name is in both, or there are fewer than two healthy scans.
    """
    calm, others = sorted(set(healthy)), sorted(set(lesions))
    if set(calm) & set(others):
        raise ValueError(f"{(set(calm) & set(others)).pop()} is in {HEALTHY} and in {LESIONS}")
    calm = [name for name in calm if only is None or name in only]
    if len(calm) < 2:
        raise ValueError("there have to be two healthy scans: one to train on, one to validate on")
    random.Random(seed).shuffle(calm)
    count = max(1, round(VALIDATION * len(calm)))
    return {"train": sorted(calm[count:]), "validation": sorted(calm[:count]), "test": others}


def names_in(folder: Path) -> list[str]:
    return [place.stem if place.is_file() else place.name for place in find_patients(folder)]


def call(*arguments: str | Path) -> str:
    """Run a command of the program and return what it printed."""
    words = [str(argument) for argument in arguments]
    print("$ napari-cead", shlex.join(words), flush=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = cli.run(words)
    if status:
        sys.exit(status)
    return printed.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="ce-vae1")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--names", type=Path, help="the healthy scans to use, a name a line")
    given = parser.parse_args()

    data, out = given.data.resolve(), given.out
    out.mkdir(parents=True, exist_ok=True)
    only = None if given.names is None else set(given.names.read_text(encoding="utf-8").split())
    parts = split(names_in(data / HEALTHY), names_in(data / LESIONS), only=only)
    write_text(out / "split.json", to_json(parts))
    print({part: len(names) for part, names in parts.items()}, flush=True)

    size = load_card(find_model(given.model)).spec.size
    device = ("--device", given.device)
    store, run = out / "store", out / "run"
    model = run / "model"
    call("prepare", data, "--out", store, "--assume-healthy", "--split", out / "split.json")
    training = ("--epochs", str(given.epochs), "--size", size, "--init-from", given.model, "--resume")
    name = ("--name", f"{given.model}-local", "--no-install")
    call("train", given.model, "--data", store, "--out", run, *training, *name, *device)
    write_text(
        out / "before_after.json",
        call("models", "compare", given.model, model, "--data", store, "--json", *device),
    )
    print(json.loads((out / "before_after.json").read_text(encoding="utf-8"))["verdict"], flush=True)
    both = ("--models", f"{given.model},{model}")
    print(call("evaluate", data, "--split", store, *both, "--out", out / "evaluation", *device))
    print(call("evaluate", data / LESIONS, *both, "--out", out / "evaluation-own", *device))


if __name__ == "__main__":
    main()
