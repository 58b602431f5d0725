"""The recipe of the eight bundled designs: from nothing to eight model folders, their figures and their cards.

python research/train_bundled.py --work DIR

makes, each step only if it has not been done yet:

    DIR/cohort          90 synthetic patients (seed 2027)
    DIR/store           their slices, split by patient with the defaults of ``napari-cead prepare``
    DIR/runs/NAME       a training of each design with ``--preset small``, and its finished model
    DIR/events/NAME.jsonl   what the training said, a line of JSON each
    sample_data/models/NAME   the finished models
    DIR/evaluation      all of them on the test patients, beside the free baselines
    docs/               the models' cards and the table of results (see model_cards.py)

A command that was broken off goes on where it was when it is given again. ``--models a,b`` does some models only,
``--only STEP`` one step, ``--only STEP --again`` repeats one that is done.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import model_cards
from cards.recipe import PATIENTS, PRESET, SEED
from napari_cead.atomic import make_folder
from napari_cead.cli.console import progress
from napari_cead.cli.training_progress import TrainingProgress, graceful
from napari_cead.errors import Cancelled, CeadError, CeadWarning, ModelError, RunError, StoreError
from napari_cead.evaluation import evaluate
from napari_cead.evaluation.finishing import finish
from napari_cead.models.specs import MODEL_NAMES
from napari_cead.patients import find_patients, load_patient
from napari_cead.patients.phantom import make_patient, write_cohort
from napari_cead.training import Hardware, RunFolder, SliceStore, prepare, train
from napari_cead.training.presets import training_settings
from napari_cead.zoo import ModelCard, check_model, export_model, load_card

LARGEST = 5_000_000
"""Most bytes that a bundled model may have."""

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Recipe:
    """Where things lie and what to do.

    Attributes:
        work: Folder of everything that is not kept.
        store: The slice store.
        models: Designs to do.
        out: Folder of the bundled models.
        docs: Folder of the documentation.
        device: Where to compute.
        again: Whether to do what is done already.
    """

    work: Path
    store: Path
    models: tuple[str, ...]
    out: Path
    docs: Path
    device: str
    again: bool

    @property
    def cohort(self) -> Path:
        """Folder of the synthetic patients."""
        return self.work / "cohort"

    @property
    def evaluation(self) -> Path:
        """Folder of the figures."""
        return self.work / "evaluation"

    def run(self, model: str) -> RunFolder:
        """Return the training run of a design."""
        return RunFolder(self.work / "runs" / model)


def make_cohort(recipe: Recipe) -> None:
    """Write the synthetic patients, or check that those which are there come from this recipe."""
    if recipe.cohort.is_dir():
        _check_cohort(recipe.cohort)
        say(f"{recipe.cohort}: {PATIENTS} synthetic patients, done before")
        return
    unfinished = recipe.work / "cohort.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    with progress("patients") as on_progress:
        write_cohort(unfinished, PATIENTS, seed=SEED, on_progress=on_progress)
    unfinished.rename(recipe.cohort)
    say(f"{recipe.cohort}: {PATIENTS} synthetic patients")


def _check_cohort(cohort: Path) -> None:
    found = sorted(find_patients(cohort))
    if len(found) != PATIENTS:
        raise StoreError(
            f"there are {len(found)} patients, not {PATIENTS}", file=cohort, mend="choose another --work"
        )
    mask, expected = load_patient(found[0]).lesion_mask, make_patient(SEED, 1).lesion_mask
    # Other versions of NumPy or SciPy may round a voxel the other way.
    if mask is None or mask.shape != expected.shape or np.mean(mask != expected) > 1e-5:
        raise StoreError(
            f"the patients are not those of seed {SEED}", file=cohort, mend="choose another --work"
        )


def make_store(recipe: Recipe) -> None:
    """Prepare the slices with the defaults."""
    with suppress(StoreError):
        store = SliceStore.open(recipe.store)
        say(f"{recipe.store}: {_parts(store)}, done before")
        return
    with progress("preparing") as on_progress:
        store = prepare(recipe.cohort, recipe.store, on_progress=on_progress)
    say(f"{recipe.store}: {_parts(store)}")


def _parts(store: SliceStore) -> str:
    counts = [f"{len(store.patients_of(part))} {part}" for part in ("train", "validation", "test")]
    return ", ".join(counts) + " patients"


def train_models(recipe: Recipe) -> None:
    """Train each design, or go on with its training."""
    store = SliceStore.open(recipe.store)
    make_folder(recipe.work / "runs")
    for model in recipe.models:
        run = recipe.run(model)
        if is_trained(run):
            say(f"{run.path}: trained before")
            continue
        with TrainingProgress() as listener, graceful(True) as should_stop:
            train(
                training_settings(model, preset=PRESET),
                store,
                run.path,
                resume=run.exists(),
                hardware=Hardware(device=recipe.device),
                events=make_folder(recipe.work / "events") / f"{model}.jsonl",
                on_event=listener,
                should_stop=should_stop,
            )
        say(f"{run.path}: trained")


def is_trained(run: RunFolder) -> bool:
    """Whether a run has a checkpoint of its last epoch."""
    if not run.exists():
        return False
    try:
        checkpoint: dict[str, Any] = json.loads((run.path / "checkpoint.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return int(checkpoint["epoch"]) >= run.plan().settings.epochs


def finish_models(recipe: Recipe) -> None:
    """Write the model folder of each run: weights of its best epoch, calibrated settings, card."""
    store = SliceStore.open(recipe.store)
    for model in recipe.models:
        run = recipe.run(model)
        if not is_trained(run):
            raise RunError("the training has not ended", file=run.path, mend="train it first")
        if changed := run.plan().settings.differences(training_settings(model, preset=PRESET)):
            raise RunError(
                f"it was trained with another {changed[0].replace('_', ' ')} than the recipe has now",
                file=run.path,
                mend="remove this folder and train again",
            )
        words = description(model, store)
        if not recipe.again and _is_finished(finished_card(run), words):
            say(f"{run.model}: finished before")
            continue
        with run.locked(), progress(f"calibrating {model}") as on_progress:
            finish(
                run,
                store,
                name=model,
                description=words,
                half=True,
                device=recipe.device,
                on_progress=on_progress,
            )
        say(f"{run.model}: finished")


def description(model: str, store: SliceStore) -> str:
    """Return the sentence on a model's card."""
    slices, patients = len(store.healthy_rows("train")), len(store.patients_of("train"))
    return (
        f"{model.upper()} (size small) trained on {slices:,} lesion-free FLAIR slices of {patients} phantoms "
        f"(synthetic patients, seed {SEED}); it has never seen a real scan."
    )


