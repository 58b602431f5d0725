"""The measurement on real scans: from lesion-free slices to eight trained models and the table of their figures.

    python research/real.py --data DATA --out FOLDER

Four stages, one after the other; each leaves out what is already in FOLDER, so that the command can be repeated:

- ``prepare``: the lesion-free slices of ``soop_axial`` into FOLDER/store.
- ``train``: the eight models of the paper into FOLDER/MODEL (some 20 CPU minutes each).
- ``measure``: every score of each of them, of the bundled ``ce-unet`` and of the baselines without a network, on the
  slices with lesions (other patients), on the lesion-free ones, and on the MS patient; counts into FOLDER/measured.
  Models that are not trained yet are left out.
- ``table``: FOLDER/results.json and FOLDER/table.md; with ``--docs PAGE`` the generated blocks of
  that page (``docs/explanation/results-detail.md``) too, and the long table beside it. ``--block baselines`` writes
  the block of the baselines alone, which needs no trained models: those that were not measured have their figures
  from the page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from napari_cead.atomic import write_text
from napari_cead.detection import available_scores
from napari_cead.detection.baselines import BASELINES, INTENSITY
from napari_cead.errors import CeadError, StoreError
from napari_cead.evaluation.measuring import Subject
from napari_cead.store.store import SliceStore
from napari_cead.zoo import CARD_FILE, load_model
from real_data import baselines, figures, healthy, report, scans
from real_data.measuring import measure_model
from real_data.tally import Measured, meta_of
from tables import aside, whole

PLAIN = ("ae", "vae1", "vae2", "vq-vae")
EIGHT = (*PLAIN, *(f"ce-{name}" for name in PLAIN))
BUNDLED = ("ce-unet",)
STAGES = ("prepare", "train", "measure", "table")

TRAINING = ("--preset", "small", "--epochs", "120", "--batch-size", "16", "--seed", "0", "--no-install")
PREPARATION = ("--assume-healthy", "--validation", "0.1", "--test", "0", "--min-brain", "0.05")


def say(text: str) -> None:
    """Say on stderr what was done."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def napari_cead(*arguments: str | Path) -> None:
    """Run the command line; its progress and errors go to stderr."""
    say(f"napari-cead {' '.join(map(str, arguments))}")
    done = subprocess.run([sys.executable, "-m", "napari_cead", *map(str, arguments)], stdout=sys.stderr)
    if done.returncode:
        raise SystemExit(done.returncode)


def prepare(data: Path, out: Path) -> None:
    store = out / "store"
    try:
        SliceStore.open(store)
    except StoreError:  # none, or not complete
        pass
    else:
        say(f"{store}: prepared before")
        return
    napari_cead("prepare", data / "soop_axial" / "lesion_free", "--out", store, *PREPARATION)


def train(out: Path, models: Sequence[str], device: str) -> None:
    for name in models:
        if name not in EIGHT:
            continue
        run = out / name
        if (run / "model" / CARD_FILE).exists():
            say(f"{run}: trained before")
            continue
        again = ("--resume",) if (run / "run.json").exists() else ()
        napari_cead(
            "train", name, "--data", out / "store", "--out", run, *TRAINING, "--device", device, *again
        )


def places(out: Path, models: Sequence[str], extra: Sequence[Path]) -> dict[str, str]:
    """Return where each model lies, by its name in the table; those that are not trained yet are left out."""
    found = {}
    for name in models:
        folder = out / name / "model"
        if name not in EIGHT:
            found[name] = name
        elif (folder / CARD_FILE).exists():
            found[name] = str(folder)
        else:
            say(f"{name}: not trained yet, left out")
    return {**found, **{folder.name: str(folder) for folder in extra}}


def measure(
    data: Path,
    out: Path,
    models: Sequence[str],
    extra: Sequence[Path],
    device: str,
    scores: Sequence[str] | None,
) -> None:
    import torch

    torch.set_num_threads(1)
    begun = time.process_time()
    everyone = scans.load_scans(data)
    say(", ".join(f"{len(part.patients)} {name}" for name, part in everyone.items()))
    for name, baseline in baselines.TITLES.items():
        subject = Subject(name, tuple(baseline.maps), baseline)
        measure_model(subject, everyone, out / "measured" / name, healthy.of_baseline(baseline), say)
    for name, place in places(out, models, extra).items():
        detector = load_model(place, device)
        # Without a network in it, the score of the baseline would be measured again for every model.
        same = detector.card.preprocessing.intensity == BASELINES["threshold"].scaling
        chosen = tuple(
            score for score in available_scores(detector.card) if not (same and score == INTENSITY)
        )
        chosen = tuple(score for score in chosen if scores is None or score in scores)
        subject = Subject(name, chosen, detector)
        (out / "measured" / name).mkdir(parents=True, exist_ok=True)
        write_text(out / "measured" / name / CARD_FILE, detector.card.model_dump_json())
        measure_model(subject, everyone, out / "measured" / name, healthy.of_card(detector.card), say)
    say(f"measure: {time.process_time() - begun:.0f} s of CPU time")


