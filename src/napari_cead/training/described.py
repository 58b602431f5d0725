"""Corruptions and shapes of networks as a user describes them on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..errors import ParameterError, why
from ..json_files import first_wrong
from ..models.specs import ModelSpec, UNetOptions
from .augmentation import Augmentation
from .corruption import REALISTIC, Corruption, corruption_kinds

NAMED = {"realistic": REALISTIC}
"""Corruptions with a name beside the kinds."""

_ANY: TypeAdapter[Corruption] = TypeAdapter(Corruption)


def read_corruption(described: str | None, **fields: Any) -> Corruption | None:
    """Return the corruption that a user described.

    Args:
        described: A kind, ``"realistic"``, JSON, or the path of a JSON file; None: squares if there are fields, else
            nothing.
        fields: Fields of squares; None counts as not given.

    Raises:
        ParameterError: If there is no such kind or file, or a value is out of its range.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if described is None and not given:
        return None
    if given and described not in (None, "squares"):
        raise ParameterError(
            "--max-squares, --squares-inside-brain and --fill describe squares",
            mend="use --corruption squares",
        )
    if described in NAMED:
        return NAMED[described]
    if described is None or described in corruption_kinds():
        return _checked({"kind": described or "squares", **given}, None)
    if described.lstrip().startswith("{"):
        return _checked(_json(described, "corruption"), None)
    file = Path(described).expanduser()
    if not file.is_file():
        raise ParameterError(
            f"there is no corruption and no file called {described!r}",
            mend=f"use one of {', '.join((*corruption_kinds(), *NAMED))}, or a JSON file",
        )
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ParameterError(
            f"this is not a corruption in JSON ({why(error)})",
            file=file,
            mend='give JSON like {"kind": "coarse"}',
        ) from None
    return _checked(values, file)


def read_augmentation(described: str | None) -> Augmentation | None:
    """Return the augmentation that a user described in JSON; None: nothing is described.

    Raises:
        ParameterError: If it is no JSON, or a value is out of its range.
    """
    if described is None:
        return None
    try:
        return Augmentation.model_validate(_json(described, "augmentation"))
    except ValidationError as error:
        raise ParameterError(first_wrong(error, "the augmentation"), mend="give another value") from None


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParameterError(
            f"the {what} is no JSON ({why(error)})", mend="mend it, or leave it out"
        ) from None


def _checked(values: Any, file: Path | None) -> Corruption:
    try:
        return _ANY.validate_python(values)
    except ValidationError as error:
        raise ParameterError(
            first_wrong(error, "the corruption"), file=file, mend="give another value"
        ) from None


def with_shape(
    spec: ModelSpec, feature_maps: str | None = None, working_size: int | None = None
) -> ModelSpec:
    """Return the spec of a U-Net with other channels or another working size; its size is then ``custom``.

    Args:
        spec: The usual one.
        feature_maps: Channels of each level, with commas; None: as they are.
        working_size: Side in pixels; None: as it is.

    Raises:
        ParameterError: If the network is no U-Net, or cannot be built like this.
    """
    if feature_maps is None and working_size is None:
        return spec
    if spec.unet is None:
        raise ParameterError(
            f"--feature-maps and --working-size shape dae and ce-unet, not {spec.name}", mend="leave them out"
        )
    values = spec.model_dump() | {"size": "custom"}
    try:
        if feature_maps is not None:
            values["feature_maps"] = tuple(int(maps) for maps in feature_maps.split(","))
        if working_size is not None:
            values["unet"] = UNetOptions(**(values["unet"] | {"working_size": working_size}))
        return ModelSpec.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "the network"
        raise ParameterError(f"{name}: {first['msg'].lower()}", mend="give another value") from None
    except ValueError:
        raise ParameterError(
            f"feature maps are whole numbers with commas, not {feature_maps!r}",
            mend="give them like 16,32,64",
        ) from None
