"""One bundled model: trained with a recipe, calibrated, and copied to where models are bundled from.

python research/bundle_model.py --work DIR --data STORE --model dae --recipe RECIPE.json

makes, each step only if it has not been done yet:

    DIR/runs/NAME             the training, which goes on where it was broken off
    DIR/runs/NAME/model       the finished model: best epoch, scales of the scores, suggested settings
    sample_data/models/NAME   the same, bundled

STORE is a slice store of ``napari-cead prepare``; real slices and phantoms are mixed by preparing a folder that holds
both. The recipe is JSON: fields of ``TrainingSettings`` beside ``size`` and ``image_size``, for instance

    {"size": "small", "epochs": 40, "corruption": {"kind": "coarse", "sigma": 0.25}, "clip": 1.0}

What it leaves out is as the design has it. The default model of Explore is ``DEFAULT_MODEL`` in
``src/napari_cead/exploring/session.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_cead.atomic import make_folder
from napari_cead.calibration.finishing import finish
from napari_cead.cli.console import progress
from napari_cead.cli.training_progress import TrainingProgress, graceful
from napari_cead.errors import Cancelled, CeadError, CeadWarning, ModelError, ParameterError, RunError
from napari_cead.models.specs import DESIGN_NAMES
from napari_cead.training import Hardware, RunFolder, SliceStore, TrainingSettings, train
from napari_cead.training.presets import training_settings
from napari_cead.zoo import (
    ModelCard,
    Suggestion,
    check_model,
    check_name,
    export_model,
    find_models,
    load_card,
)

ROOT = Path(__file__).resolve().parents[1]

LARGEST = 8_000_000
"""Most bytes that a bundled model may have."""


@dataclass(frozen=True)
class Bundle:
    """What to make.

    Attributes:
        name: Name of the model.
        model: Its design.
        work: Folder of everything that is not kept.
        data: The slice store.
        out: Folder of the bundled models.
        recipe: What differs from the design's settings.
        description: Sentence on the card; None: one made from the run.
        device: Where to compute.
        half: Whether to store the weights in half precision.
        calibrate_on: The store that chooses settings; None: that of the training.
        init_from: Model whose weights the training starts from; None: random ones.
        start: Settings whose score, radii and areas stay, so that thresholds alone are chosen.
        quantile: Share of the healthy voxels below the suggested threshold; None: the usual one.
    """

    name: str
    model: str
    work: Path
    data: Path
    out: Path
    recipe: dict[str, Any] = field(default_factory=dict)
    description: str | None = None
    device: str = "auto"
    half: bool = True
    calibrate_on: Path | None = None
    init_from: str | None = None
    start: tuple[Suggestion, ...] = ()
    quantile: float | None = None

    @property
    def run(self) -> RunFolder:
        """The training."""
        return RunFolder(self.work / "runs" / self.name)

    @property
    def settings(self) -> TrainingSettings:
        """What is trained."""
        preset = None if "size" in self.recipe else "small"
        if self.init_from is None:
            return training_settings(self.model, preset=preset, **self.recipe)
        place = find_models().get(self.init_from, Path(self.init_from))
        recipe = {name: value for name, value in self.recipe.items() if name not in ("size", "image_size")}
        return training_settings(self.model, preset="small", parent=load_card(place).spec, **recipe)


def make(bundle: Bundle) -> Path:
    """Train, finish and bundle a model; return its folder among the bundled ones.

    Raises:
        CeadError: If the recipe is not possible, the run there is one of another recipe, or the model is too large.
    """
    settings, store, run = bundle.settings, SliceStore.open(bundle.data), bundle.run
    if run.exists() and (changed := run.plan().settings.differences(settings)):
        raise RunError(
            f"the training here has another {changed[0].replace('_', ' ')} than the recipe",
            file=run.path,
            hint="remove this folder, or choose another --name",
        )
    if is_trained(run):
        say(f"{run.path}: trained before")
    else:
        make_folder(run.path.parent)
        with TrainingProgress() as listener, graceful(True) as should_stop:
            train(
                settings,
                store,
                run.path,
                init_from=bundle.init_from,
                resume=run.exists(),
                hardware=Hardware(device=bundle.device),
                on_event=listener,
                should_stop=should_stop,
            )
        say(f"{run.path}: trained")
    card = finished_card(run)
    if card is None or "calibration" not in card.training:
        with run.locked(), progress("calibrating") as on_progress:
            finish(
                run,
                store,
                name=bundle.name,
                description=bundle.description,
                half=bundle.half,
                device=bundle.device,
                calibrate_on=bundle.calibrate_on,
                start=bundle.start,
                quantile=bundle.quantile,
                on_progress=on_progress,
            )
        say(f"{run.model}: finished")
    size = sum(file.stat().st_size for file in run.model.iterdir())
    if size > LARGEST:
        raise ModelError(
            f"the model has {size} bytes, more than the {LARGEST} that a bundled one may have",
            file=run.model,
            hint="make it smaller",
        )
    make_folder(bundle.out)
    export_model(run.model, bundle.out / bundle.name)
    say(f"{bundle.out / bundle.name}: bundled, {size / 1e6:.2f} MB")
    return bundle.out / bundle.name


def is_trained(run: RunFolder) -> bool:
    """Whether a run has a checkpoint of its last epoch."""
    if not run.exists():
        return False
    try:
        checkpoint: dict[str, Any] = json.loads((run.path / "checkpoint.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return int(checkpoint["epoch"]) >= run.plan().settings.epochs


def finished_card(run: RunFolder) -> ModelCard | None:
    """Return the card of a run's finished model, if there is a whole one."""
    try:
        return check_model(run.model)
    except ModelError:
        return None


def say(line: str) -> None:
    print(line, flush=True)


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


def read_recipe(file: Path | None) -> dict[str, Any]:
    """Return what a recipe says, empty without one.

    Raises:
        ParameterError: If it cannot be read, or is not a JSON object.
    """
    if file is None:
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParameterError(f"the recipe cannot be read ({error})", file=file, hint="give JSON") from error
    if not isinstance(values, dict):
        raise ParameterError(
            "the recipe is not a JSON object", file=file, hint='give JSON like {"epochs": 40}'
        )
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of everything that is not kept")
    parser.add_argument("--data", type=Path, required=True, help="slice store")
    parser.add_argument("--model", choices=DESIGN_NAMES, default="dae", help="design")
    parser.add_argument("--name", help="name of the model; that of the design if left out")
    parser.add_argument("--recipe", type=Path, help="JSON file of settings")
    parser.add_argument("--description", help="sentence on the card")
    parser.add_argument("--out", type=Path, default=ROOT / "sample_data" / "models")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument(
        "--calibrate-on", type=Path, help="slice store that chooses settings; STORE if left out"
    )
    parser.add_argument("--init-from", help="model to start from; its shape is taken")
    parser.add_argument("--single", action="store_true", help="store the weights in single precision")
    options = parser.parse_args(arguments)

    def work_on_it() -> None:
        bundle = Bundle(
            name=check_name(options.name or options.model),
            model=options.model,
            work=options.work.expanduser().resolve(),
            data=options.data.expanduser(),
            out=options.out,
            recipe=read_recipe(options.recipe),
            description=options.description,
            device=options.device,
            half=not options.single,
            calibrate_on=options.calibrate_on,
            init_from=options.init_from,
        )
        make(bundle)

    return ended(work_on_it)


if __name__ == "__main__":
    sys.exit(main())
