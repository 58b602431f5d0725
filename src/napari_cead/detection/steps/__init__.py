"""The steps of the post-processing, and the order in which they act.

Each file of this folder offers a step; other packages offer theirs under the entry points ``napari_cead.steps``. A step
says after which setting it acts. The paper's steps are a chain whose settings are fields of `PostprocessParams`. All
others are added to it: each is a `MaskStep` with settings of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ... import plugins
from ...errors import CeadWarning
from ...plugins import Registry
from ..settings import Parameter
from ._settings import PARAMETERS, OwnSettings
from ._step import Apart, MaskStep, Slice, Step, Together

if TYPE_CHECKING:
    from ..params import PostprocessParams

__all__ = [
    "PARAMETERS",
    "STEPS",
    "MaskStep",
    "Slice",
    "Step",
    "added_settings",
    "chain",
    "reach",
    "settings_in_order",
]


def _unusable(step: Any) -> str | None:
    wanting = plugins.lacks(step, "name", "after", "settings", "apply")
    if wanting is not None:
        return wanting
    if not isinstance(step, MaskStep):
        return "it is no napari_cead.detection.steps.MaskStep"
    taken = [setting.name for setting in step.settings if setting.name in OwnSettings.model_fields]
    if taken:
        return f"there is another setting called {', '.join(taken)}"
    if step.after not in OwnSettings.model_fields:
        return f"it acts after {step.after!r}, and there is no such setting"
    return None


STEPS: Registry[Step] = Registry("steps", "post-processing step", __name__, _unusable)
"""All steps by name."""

_TOGETHER, _APART = Together(), Apart()


def added() -> tuple[MaskStep, ...]:
    """Return the steps of this package and of others that are added to the paper's."""
    return _added(STEPS.origins)


@lru_cache(maxsize=4)
def _added(_: Any) -> tuple[MaskStep, ...]:
    found: list[MaskStep] = []
    names: set[str] = set()
    for name, step in STEPS.all.items():
        if isinstance(step, MaskStep):
            mine = {setting.name for setting in step.settings}
            if mine & names:
                warnings.warn(
                    f"the step {name} is left out: another one has a setting called {', '.join(mine & names)}",
                    CeadWarning,
                    stacklevel=2,
                )
                continue
            names |= mine
            found.append(step)
    return tuple(found)


def added_settings() -> Mapping[str, Parameter]:
    """Return the settings of added steps by name."""
    return _added_settings(added())


@lru_cache(maxsize=4)
def _added_settings(steps: tuple[MaskStep, ...]) -> Mapping[str, Parameter]:
    return {setting.name: setting for step in steps for setting in step.settings}


def settings_in_order() -> tuple[Parameter, ...]:
    """Return all settings, those of added steps after the setting that their step follows."""
    rows = list(PARAMETERS)
    for step in reversed(added()):
        place = next(number for number, row in enumerate(rows) if row.name == step.after)
        rows[place + 1 : place + 1] = step.settings
    return tuple(rows)


def chain(params: PostprocessParams) -> tuple[Step, ...]:
    """Return the steps that act under some settings, in their order, each given what it takes.

    The same settings of which steps are on give the same object.
    """
    return _chain(tuple([step for step in added() if step.active(params)]))


@lru_cache(maxsize=64)
def _chain(active: tuple[MaskStep, ...]) -> tuple[Step, ...]:
    steps: list[Step] = []
    following = ""
    rest = [each for each in STEPS.own.values() if not isinstance(each, MaskStep)]
    while (step := next((each for each in rest if each.after == following), None)) is not None:
        rest.remove(step)
        steps.append(step)
        following = step.settings[0].name
    assert not rest, "the steps are no chain"
    for one in reversed(active):
        place = next(
            number
            for number, each in enumerate(steps)
            if one.after in {setting.name for setting in each.settings}
        )
        steps.insert(place + 1, one)
    linked: list[Step] = []
    for step in steps:
        form = linked[-1].gives if linked else "pixels"
        if form != step.takes:
            linked.append(_APART if step.takes == "components" else _TOGETHER)
        linked.append(step)
    return tuple(linked)


def reach(grid: Iterable[PostprocessParams]) -> int:
    """Return how many pixels a mask may reach beyond the pixels above the threshold, with some settings."""
    return max((sum(step.reach(params) for step in chain(params)) for params in grid), default=0)
