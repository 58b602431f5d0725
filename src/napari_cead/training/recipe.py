"""What a training is asked to do, from data to finished model: the one description of all its options.

The command line's options, the file that ``--config`` reads, and :func:`~napari_cead.evaluation.making.make_model` are
made from :class:`Recipe`. Reading it imports no PyTorch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ParameterError
from ..json_files import first_wrong

if TYPE_CHECKING:
    from ..zoo import ModelCard
    from .settings import Hardware, TrainingSettings


def _basic(description: str, **more: Any) -> Any:
    """Return a field that the short help shows."""
    return Field(description=description, json_schema_extra={"basic": True}, **more)


class Recipe(BaseModel):
    """A training from its data to a model. None stands for what the model, its preset or its base model has.

    Each field's description is the help of its option.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str = _basic(
        "One of the paper's eight designs, dae or ce-unet; several with commas, or all (the paper's)."
    )
    data: Path = _basic(
        "Slice store; or a folder of patients, which are prepared as the model (with --init-from: that one) wants them."
    )
    out: Path = _basic("Folder of the run (of the runs, for several models).")
    preset: Literal["paper", "small"] | None = _basic(
        "paper: its settings (of dae and ce-unet: full size) and, at the end, its evaluation; small: the recipe of the "
        "eight bundled designs.",
        default=None,
    )
    size: Literal["paper", "small"] | None = _basic("Size of the network; paper if left out.", default=None)
    init_from: str | None = _basic("Fine-tune this model (name or folder).", default=None)
    freeze_encoder: bool = Field(False, description="Train the decoder alone.")
    seed: int | None = _basic("Of everything random; 0 if left out.", default=None)
    epochs: int | None = _basic("Passes over the slices; 200 if left out.", default=None)
    batch_size: int | None = _basic("Slices per update; 64 if left out (dae: 16, ce-unet: 8).", default=None)
    lr: float | None = _basic(
        "Learning rate; 1e-4 if left out (dae: 1e-3, ce-unet: 1.5e-3), a fifth of it with --init-from.",
        default=None,
    )
    schedule: str | None = Field(None, description="constant, linear or one-cycle.")
    optimizer: str | None = Field(None, description="adam (the paper) or adamw (dae, ce-unet).")
    weight_decay: float | None = Field(None, description="Of adamw; 0.01 (ce-unet: 0.001) if left out.")
    augment: bool | None = Field(
        None, description="Flips, small affine moves, brightness; on unless a preset says no."
    )
    augmentation: str | None = Field(
        None, description="What is varied, in JSON, in place of --augment: its fields as in docs/training.md."
    )
    corruption: str | None = Field(
        None,
        description="What ce- models (squares), dae (coarse) and ce-unet (lesions of all sizes) learn to undo if this "
        "is left out; or squares, gaussian, coarse, smooth, patches, lesions, realistic, JSON, or a JSON file.",
    )
    loss: str | None = Field(None, description="Of dae and ce-unet: absolute or squared.")
    bright_limit: float | None = Field(
        None, description="Of dae and ce-unet: brighter spots than so many times the tissue do not count."
    )
    emphasis: float | None = Field(
        None, description="Of dae and ce-unet: weight of corrupted pixels; 1 (ce-unet: 5) if left out."
    )
    small_emphasis: float | None = Field(
        None,
        description="Of dae and ce-unet: largest further weight of small corruptions; 1 (ce-unet: 5) if left out.",
    )
    lesion_weight: float | None = Field(
        None, description="Of ce-unet: weight of where lesions are beside the repair; 0.1 if left out."
    )
    balance: str | None = Field(
        None,
        description="slices: each once an epoch; folders: at random, each folder of patients equally often (ce-unet).",
    )
    feature_maps: str | None = Field(
        None, description="Of dae and ce-unet: channels of each level, with commas."
    )
    working_size: int | None = Field(
        None, description="Of dae and ce-unet: side in pixels to which slices are reduced inside; 0: never."
    )
    image_size: int | None = Field(
        None, description="Side of the slices in pixels; that of DATA, or what the model wants, if left out."
    )
    max_squares: int | None = Field(None, description="Most squares in an image; 1 if left out (the paper).")
    squares_inside_brain: bool = Field(False, description="Keep squares inside the brain's bounding box.")
    fill: str | None = Field(None, description="What squares hold: uniform (a random value) or zero.")
    beta: float | None = Field(None, description="Weight of a VAE's divergence; 1 if left out.")
    commitment: float | None = Field(None, description="Weight of a VQ-VAE's commitment; 1 if left out.")
    codebook: Literal["loss", "ema"] | None = Field(
        None, description="How a VQ-VAE's codebook learns; loss if left out."
    )
    reset_dead_codes: bool = Field(False, description="Move codes that an epoch did not use.")
    clip: float | None = Field(
        None, description="Largest norm of the gradient; any (ce-unet: 1) if left out."
    )
    patience: int | None = Field(
        None, description="Stop after so many epochs without a smaller healthy validation loss."
    )
    precision: str | None = Field(None, description="auto (bf16 where the device has it), 32 or bf16.")
    compile: bool = Field(False, description="Compile the network (torch.compile).")
    resume: bool = _basic("Go on from the last checkpoint in OUT.", default=False)
    device: str = _basic("auto, cpu, cuda, cuda:N or mps.", default="auto")
    devices: Annotated[int, Field(ge=1)] = Field(1, description="Devices per machine.")
    num_nodes: Annotated[int, Field(ge=1)] = Field(
        1, description="Machines (start them with torchrun or SLURM)."
    )
    strategy: str = Field("auto", description="Strategy of Lightning Fabric: auto, ddp, …")
    slices_on: Literal["auto", "device", "loader"] = Field(
        "auto", description="Where slices lie: on the device, or read as needed."
    )
    workers: Annotated[int, Field(ge=0)] = Field(2, description="Reading processes of the loader.")
    checkpoint_minutes: Annotated[float, Field(ge=0.01)] = Field(
        10.0, description="Longest time between two checkpoints."
    )
    events: Path | None = Field(
        None, description="Append what happens to this file, too; OUT/events.jsonl always has it."
    )
    name: str | None = _basic("Name of the finished model; that of OUT if left out.", default=None)
    half: bool = Field(False, description="Store the weights in half precision.")
    no_install: bool = Field(False, description="Leave the model in OUT/model, out of the list of models.")
    sequence: str | None = _basic(
        "Sequence to prepare, if DATA is a folder of patients; flair if left out.", default=None
    )
    assume_healthy: bool = _basic(
        "Take all slices of patients without a lesion mask as healthy.", default=False
    )

    @classmethod
    def checked(cls, **values: Any) -> Recipe:
        """Build a recipe from what a user gave.

        Raises:
            ParameterError: If there is no such option or a value is out of range, in one sentence.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise ParameterError(first_wrong(error, "the training"), mend="give another value") from None

    @property
    def hardware(self) -> Hardware:
        """Where to compute."""
        from .settings import Hardware

        return Hardware(
            self.device,
            self.devices,
            self.num_nodes,
            self.strategy,
            self.compile,
            self.slices_on,
            self.workers,
            self.checkpoint_minutes,
        )

    def given(self) -> dict[str, Any]:
        """Return the settings that the recipe gives, by their names in :class:`TrainingSettings`; None: not given."""
        from .described import read_augmentation, read_corruption

        if self.augment is False and self.augmentation is not None:
            raise ParameterError(
                "--augmentation does nothing with --no-augment", mend="leave one of them out"
            )
        same = (
            *("size", "seed", "epochs", "batch_size", "schedule", "optimizer", "weight_decay", "loss"),
            *("bright_limit", "emphasis", "small_emphasis", "lesion_weight", "balance", "feature_maps"),
            *("working_size", "image_size", "beta", "commitment", "clip", "patience", "precision"),
        )
        corruption = read_corruption(
            self.corruption,
            squares=None if self.max_squares is None else (1, self.max_squares),
            inside_brain=self.squares_inside_brain or None,
            fill=self.fill,
        )
        return {name: getattr(self, name) for name in same} | {
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
        """Return complete settings; what is not given is as in the run that is resumed, or in the base model.

        Args:
            base: Card of the model to fine-tune.
            usual_size: Side of the slices where nobody says it.
            given: What :meth:`given` returns, or the part of it that the design has a use for.

        Raises:
            ParameterError: If a value is out of range or does nothing for the design.
        """
        from ..models.specs import spec
        from .described import with_shape
        from .presets import training_settings
        from .runs import RunFolder
        from .settings import TrainingSettings

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
        from .belonging import belongs

        values = {
            name: getattr(settings, "learning_rate" if name == "lr" else name)
            for name in type(self).model_fields
            if (name == "lr" or hasattr(settings, name)) and belongs(name, settings.spec)
        }
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


EMA = 0.99
"""Decay of a codebook that follows moving averages."""
