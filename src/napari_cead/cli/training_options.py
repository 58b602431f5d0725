"""From the options of ``train`` to the settings of each of its trainings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import ParameterError

if TYPE_CHECKING:
    from ..training import TrainingSettings
    from ..zoo import ModelCard


_SETTINGS = {
    "max_squares": "corruption",
    "squares_inside_brain": "corruption",
    "fill": "corruption",
    "codebook": "codebook_decay",
}
"""The settings of options with another name."""


def fitting(
    given: Mapping[str, Any], typed: Iterable[str], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the given values for each design, without those that do not apply to it, and print a note.

    Args:
        given: Values by name of the setting; None: not given.
        typed: Names of the options that were typed.
        names: The designs to train.

    Raises:
        ParameterError: If an option applies to none of them.
    """
    from ..models.specs import spec
    from ..training.belonging import belongs, no_use

    for option in sorted(typed):
        setting, flag = _SETTINGS.get(option, option), f"--{option.replace('_', '-')}"
        useless = [name for name in names if not belongs(setting, spec(name))]
        if len(useless) == len(names):
            raise ParameterError(
                no_use(setting, useless, called=flag), mend="leave it out, or train one of those"
            )
        if useless:
            users = ", ".join(name for name in names if name not in useless)
            typer.echo(f"note: {flag} is for {users}; it does nothing for {', '.join(useless)}", err=True)
    return {
        name: {setting: value for setting, value in given.items() if belongs(setting, spec(name))}
        for name in names
    }


def settings_of(
    model: str,
    preset: str | None,
    base: ModelCard | None,
    given: dict[str, Any],
    augment: bool | None,
    codebook: str | None,
    usual_size: int,
    resumed: Path | None,
) -> TrainingSettings:
    """Return the settings of a run; missing values come from the resumed run or the base model.

    ``usual_size`` is the default side of the slices.
    """
    from ..models.specs import spec
    from ..training.described import with_shape
    from ..training.presets import training_settings
    from ..training.runs import RunFolder
    from ..training.settings import TrainingSettings

    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    shape = {name: changes.pop(name) for name in ("feature_maps", "working_size") if name in changes}
    if resumed is not None and RunFolder(resumed).exists():
        before = RunFolder(resumed).plan().current
        size = changes.pop("size", before.spec.size)
        image_size = changes.pop("image_size", before.spec.image_size)
        architecture = before.spec
        if (model, size, image_size) != (architecture.name, architecture.size, architecture.image_size):
            architecture = spec(model, size if size != "custom" else "paper", image_size)
        architecture = with_shape(architecture, **shape)
        settings = TrainingSettings.checked(**{**dict(before), **changes, "spec": architecture})
    else:
        parent = None if base is None else base.spec
        if parent is None:
            changes.setdefault("image_size", usual_size)
        settings = training_settings(model, preset=preset, parent=parent, **changes)
        settings = settings.model_copy(update={"spec": with_shape(settings.spec, **shape)})
    if augment is False:
        settings = settings.model_copy(update={"augmentation": None})
    elif augment and settings.augmentation is None:
        usual = TrainingSettings.model_fields["augmentation"].default
        settings = settings.model_copy(update={"augmentation": usual})
    if codebook == "loss":
        settings = settings.model_copy(update={"codebook_decay": None})
    return settings
