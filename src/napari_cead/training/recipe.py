"""A training from its data to the finished model: the one description of all its options.

The command line's options, the file that ``--config`` reads, the rows of the Train dock, and
:func:`~napari_cead.evaluation.making.make_model` are made from :class:`Recipe`. Importing it does not import PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..errors import ParameterError
from ..json_files import wrong_values
from ..options_file import read_options, write_options

if TYPE_CHECKING:
    from ..runs.training_settings import Hardware, TrainingSettings
    from ..zoo import ModelCard


class Recipe(BaseModel):
    """A training from its data to a model. None takes the value of the model, its preset or its base model.

    Each field's description is the help of its option. What stands in braces in it is looked up when the help is shown
    (`filled`): networks and corruptions may come from other packages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str = Field(description="One of {designs}; several with commas, or all (the paper's eight).")
    data: Path = Field(
        description="Slice store; or a folder of patients, which are prepared for the model "
        "(with --init-from: for that one)."
    )
    out: Path = Field(description="Folder of the run (of the runs, for several models).")
    preset: Literal["paper", "small"] | None = Field(
        None,
        description="paper: its settings (of designs with a recipe of their own: full size) and, at the end, its "
        "evaluation; small: the recipe of the eight bundled designs.",
    )
    size: Literal["paper", "small"] | None = Field(None, description="Size of the network (default: paper).")
    init_from: str | None = Field(None, description="Fine-tune this model (name or folder).")
    freeze_encoder: bool = Field(False, title="Keep the encoder", description="Train only the decoder.")
    seed: int | None = Field(None, description="Seed of all random numbers (default: 0).")
    seeds: str | None = Field(
        None,
        description="Train once with each of these seeds (0,1,2) into OUT/NAME.seed0, …, then make their ensemble: the "
        "median of their anomaly maps.",
    )
    folds: Annotated[int, Field(ge=3)] | None = Field(
        None,
        description="Cross-validation: train once for each of this many folds of the patients into OUT/NAME.fold0, …, "
        "and evaluate each patient under the model that did not see it.",
    )
    epochs: int | None = Field(
        None, description="Passes over the slices (default: 200; 20 with --init-from)."
    )
    batch_size: int | None = Field(None, description="Slices per update; default 64{but:batch_size}.")
    lr: float | None = Field(
        None,
        title="Learning rate",
        description="Learning rate; default 1e-4{but:learning_rate}, a fifth of it with --init-from.",
    )
    schedule: str | None = Field(
        None, description="constant, linear or one-cycle; default constant{but:schedule}."
    )
    optimizer: str | None = Field(
        None, description="adam or adamw; default adam, as in the paper{but:optimizer}."
    )
    weight_decay: float | None = Field(
        None, description="Weight decay of adamw; default 0.01{but:weight_decay}."
    )
    augment: bool | None = Field(
        None,
        title="Augmentation",
        description="Flips, small affine moves, brightness (default: on, unless a preset says no).",
    )
    augmentation: str | None = Field(
        None,
        description="Augmentation in JSON, in place of --augment; fields as in docs/reference/python.md.",
    )
    corruption: str | None = Field(
        None,
        description="Corruption that {of:corruption} learn to undo: {corruptions}, JSON, or a JSON file; "
        "default squares{but:corruption}.",
    )
    loss: str | None = Field(
        None, description="For {of:loss}: absolute or squared; default squared{but:loss}."
    )
    bright_limit: float | None = Field(
        None, description="For {of:bright_limit}: ignore spots brighter than this many times the tissue."
    )
    emphasis: float | None = Field(
        None, description="For {of:emphasis}: weight of corrupted pixels; default 1{but:emphasis}."
    )
    small_emphasis: float | None = Field(
        None,
        description="For {of:small_emphasis}: largest extra weight of small corruptions; "
        "default 1{but:small_emphasis}.",
    )
    lesion_weight: float | None = Field(
        None,
        description="For {of:lesion_weight}: weight of marking lesions, relative to the repair; "
        "default 1{but:lesion_weight}.",
    )
    balance: str | None = Field(
        None,
        description="slices: each once per epoch; folders: at random, each folder of patients equally often; "
        "default slices{but:balance}.",
    )
    feature_maps: str | None = Field(
        None, description="For {of:feature_maps}: channels of each level, with commas."
    )
    working_size: int | None = Field(
        None,
        description="For {of:working_size}: side in pixels of the slices inside the network; 0: unchanged.",
    )
    image_size: int | None = Field(
        None, description="Side of the slices in pixels (default: that of DATA, or the model's)."
    )
    max_squares: int | None = Field(
        None,
        title="Squares",
        description="Largest number of squares per image (default: 1, as in the paper).",
    )
    squares_inside_brain: bool = Field(False, description="Keep squares inside the brain's bounding box.")
    fill: str | None = Field(None, description="Content of the squares: uniform (a random value) or zero.")
    beta: float | None = Field(None, description="Weight of a VAE's divergence (default: 1).")
    commitment: float | None = Field(None, description="Weight of a VQ-VAE's commitment (default: 1).")
    codebook: Literal["loss", "ema"] | None = Field(
        None, description="How a VQ-VAE's codebook learns (default: loss)."
    )
    reset_dead_codes: bool = Field(False, description="Move codes that were unused for an epoch.")
    clip: float | None = Field(None, description="Largest norm of the gradient; default no limit{but:clip}.")
    patience: int | None = Field(
        None, description="Stop after this many epochs without a smaller healthy validation loss."
    )
    precision: str | None = Field(None, description="auto (bf16 if the device supports it), 32 or bf16.")
    compile: bool = Field(False, description="Compile the network (torch.compile).")
    resume: bool = Field(False, description="Continue from the last checkpoint in OUT.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    devices: Annotated[int, Field(ge=1)] = Field(1, description="Devices per machine.")
    num_nodes: Annotated[int, Field(ge=1)] = Field(
        1, description="Machines (start them with torchrun or SLURM)."
    )
    strategy: str = Field("auto", description="Strategy of Lightning Fabric: auto, ddp, …")
    slices_on: Literal["auto", "device", "loader"] = Field(
        "auto", description="Keep slices on the device, or read them as needed."
    )
    workers: Annotated[int, Field(ge=0)] = Field(2, description="Reader processes of the loader.")
    checkpoint_minutes: Annotated[float, Field(ge=0.01)] = Field(
        10.0, description="Longest time between two checkpoints."
    )
    events: Path | None = Field(
        None, description="Also append events to this file; OUT/events.jsonl always has them."
    )
    loggers: str | None = Field(
        None,
        description="Logs beside log.csv, with commas: tensorboard, wandb, mlflow (in the run's folder, unless "
        "WANDB_MODE or MLFLOW_TRACKING_URI say otherwise), or none; default tensorboard.",
    )
    name: str | None = Field(None, description="Name of the finished model (default: that of OUT).")
    half: bool = Field(False, description="Store the weights in half precision.")
    keep_checkpoint: bool = Field(
        False, description="Keep the checkpoint of the finished run, to resume it with more epochs."
    )
    no_install: bool = Field(False, description="Leave the model in OUT/model, without installing it.")
    sequence: str | None = Field(
        None, description="Sequence to prepare if DATA is a folder of patients (default: flair)."
    )
    layout: str | None = Field(
        None,
        description="If DATA is a published data set: the name of its layout, or a YAML file "
        "(docs/how-to/data-sets.md); its fixed split is used.",
    )
    assume_healthy: bool = Field(
        False, description="Treat all slices of patients without a lesion mask as healthy."
    )

    @classmethod
    def checked(cls, **values: Any) -> Recipe:
        """Build a recipe from the user's values.

        Raises:
            ParameterError: If there is no such option or a value is out of range, in one sentence.
        """
        with wrong_values(ParameterError, "the training", hint="give another value"):
            return cls(**values)

    def anywhere(self) -> Recipe:
        """Return the recipe with whole paths, for use from any folder."""
        whole: dict[str, Any] = {
            name: path.expanduser().absolute()
            for name in ("data", "out", "events")
            if (path := getattr(self, name)) is not None
        }
        if self.init_from is not None and Path(self.init_from).is_dir():
            whole["init_from"] = str(Path(self.init_from).absolute())
        if self.layout is not None and Path(self.layout).is_file():
            whole["layout"] = str(Path(self.layout).absolute())
        return self.model_copy(update=whole)

    def words(self) -> list[str]:
        """Return the recipe as words of a command: what differs from the defaults."""
        words = [self.model]
        for name, field in type(self).model_fields.items():
            value, flag = getattr(self, name), name.replace("_", "-")
            if name != "model" and value != field.default and value is not None:
                flag = f"--no-{flag}" if value is False else f"--{flag}"
                words += [flag] if isinstance(value, bool) else [flag, _text(value)]
        return words

    def written(self) -> str:
        """Return the recipe as a commented file for ``train --config``."""
        fields = type(self).model_fields
        return write_options(
            "train",
            (
                (name, fields[name].description or "", getattr(self, name))
                for name in fields
                if name != "resume"
            ),
        )

    @property
    def hardware(self) -> Hardware:
        """The hardware to run on."""
        from ..runs.training_settings import Hardware

        same = {each.name: getattr(self, each.name) for each in fields(Hardware) if each.name != "data"}
        return Hardware(data=self.slices_on, **same)

    def given(self) -> dict[str, Any]:
        """Return the settings in the recipe, by their names in :class:`TrainingSettings`; None: not given."""
        from ..runs.training_settings import TrainingSettings
        from .presets import read_augmentation, read_corruption

        if self.augment is False and self.augmentation is not None:
            raise ParameterError(
                "--augmentation does nothing with --no-augment", hint="leave one of them out"
            )
        names = ("size", "image_size", "feature_maps", "working_size", *TrainingSettings.model_fields)
        corruption = read_corruption(
            self.corruption,
            squares=None if self.max_squares is None else (1, self.max_squares),
            inside_brain=self.squares_inside_brain or None,
            fill=self.fill,
        )
        return {name: getattr(self, name) for name in names if name in type(self).model_fields} | {
            "learning_rate": self.lr,
            "corruption": corruption,
            "augmentation": read_augmentation(self.augmentation),
            "codebook_decay": EMA if self.codebook == "ema" else None,
            "reset_dead_codes": self.reset_dead_codes or None,
            "freeze_encoder": self.freeze_encoder or None,
        }

    def settings(
        self,
        base: ModelCard | None = None,
        usual_size: int | None = None,
        given: dict[str, Any] | None = None,
    ) -> TrainingSettings:
        """Return complete settings; missing values come from the resumed run or the base model.

        Args:
            base: Card of the model to fine-tune.
            usual_size: Default side of the slices.
            given: The result of :meth:`given`, or the part of it that applies to the design.

        Raises:
            ParameterError: If a value is out of range or does not apply to the design.
        """
        from ..models.specs import spec
        from ..runs.run_folder import RunFolder
        from ..runs.training_settings import TrainingSettings
        from .presets import training_settings, with_shape

        changes = {
            name: value
            for name, value in (self.given() if given is None else given).items()
            if value is not None
        }
        shape = {name: changes.pop(name) for name in ("feature_maps", "working_size") if name in changes}
        if self.resume and RunFolder(self.out).exists():
            before = RunFolder(self.out).plan().current
            size = changes.pop("size", before.spec.size)
            image_size = changes.pop("image_size", before.spec.image_size)
            architecture = before.spec
            if (self.model, size, image_size) != (
                architecture.name,
                architecture.size,
                architecture.image_size,
            ):
                architecture = spec(self.model, size if size != "custom" else "paper", image_size)
            architecture = with_shape(architecture, **shape)
            settings = TrainingSettings.checked(**{**dict(before), **changes, "spec": architecture})
        else:
            parent = None if base is None else base.spec
            if parent is None and usual_size is not None:
                changes.setdefault("image_size", usual_size)
            settings = training_settings(self.model, preset=self.preset, parent=parent, **changes)
            settings = settings.model_copy(update={"spec": with_shape(settings.spec, **shape)})
        if self.augment is False:
            settings = settings.model_copy(update={"augmentation": None})
        elif self.augment and settings.augmentation is None:
            usual = TrainingSettings.model_fields["augmentation"].default
            settings = settings.model_copy(update={"augmentation": usual})
        if self.codebook == "loss":
            settings = settings.model_copy(update={"codebook_decay": None})
        return settings

    def resolved(self, settings: TrainingSettings) -> Recipe:
        """Return the recipe with every setting written out, so that another version's defaults change nothing."""
        from ..runs.training_settings import belongs

        values: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            if not belongs(SETTINGS.get(name, name), settings.spec):  # given for other models of the same job
                values[name] = field.default
            elif name == "lr" or hasattr(settings, name):
                values[name] = getattr(settings, "learning_rate" if name == "lr" else name)
        if self.seeds is not None:
            values["seed"] = None
        augmentation = settings.augmentation
        corrupts = settings.spec.corrupts
        values |= {
            "corruption": settings.corruption.model_dump_json() if corrupts else None,
            "max_squares": None,
            "squares_inside_brain": False,
            "fill": None,
            "augment": augmentation is not None,
            "augmentation": None if augmentation is None else augmentation.model_dump_json(),
            "image_size": settings.spec.image_size,
        }
        if settings.spec.size in ("paper", "small"):
            values["size"] = settings.spec.size
        if belongs("codebook_decay", settings.spec):
            values["codebook"] = "loss" if settings.codebook_decay is None else "ema"
        return self.model_copy(update=values)


def read_recipe(file: Path) -> Recipe:
    """Read a file of options for ``train``.

    Raises:
        ParameterError: If it cannot be read, or holds anything else.
    """
    names = [name for name in Recipe.model_fields if name != "resume"]
    return Recipe.checked(**read_options(file, names))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def agreed(recipe: Recipe, runs: Iterable[Recipe]) -> Recipe:
    """Return the recipe of a job with the values that all its runs have; what differs is left to each model.

    Args:
        recipe: As it was given.
        runs: The complete recipes of the runs. A value that a model has no use for is not counted.
    """
    every, found = list(runs), dict[str, Any]()
    for name, field in Recipe.model_fields.items():
        values = {getattr(run, name) for run in every} - {field.default}
        if len(values) < 2:
            found[name] = values.pop() if values else field.default
    own = {"model", "out", "name", "seeds", "folds"} | ({"seed"} if recipe.seeds is not None else set())
    if "corruption" not in found:
        own |= {name for name, setting in SETTINGS.items() if setting == "corruption"}
    return recipe.model_copy(update={name: value for name, value in found.items() if name not in own})


SETTINGS = {
    "max_squares": "corruption",
    "squares_inside_brain": "corruption",
    "fill": "corruption",
    "codebook": "codebook_decay",
    "lr": "learning_rate",
}
"""Options whose setting has another name."""

EMA = 0.99
"""Decay of a codebook that follows moving averages."""


def _designs(_: str) -> str:
    from ..models import design_names

    return ", ".join(design_names())


def _corruptions(_: str) -> str:
    from ..corruption.mixtures import corruption_names

    return ", ".join(corruption_names())


def _owners(setting: str) -> str:
    from ..runs.training_settings import listed, owners

    return listed(owners(setting))


def _recipes(setting: str) -> str:
    """Return what the recipes of designs say, in brackets: " (dae: 16, ce-unet: 8)"."""
    from ..models.networks import all_designs

    found = {
        name: design.recipe[setting]
        for name, (_, design) in all_designs().items()
        if setting in design.recipe
    }
    words = (
        f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in found.items()
    )
    return f" ({', '.join(words)})" if found else ""


WORDS: Mapping[str, Callable[[str], str]] = {
    "designs": _designs,
    "corruptions": _corruptions,
    "of": _owners,
    "but": _recipes,
}
"""By placeholder: ``{designs}``, ``{corruptions}``, ``{of:SETTING}`` (the designs that have a use for a setting), and
``{but:SETTING}`` (where a design's recipe has another default)."""


def filled(text: str) -> str:
    """Return a help text with its placeholders filled in."""
    return re.sub(
        rf"\{{({'|'.join(WORDS)})(?::(\w+))?\}}", lambda match: WORDS[match[1]](match[2] or ""), text
    )
