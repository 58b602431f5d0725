"""Rules that choose the settings of the post-processing.

- `healthy-quantile`: the threshold that lets through ``1 - quantile`` of the brain voxels of healthy slices of
  validation patients, with the paper's morphology. It needs to know which slices are healthy, but no lesion masks.
- `validation`: the threshold and morphology with the best ``dice_patient`` of validation patients, after
  post-processing.
- `oracle`: the same search on the reported patients themselves, which also tries the choices of every other rule.
  Optimistic: a bound on the ``dice_patient`` of the other rules, not a result.

Each file of this folder offers a rule; other packages offer theirs under the entry points ``napari_cead.rules``.
"""

from __future__ import annotations

from typing import Any

from ... import plugins
from ...plugins import Registry
from ._rule import Candidates, Choice, Edge, Rule, edge_of

__all__ = [
    "HEALTHY",
    "ORACLE",
    "RULES",
    "VALIDATION",
    "Candidates",
    "Choice",
    "Edge",
    "Rule",
    "edge_of",
    "is_optimistic",
    "reported_rules",
    "title_of",
]

HEALTHY, VALIDATION, ORACLE = "healthy-quantile", "validation", "oracle"
"""Rules that other parts rely on: a bundled card, a fixed default of a baseline, the search of a score."""


def _unusable(rule: Any) -> str | None:
    wanting = plugins.lacks(rule, "name", "title", "about", "nothing", "choose")
    if wanting is None and not isinstance(rule, Rule):
        return "it is no napari_cead.detection.rules.Rule"
    return wanting


RULES: Registry[Rule] = Registry(
    "rules", "threshold rule", __name__, _unusable, order=lambda rule: rule.place
)
"""All rules by name."""


def title_of(name: str) -> str:
    """Return a rule in a few words; for an unknown one, for instance on a card, its name."""
    return RULES.find(name).title if name in RULES else name


def is_optimistic(name: str) -> bool:
    """Whether a rule chooses on the reported patients themselves."""
    return name in RULES and RULES.find(name).optimistic


def reported_rules() -> tuple[Rule, ...]:
    """Return the rules that choose without the reported patients."""
    return tuple(rule for rule in RULES if not rule.optimistic)