def table_of_baselines(data: Path, out: Path, docs: Path, shown: Sequence[str]) -> None:
    """Write the block of the baselines, beside the bundled model under some scores."""
    base, strict = _base(out), scans.cleaner(data)
    free = [Measured.load(file) for name in baselines.TITLES for file in _files(out / "measured" / name)]
    files = [file for name in BUNDLED for file in _files(out / "measured" / name) if file.stem in shown]
    models = baselines.entries(map(Measured.load, files), base, strict)
    lines = aside(baselines.block(baselines.entries(free, base, strict), models, whole(docs)), docs)
    write_text(docs, baselines.with_block(docs, lines))
    say(f"{docs}: the block of the baselines")


def _base(out: Path) -> Measured:
    score = baselines.TITLES[figures.BASELINE].default
    return Measured.load(out / "measured" / figures.BASELINE / f"{score}.npz")


def table(data: Path, out: Path, docs: Path | None) -> None:
    begun = time.process_time()
    base = _base(out)
    strict = scans.cleaner(data)
    order = (*baselines.TITLES, *EIGHT, *BUNDLED)
    folders = sorted(
        (folder for folder in (out / "measured").iterdir() if folder.is_dir()),
        key=lambda folder: (order.index(folder.name) if folder.name in order else len(order), folder.name),
    )
    rows, differences = [], []
    rows += figures.rows_of(figures.measured_nothing(base), base, strict)
    for folder in folders:
        for file in _files(folder):
            found = Measured.load(file)
            rows += figures.rows_of(found, base, strict)
            twin = folder.parent / folder.name.removeprefix("ce-") / file.name
            if folder.name.startswith("ce-") and meta_of(twin) is not None:
                differences += figures.differences(found, Measured.load(twin))
        say(f"{folder.name}: {time.process_time() - begun:.0f} s of CPU time")
    cards = {
        folder.name: json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        for folder in folders
        if (folder / CARD_FILE).exists()
    }
    results = report.Results(rows, differences, cards, missing=[name for name in EIGHT if name not in cards])
    report.write(results, out, docs)
    say(f"{out / 'table.md'}: {len(rows)} rows, {time.process_time() - begun:.0f} s of CPU time")


def _files(folder: Path) -> list[Path]:
    from napari_cead.detection import SCORES

    of_baselines = (score for baseline in BASELINES.values() for score in baseline.maps)
    names = dict.fromkeys((*SCORES.names, *of_baselines))
    return [file for score in names if meta_of(file := folder / f"{score}.npz") is not None]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with soop_axial and patient26")
    parser.add_argument("--out", type=Path, required=True, help="folder for store, models, counts and tables")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES, help="stages to do")
    parser.add_argument("--models", nargs="+", choices=(*EIGHT, *BUNDLED), default=(*EIGHT, *BUNDLED))
    parser.add_argument(
        "--extra", nargs="+", type=Path, default=(), metavar="FOLDER", help="more model folders"
    )
    parser.add_argument("--scores", nargs="+", help="scores of models to measure; all unless given")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--docs", type=Path, metavar="PAGE", help="page whose generated block is rewritten")
    parser.add_argument(
        "--block", choices=("models", "baselines"), default="models", help="which block of it"
    )
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        if "prepare" in given.only:
            prepare(given.data, given.out)
        if "train" in given.only:
            train(given.out, given.models, given.device)
        if "measure" in given.only:
            measure(given.data, given.out, given.models, given.extra, given.device, given.scores)
        if "table" in given.only and given.block == "baselines":
            if given.docs is None:
                parser.error("--block needs --docs")
            table_of_baselines(given.data, given.out, given.docs, ("residual", "bright-and-changed"))
        elif "table" in given.only:
            table(given.data, given.out, given.docs)
    except CeadError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
