"""From what a user asks for to training settings: named sets of them, corruptions, shapes of networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from ..corruption.augmentation import Augmentation
from ..corruption.mixtures import (
    ContextEncoding,
    Corruption,
    CorruptionKind,
    corruption_called,
    corruption_names,
)
from ..errors import ParameterError, why
from ..json_files import FileKind, first_wrong, parse_json, wrong_values
from ..models.networks import find_design
from ..models.specs import ModelSpec, spec
from ..runs.training_settings import (
    FINE_TUNING_EPOCHS,
    FINE_TUNING_RATE,
    TrainingSettings,
    belongs,
    no_use,
)

Preset = Literal["paper", "small"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Paolini, Boracchi, Matteucci: one square per image, 200 epochs, learning rate 1e-4, batches of 64.
    "paper": {
        "size": "paper",
        "epochs": 200,
        "batch_size": 64,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "corruption": ContextEncoding(),
        "augmentation": None,
    },
    # The eight bundled designs: minutes on a processor.
    "small": {
        "size": "small",
        "epochs": 16,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "schedule": "one-cycle",
        "augmentation": Augmentation(scale=0.06, rotation=6, shift=0.02),
    },
}
"""By name: the settings that differ from the defaults. Each family of networks may add some of its own."""

OF_PRESETS = ("size", "epochs")
"""What a design with a recipe of its own takes from a preset."""


def training_settings(
    model: str, *, preset: str | None = None, parent: ModelSpec | None = None, **given: Any
) -> TrainingSettings:
    """Return complete settings: what was given, else the design's or the preset's, else the defaults.

    Args:
        model: One of the named designs.
        preset: ``"paper"``, ``"small"`` or None.
        parent: Spec of the model to start from: its size and image size are taken, a lower learning rate and fewer
            epochs.
        given: Fields of :class:`TrainingSettings`, and ``size`` and ``image_size``; None counts as not given. A
            ``spec`` of one's own stands in place of the design's architecture.

    Raises:
        ParameterError: If the model or preset is unknown, a value out of range, or a setting given that does nothing
            for the design.
    """
    if preset is not None and preset not in get_args(Preset):
        raise ParameterError(
            f"there is no preset called {preset!r}", hint=f"use one of {', '.join(get_args(Preset))}"
        )
    family, named = find_design(model)
    values: dict[str, Any] = {"size": "paper", **PRESETS.get(preset or "", {})}
    values |= family.presets.get(preset or "", {})
    if named.recipe:
        values = {name: value for name, value in values.items() if name in OF_PRESETS} | dict(named.recipe)
        if isinstance(values.get("corruption"), str):
            values["corruption"] = corruption_called(values["corruption"])
    if parent is not None:
        rate = values.get("learning_rate", TrainingSettings.model_fields["learning_rate"].default)
        values |= {
            "size": parent.size,
            "image_size": parent.image_size,
            "learning_rate": rate * FINE_TUNING_RATE,
            "epochs": FINE_TUNING_EPOCHS,
        }
    asked = {name: value for name, value in given.items() if value is not None}
    size, image_size = (asked.pop(name, values.pop(name, None)) for name in ("size", "image_size"))
    architecture = asked.pop("spec", None)
    if architecture is None and parent is not None and parent.name == model and size == parent.size:
        architecture = parent  # its own shape: a name may have stood for another one when it was trained
    if architecture is None:
        architecture = spec(model, size) if image_size is None else spec(model, size, image_size)
    design = TrainingSettings.checked(spec=architecture).spec
    usual = {name: value for name, value in values.items() if belongs(name, design)}
    return TrainingSettings.checked(**{**usual, **asked, "spec": design})


_ANY: TypeAdapter[CorruptionKind] = TypeAdapter(Corruption)


def read_corruption(described: str | None, **fields: Any) -> CorruptionKind | None:
    """Return the corruption described by the user.

    Args:
        described: A kind, the name of a mixture, JSON, or the path of a JSON file; None: squares if there are
            fields, else nothing.
        fields: Fields of squares; None counts as not given.

    Raises:
        ParameterError: If there is no such kind or file, or a value is out of its range.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if given and described not in (None, "squares"):
        raise ParameterError(
            "--max-squares, --squares-inside-brain and --fill describe squares",
            hint="use --corruption squares",
        )
    if given:
        return _checked({"kind": "squares", **given}, None)
    if described is None:
        return None
    if described.lstrip().startswith("{"):
        return _checked(_json(described, "corruption"), None)
    if described in corruption_names():
        return corruption_called(described)
    file = Path(described).expanduser()
    if not file.is_file():
        raise ParameterError(
            f"there is no corruption and no file called {described!r}",
            hint=f"use one of {', '.join(corruption_names())}, or a JSON file",
        )
    values = FileKind("the corruption", ParameterError, 'give JSON like {"kind": "coarse"}').read(file)
    return _checked(values, file)


def read_augmentation(described: str | None) -> Augmentation | None:
    """Return the augmentation that the user described in JSON; None without one.

    Raises:
        ParameterError: If it is not valid JSON, or a value is out of its range.
    """
    if described is None:
        return None
    with wrong_values(ParameterError, "the augmentation", hint="give another value"):
        return Augmentation.model_validate(_json(described, "augmentation"))


def _json(text: str, what: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ParameterError(
            f"the {what} is not valid JSON ({why(error)})", hint="fix it, or leave it out"
        ) from None


def _checked(values: Any, file: Path | None) -> CorruptionKind:
    with wrong_values(ParameterError, "the corruption", file=file, hint="give another value"):
        return _ANY.validate_python(values)


def with_shape(
    spec: ModelSpec, feature_maps: str | None = None, working_size: int | None = None
) -> ModelSpec:
    """Return the spec of a network with other channels or another working size; its size is then ``custom``.

    Args:
        spec: The usual one.
        feature_maps: Channels of each level, with commas; None keeps them.
        working_size: Side in pixels; None keeps it.

    Raises:
        ParameterError: If the network's family cannot be shaped, or it cannot be built like this.
    """
    if feature_maps is None and working_size is None:
        return spec
    for name, value in (("feature_maps", feature_maps), ("working_size", working_size)):
        if value is not None and not belongs(name, spec):
            raise ParameterError(no_use(name, [spec.name]), hint="leave it out")
    try:
        maps = None if feature_maps is None else tuple(int(maps) for maps in feature_maps.split(","))
        changed = spec.network.reshaped(spec, maps, working_size)
        return ModelSpec.model_validate(spec.model_dump() | {"size": "custom"} | changed)
    except ValidationError as error:
        raise ParameterError(first_wrong(error, "the network"), hint="give another value") from None
    except ValueError:
        raise ParameterError(
            f"feature maps are whole numbers with commas, not {feature_maps!r}",
            hint="give them like 16,32,64",
        ) from None
