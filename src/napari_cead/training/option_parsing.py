"""Parsing of corruptions and network shapes from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..corruption.augmentation import Augmentation
from ..corruption.mixtures import Corruption, CorruptionKind, corruption_called, corruption_names
from ..errors import ParameterError, why
from ..json_files import first_wrong, parse_json, read_json
from ..models.specs import ModelSpec
from ..runs.belonging import belongs, no_use

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
    try:
        values = read_json(file)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"this is not a corruption in JSON ({why(error)})",
            file=file,
            hint='give JSON like {"kind": "coarse"}',
        ) from None
    return _checked(values, file)


def read_augmentation(described: str | None) -> Augmentation | None:
    """Return the augmentation that the user described in JSON; None without one.

    Raises:
        ParameterError: If it is not valid JSON, or a value is out of its range.
    """
    if described is None:
        return None
    try:
        return Augmentation.model_validate(_json(described, "augmentation"))
    except ValidationError as error:
        raise ParameterError(first_wrong(error, "the augmentation"), hint="give another value") from None


def _json(text: str, what: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ParameterError(
            f"the {what} is not valid JSON ({why(error)})", hint="fix it, or leave it out"
        ) from None


def _checked(values: Any, file: Path | None) -> CorruptionKind:
    try:
        return _ANY.validate_python(values)
    except ValidationError as error:
        raise ParameterError(
            first_wrong(error, "the corruption"), file=file, hint="give another value"
        ) from None


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
