"""Settings that a user can change: one table behind sliders, command-line flags, saved files and suggestions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from ..errors import ParameterError, shortened
from ..json_files import shown, told

MAX_RADIUS = 25
"""Largest radius in pixels: beyond it a disk is as large as the brain's gyri and ventricles together."""


def _plain(value: Any) -> Any:
    """Return NumPy scalars as Python numbers: a ``np.float64`` threshold would change how float32 maps compare."""
    return value.item() if isinstance(value, np.generic) else value


Number = Annotated[float, BeforeValidator(_plain)]
Whole = Annotated[int, BeforeValidator(_plain)]
Switch = Annotated[bool, BeforeValidator(_plain)]


def extra(
    unit: str,
    step: float,
    *,
    flag: str,
    off_flag: str = "",
    percent: bool = False,
    missing: str = "",
    slider: bool = True,
) -> dict[str, Any]:
    """Return the description of a field of `Settings` beside its range: see `Parameter`."""
    return {
        "unit": unit,
        "step": step,
        "flag": flag,
        "off_flag": off_flag,
        "percent": percent,
        "missing": missing,
        "slider": slider,
    }


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
                super().__init__(**self._completed(values))
            except ValidationError as error:
                raise ParameterError(_sentence(error, type(self))) from None

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Return the table of the settings, in the order in which people see them."""
        return parameters_of(cls)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the settings."""
        return tuple(row.name for row in cls.parameters())

    @classmethod
    def _completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return given values with those of settings that are no fields."""
        return values

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
            The settings, and notes on missing and unknown keys.

        Raises:
            ParameterError: If a value is out of its range or of another type.
        """
        rows = {row.name: row for row in cls.parameters()}
        made = cls(**{name: value for name, value in values.items() if name in rows})
        notes = []
        for name, row in rows.items():
            if name not in values:
                (note,) = told({name: getattr(made, name)}, ())
                notes.append(f"{note}; {row.missing}" if row.missing else note)
        if unknown := [name for name in values if name not in rows]:
            names = shortened(", ".join(unknown), 300)
            notes.append(
                f"{names}: not known to this version, and ignored; update napari-cead, or install the package that "
                "adds it, to use it"
            )
        return made, tuple(notes)


@dataclass(frozen=True)
class Parameter:
    """One row of a table of settings: the texts of a widget, a command-line flag and the documentation.

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
        flag: Command-line flag; of a switch the one that turns it on.
        off_flag: Flag that turns a switch off.
        missing: What may differ where a saved file does not have the setting.
        slider: Whether the dock shows it. Not all settings of models and of the command line are sliders of the paper.
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
    percent: bool = False
    flag: str = ""
    off_flag: str = ""
    missing: str = ""
    slider: bool = True

    def __post_init__(self) -> None:
        words = self.name.replace("_", "-")
        if not self.flag:
            object.__setattr__(self, "flag", f"--{words}")
        if self.kind is bool and not self.off_flag:
            object.__setattr__(self, "off_flag", f"--no-{words}")

    def checked(self, value: Any) -> float | int | bool:
        """Return a value as it is kept.

        Raises:
            ParameterError: If it is out of the range or of another type.
        """
        plain = _plain(value)
        right = isinstance(plain, int | float) if self.kind is float else isinstance(plain, self.kind)
        if not right or (isinstance(plain, bool) and self.kind is not bool) or not self._within(plain):
            raise ParameterError(f"{self.name} must be {self.range}, not {shown(value)}")
        return self.kind(plain)

    def _within(self, value: float) -> bool:
        return math.isfinite(value) and self.minimum <= value <= (
            math.inf if self.maximum is None else self.maximum
        )

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
                flag=extra["flag"],
                off_flag=extra["off_flag"],
                missing=extra["missing"],
                slider=extra["slider"],
            )
        )
    return tuple(rows)


def flags_of(settings: type[Settings]) -> dict[str, str]:
    """Return the command-line flag of each setting by name."""
    return {row.name: row.flag for row in settings.parameters()}


def _sentence(error: ValidationError, settings: type[Settings]) -> str:
    """Say the first thing that is wrong in one clause: the name, the range and the value."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    table = parameters_of(settings)
    for parameter in table:
        if parameter.name == name:
            return f"{name} must be {parameter.range}, not {shown(first['input'])}"
    return no_setting(settings, name)


def no_setting(settings: type[Settings], name: str) -> str:
    """Return the sentence about a setting that does not exist."""
    return f"there is no {settings.kind} setting {shown(name)}, only {', '.join(settings.names())}"
