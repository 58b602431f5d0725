"""Which levers there are, and how some of them are chosen together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .maps import RAW, Setting
from .standards import STANDARDS

MOST = 4
"""Most levers that are chosen together."""

LEAST_GAIN = 0.005
"""A lever that adds less to ``dice_pooled`` is not worth its words."""

HOPELESS = 0.02
"""A lever that alone loses more than this is not tried together with others."""


GRADIENT = {"kl-gradient", "combined"}
"""Scores that only VAEs have."""


@dataclass(frozen=True)
class Lever:
    """One change of a setting.

    Attributes:
        group: What kind of change it is; a choice takes one lever of each group at most.
        name: What it is called in tables.
        changes: Fields of `Setting` and their values.
    """

    group: str
    name: str
    changes: Mapping[str, Any]

    def on(self, setting: Setting) -> Setting:
        return replace(setting, **self.changes)


_STANDARD_NAMES = {
    "nyul": "input: landmarks (Nyúl)",
    "match": "input: histogram matched to the mean healthy one",
    "tissue": "input: median of the tissue",
    "peak": "input: peak of the tissue (white matter)",
}

STANDARDISATION = tuple(Lever("standard", _STANDARD_NAMES[kind], {"standard": kind}) for kind in STANDARDS)

EDGES = (
    *(Lever("rim", f"without the brain's outermost {n} px", {"rim": n}) for n in (1, 2, 3)),
    *(Lever("liquid", f"without liquid and {n} px around it", {"liquid": n}) for n in (1, 2, 3)),
)

SMOOTHING = (
    *(Lever("smoothing", f"map smoothed, sigma {n} px", {"smoothing": n}) for n in (1, 2, 3)),
    Lever("smoothing", "map at 1.5 mm and back", {"coarse": True}),
)

SIGNED = (
    *(
        Lever("smoothing", f"signed residual smoothed first, sigma {n} px", {"smoothing": n, "signed": True})
        for n in (1, 2, 3)
    ),
    Lever("smoothing", "signed residual at 1.5 mm and back first", {"coarse": True, "signed": True}),
)

RAW_SCORES = (
    "positive-residual",
    "squared",
    "residual-z",
    "kl-gradient",
    "combined",
    "residual-times-intensity",
)
"""Scores of slice and reconstruction as they are."""

TISSUE_SCORES = ("residual-times-intensity", "smoothed-times-intensity", "bright-and-changed")
"""Scores of slice and reconstruction with the scan's tissue at 0.5."""

MIRROR = Lever("mirror", "mean with the mirror image's reconstruction", {"mirror": True})

ENSEMBLES = (
    Lever("of", "mean of their maps", {"of": "mean"}),
    Lever("of", "median of their maps", {"of": "median"}),
    Lever("of", "map of their mean reconstruction", {"of": "mean reconstruction"}),
)


def levers(model: str, family: str, scaling: str, statistics: bool) -> list[Lever]:
    """Return the levers of one model, or of raw FLAIR.

    Args:
        model: Its name.
        family: Family of its network.
        scaling: How it scales intensities.
        statistics: Whether it carries healthy statistics.
    """
    if model == RAW:
        return [*STANDARDISATION, *SMOOTHING, *EDGES]
    missing = set() if statistics else {"residual-z"}
    missing |= set() if family == "vae" else GRADIENT
    scores = [
        Lever("score", f"score `{name}`", {"score": name}) for name in RAW_SCORES if name not in missing
    ]
    if scaling == "volume-tissue":  # it has its tissue at 0.5 already
        known = {lever.name for lever in scores}
        more = [Lever("score", f"score `{name}`", {"score": name}) for name in TISSUE_SCORES]
        scores += [lever for lever in more if lever.name not in known]
        standards = [lever for lever in STANDARDISATION if lever.changes["standard"] != "tissue"]
    else:
        scores.append(Lever("tissue", "residual over the tissue's level", {"by_tissue": True}))
        scores += [
            Lever("score", f"score `{name}`, scaled by tissue", {"score": name, "by_tissue": True})
            for name in TISSUE_SCORES
        ]
        standards = list(STANDARDISATION)
    return [*scores, *SMOOTHING, *SIGNED, *EDGES, MIRROR, *standards]


def allowed(setting: Setting, lever: Lever, used: Iterable[str]) -> bool:
    """Whether a lever can be added to those whose groups are used."""
    changed = lever.on(setting)
    # Not every model of an ensemble has a gradient.
    whole = changed.of == "one" or changed.score not in GRADIENT
    return lever.group not in used and changed != setting and changed.possible and whole


def together(
    worth: Callable[[Setting], float], candidates: Iterable[Lever], start: float
) -> list[tuple[Lever, Setting, float]]:
    """Add the lever that gains most, again and again, until nothing gains or there are `MOST`.

    Args:
        worth: What a setting is worth.
        candidates: Levers to choose from.
        start: What the plain setting is worth.
    """
    candidates, taken, setting, best = list(candidates), [], Setting(), start
    while len(taken) < MOST:
        used = [lever.group for lever, *_ in taken]
        tried = [(worth(one.on(setting)), one) for one in candidates if allowed(setting, one, used)]
        if not tried:
            break
        value, lever = max(tried, key=lambda pair: pair[0])
        if value < best + LEAST_GAIN:
            break
        setting, best = lever.on(setting), value
        taken.append((lever, setting, value))
    return taken
