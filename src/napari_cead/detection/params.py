"""The settings of the post-processing: one table behind sliders, command-line flags, saved files and suggestions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..errors import ParameterError
from ..json_files import shown, told

MAX_RADIUS = 25
"""Largest radius in pixels: beyond it a disk is as large as the brain's gyri and ventricles together."""


def _plain(value: Any) -> Any:
    """Return NumPy scalars as Python numbers: a ``np.float64`` threshold would change how float32 maps compare."""
    return value.item() if isinstance(value, np.generic) else value


Number = Annotated[float, BeforeValidator(_plain)]
Whole = Annotated[int, BeforeValidator(_plain)]
Switch = Annotated[bool, BeforeValidator(_plain)]


def extra(unit: str, step: float, percent: bool = False, missing: str = "") -> dict[str, Any]:
    """Return what a field of `Settings` says of itself beside its range: see `Parameter`.

    Args:
        unit: See `Parameter`.
        step: See `Parameter`.
        percent: See `Parameter`.
        missing: What may differ where a saved file does not have the field.
    """
    return {"unit": unit, "step": step, "percent": percent, "missing": missing}


class Settings(BaseModel):
    """Numbers that a user can change, each with a range. Immutable, validated, JSON-serialisable.

    Raises:
        ParameterError: If a value is out of its range, of another type, or of an unknown name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    """What the settings are of, in an error: ``"post-processing"``."""

    # Hidden from type checkers, which otherwise lose the signature that pydantic's plugin makes from the fields.
    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise ParameterError(_sentence(error, type(self))) from None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed.

        Raises:
            ParameterError: If a value is out of its range, of another type, or of an unknown name.
        """
        return type(self)(**{**self.model_dump(), **changes})

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> tuple[Self, tuple[str, ...]]:
        """Read saved settings by the rule of `json_files`.

        Returns:
            The settings, and what is to be said of missing and unknown keys.

        Raises:
            ParameterError: If a value is out of its range or of another type.
        """
        made = cls(**{name: value for name, value in values.items() if name in cls.model_fields})
        missing = {name: getattr(made, name) for name in cls.model_fields if name not in values}
        notes = []
        for name, value in missing.items():
            extra = cast("Mapping[str, Any]", cls.model_fields[name].json_schema_extra)
            (note,) = told({name: value}, ())
            notes.append(f"{note}; {extra['missing']}" if extra["missing"] else note)
        return made, (*notes, *told({}, (name for name in values if name not in cls.model_fields)))


class PostprocessParams(Settings):
    """How an anomaly map becomes a detected mask. Immutable, validated, JSON-serialisable.

    The steps run slice by slice: threshold, closing, filling of holes, area opening, which drops what is too small by
    ``area_fraction`` or ``min_area_mm2``, dilation, and the cut at the brain. A radius of 0 skips its step. Values
    are strict: a bool or a string is not a number, and a radius must be an ``int``. Radii are whole pixels of the map
    given.

    Example:
        >>> params = PostprocessParams(threshold=0.3)
        >>> params.replace(dilation_radius=0).model_dump(mode="json")["threshold"]
        0.3

    Raises:
        ParameterError: If a value is out of its range, of another type, or of an unknown name.
    """

    kind = "post-processing"

    threshold: Number = Field(
        default=0.2,
        ge=0.0,
        le=1.0,
        strict=True,
        allow_inf_nan=False,
        title="Threshold",
        description="Pixels whose anomaly is greater than this are kept.",
        json_schema_extra=extra("", 0.01),
    )
    closing_radius: Whole = Field(
        default=2,
        ge=0,
        le=MAX_RADIUS,
        strict=True,
        title="Closing radius",
        description="Radius of the disk of the binary closing, which joins what lies close together.",
        json_schema_extra=extra("px", 1),
    )
    area_fraction: Number = Field(
        default=0.6,
        ge=0.0,
        le=1.0,
        strict=True,
        allow_inf_nan=False,
        title="Area opening",
        description="Components smaller than this fraction of the slice's largest one are dropped.",
        json_schema_extra=extra("%", 0.01, percent=True),
    )
    dilation_radius: Whole = Field(
        default=1,
        ge=0,
        le=MAX_RADIUS,
        strict=True,
        title="Dilation radius",
        description="Radius of the disk of the final binary dilation.",
        json_schema_extra=extra("px", 1),
    )
    min_area_mm2: Number = Field(
        default=0.0,
        ge=0.0,
        strict=True,
        allow_inf_nan=False,
        title="Smallest area",
        description="Components of a smaller area than this are dropped, whatever the largest one is.",
        json_schema_extra=extra("mm²", 1.0),
    )
    inside_brain: Switch = Field(
        default=True,
        strict=True,
        title="Stay inside the brain",
        description="Whether the dilated mask ends where the brain ends.",
        json_schema_extra=extra("", 1, missing="the mask may differ at the brain's edge"),
    )


@dataclass(frozen=True)
class Parameter:
    """One row of a table of settings: what a widget, a command-line flag and the documentation say of a setting.

    Attributes:
        name: Field of the settings.
        title: Short label for people.
        unit: ``"px"``, ``"mm²"``, ``"%"`` or ``""``.
        description: One sentence.
        kind: ``int``, ``float`` or ``bool``.
        default: Value if nothing is chosen.
        minimum: Smallest value allowed.
        maximum: Largest value allowed, None if unbounded.
        step: Step of a slider.
        percent: Whether the value, a fraction from 0 to 1, is shown to people times 100.
    """

    name: str
    title: str
    unit: str
    description: str
    kind: type[int] | type[float] | type[bool]
    default: float
    minimum: float
    maximum: float | None
    step: float
    percent: bool

    @property
    def range(self) -> str:
        """The values allowed, in words: ``"a whole number from 0 to 25"``."""
        if self.kind is bool:
            return "true or false"
        number = "a whole number" if self.kind is int else "a number"
        return (
            f"{number} of at least {self.minimum:g}"
            if self.maximum is None
            else f"{number} from {self.minimum:g} to {self.maximum:g}"
        )


_KINDS: Mapping[Any, type[int] | type[float] | type[bool]] = {int: int, float: float, bool: bool}


def parameters_of(settings: type[Settings]) -> tuple[Parameter, ...]:
    """Return the table of some settings, in the order of the fields."""
    rows = []
    for name, field in settings.model_fields.items():
        bounds = {
            side: getattr(rule, side)
            for rule in field.metadata
            for side in ("ge", "le")
            if hasattr(rule, side)
        }
        extra = cast("Mapping[str, Any]", field.json_schema_extra)
        rows.append(
            Parameter(
                name=name,
                title=field.title or name,
                unit=extra["unit"],
                description=field.description or "",
                kind=_KINDS[field.annotation],
                default=field.default,
                minimum=bounds.get("ge", False),
                maximum=bounds.get("le", True if field.annotation is bool else None),
                step=extra["step"],
                percent=extra["percent"],
            )
        )
    return tuple(rows)


PARAMETERS: tuple[Parameter, ...] = parameters_of(PostprocessParams)
"""The settings in the order of the fields."""


def _sentence(error: ValidationError, settings: type[Settings]) -> str:
    """Say the first thing that is wrong in one clause: the name, the range and the value."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    table = parameters_of(settings)
    for parameter in table:
        if parameter.name == name:
            return f"{name} must be {parameter.range}, not {shown(first['input'])}"
    return f"there is no {settings.kind} setting {shown(name)}, only {', '.join(row.name for row in table)}"
