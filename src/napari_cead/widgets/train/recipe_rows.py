"""Rows of the Train dock made from the fields of a recipe: title, tooltip, range, and the default for the same job."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, LineEdit, SpinBox
from pydantic.fields import FieldInfo
from qtpy.QtWidgets import QGridLayout

from ...runs.training_settings import TrainingSettings
from ...training.recipe import Recipe, filled
from ..common.controls import row
from ..common.preferences import DEVICES

NEVER = 0
"""What stands for None in a number box."""


class RecipeRows:
    """Controls for some options of a training. What the user did not change is left to the recipe.

    Attributes:
        controls: By the names of the fields.
    """

    def __init__(self) -> None:
        self.controls: dict[str, Any] = {}
        self._usual: dict[str, Any] = {}

    def add(self, grid: QGridLayout, names: Sequence[str]) -> None:
        """Add a row for each of these fields."""
        for name in names:
            field = Recipe.model_fields[name]
            made = self.controls[name] = _control(name, field)
            title = field.title or name.replace("_", " ").capitalize()
            row(grid, title, made.native, filled(field.description or ""))

    def suggest(self, settings: TrainingSettings) -> None:
        """Show the defaults of a training, except where the user chose something else."""
        squares = getattr(settings.corruption, "squares", None)
        usual = {
            "lr": settings.learning_rate,
            "augment": settings.augmentation is not None,
            "max_squares": squares[1] if squares else 1,
        }
        before, self._usual = self._usual, {}
        with self.blocked():
            for name, control in self.controls.items():
                value = usual.get(name, getattr(settings, name, Recipe.model_fields[name].default))
                shown = _shown(value, control)
                if name not in before or control.value == before[name]:
                    control.value = shown
                self._usual[name] = shown

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from the suggestion, by name; those that are disabled do nothing."""
        return {
            name: _value(control)
            for name, control in self.controls.items()
            if control.enabled and control.value != self._usual.get(name)
        }

    @property
    def learning_rate(self) -> float:
        """The learning rate; NaN for invalid input."""
        rate = _value(self.controls["lr"])
        return rate if 0 < rate <= 1 else math.nan

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Change controls without signals."""
        with ExitStack() as stack:
            for control in self.controls.values():
                stack.enter_context(control.changed.blocked())
            yield


def _control(name: str, field: FieldInfo) -> Any:
    """Return the control for a field: its type and range are those of the setting it stands for."""
    setting = TrainingSettings.model_fields.get("learning_rate" if name == "lr" else name, field)
    kind = next((each for each in _kinds(setting.annotation) if each is not type(None)), str)
    if name == "device":
        return ComboBox(choices=list(DEVICES))
    if get_origin(kind) is Literal:
        return ComboBox(choices=list(get_args(kind)))
    if kind is bool:
        return CheckBox(text="on")
    if kind is int:
        limits = _limits(setting)
        low = NEVER if setting is not field and setting.default is None else limits.get("ge", 1)
        box = SpinBox(value=low, min=low, max=limits.get("lt", 100_001) - 1)
        if setting is not field and setting.default is None:
            box.native.setSpecialValueText("off")
        return box
    return LineEdit()


def _kinds(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal or not get_args(annotation):
        return (annotation,)
    return get_args(annotation)


def _limits(field: FieldInfo) -> Mapping[str, int]:
    return {
        name: getattr(limit, name)
        for limit in field.metadata
        for name in ("ge", "lt")
        if hasattr(limit, name)
    }


def _shown(value: Any, control: Any) -> Any:
    if isinstance(control, LineEdit):
        return f"{value:g}" if isinstance(value, float) else value or ""
    return NEVER if value is None else value


def _value(control: Any) -> Any:
    """Return the value of a control, for a recipe; NaN for a number that is none."""
    value = control.value
    if isinstance(control, LineEdit):
        try:
            return float(value.strip().replace(",", "."))
        except ValueError:
            return math.nan
    return None if isinstance(control, SpinBox) and control.min == value == NEVER else value