def finished_card(run: RunFolder) -> ModelCard | None:
    """Return the card of a run's finished model, if there is a whole one."""
    try:
        return check_model(run.model)
    except ModelError:
        return None


def _is_finished(card: ModelCard | None, words: str) -> bool:
    # The card gets its calibration last: without it, finishing was broken off.
    return card is not None and card.description == words and "calibration" in card.training


def export_models(recipe: Recipe) -> None:
    """Copy the finished models to where they are bundled from."""
    for model in recipe.models:
        run, target = recipe.run(model), recipe.out / model
        card = finished_card(run)
        if card is None or "calibration" not in card.training:
            raise ModelError("there is no finished model", file=run.model, mend="finish it first")
        size = sum(file.stat().st_size for file in run.model.iterdir())
        if size > LARGEST:
            raise ModelError(
                f"the model has {size} bytes, more than the {LARGEST} that a bundled one may have",
                file=run.model,
                mend="make it smaller",
            )
        with suppress(ModelError):
            if load_card(target) == card:
                say(f"{target}: exported before")
                continue
        make_folder(recipe.out)
        export_model(run.model, target)
        say(f"{target}: exported, {size / 1e6:.2f} MB")


def evaluate_models(recipe: Recipe) -> None:
    """Evaluate the exported models on the test patients."""
    folders = [recipe.out / model for model in recipe.models]
    wanted = {load_card(folder).sha256 for folder in folders}
    if not recipe.again and wanted <= _evaluated(recipe.evaluation / "results.json"):
        say(f"{recipe.evaluation}: evaluated before")
        return
    with progress("evaluating") as on_progress:
        evaluate(
            recipe.cohort,
            folders,
            recipe.evaluation,
            split=recipe.store,
            device=recipe.device,
            on_progress=on_progress,
        )
    say(f"{recipe.evaluation}: results.json, results.csv, per_patient.csv, table.md")


def _evaluated(file: Path) -> set[str]:
    try:
        return {model["sha256"] for model in json.loads(file.read_text(encoding="utf-8"))["models"]}
    except (OSError, ValueError, KeyError):
        return set()


def write_cards(recipe: Recipe) -> None:
    """Write the models' cards and the table of results."""
    for file in model_cards.write_cards(recipe.work, recipe.docs, recipe.models, store=recipe.store):
        say(str(file))


STEPS: dict[str, Callable[[Recipe], None]] = {
    "cohort": make_cohort,
    "prepare": make_store,
    "train": train_models,
    "finish": finish_models,
    "export": export_models,
    "evaluate": evaluate_models,
    "cards": write_cards,
}


def say(line: str) -> None:
    print(line, flush=True)


def parse(arguments: Sequence[str] | None = None) -> tuple[Recipe, list[str]]:
    """Return the recipe and the steps to do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of everything that is not kept")
    parser.add_argument("--store", type=Path, help="slice store; DIR/store if left out")
    parser.add_argument("--models", default=",".join(MODEL_NAMES), help="designs, with commas")
    parser.add_argument("--only", choices=list(STEPS), help="do this step alone")
    parser.add_argument("--again", action="store_true", help="repeat finish or evaluate, with --only")
    parser.add_argument("--out", type=Path, default=ROOT / "sample_data" / "models")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    options = parser.parse_args(arguments)
    models = tuple(dict.fromkeys(name for name in options.models.split(",") if name))
    if unknown := sorted(set(models) - set(MODEL_NAMES)):
        parser.error(f"there is no design called {unknown[0]}; use some of {', '.join(MODEL_NAMES)}")
    if options.again and options.only not in ("finish", "evaluate"):
        parser.error("--again goes with --only finish or --only evaluate")
    work = options.work.expanduser().resolve()
    recipe = Recipe(
        work=work,
        store=(options.store or work / "store").expanduser(),
        models=models,
        out=options.out,
        docs=options.docs,
        device=options.device,
        again=options.again,
    )
    return recipe, [options.only] if options.only else list(STEPS)


def ended(work: Callable[[], object]) -> int:
    """Do the work of a tool and return its exit status; what goes wrong is one line on stderr."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("once", CeadWarning)
            work()
    except CeadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Cancelled, KeyboardInterrupt):
        print("stopped; give the same command to go on", file=sys.stderr)
        return 130
    return 0


def main() -> int:
    recipe, steps = parse()

    def work() -> None:
        make_folder(recipe.work)
        for step in steps:
            STEPS[step](recipe)

    return ended(work)


if __name__ == "__main__":
    sys.exit(main())
